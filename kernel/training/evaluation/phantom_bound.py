"""How well anyone can do on phantoms: the score of the answer that the true narrowings allow.

It belongs beside every figure measured on phantoms. ``phantom.grades`` gives the reason why it is not 0.
"""

import json
from pathlib import Path

import numpy as np

from lumbar.sites import SITE_NAMES
from phantom.grades import draw_grades, posterior, weighted_answer
from training.evaluation.metric import best_constant, score

DRAWN_STUDIES = 2000
TRUTH_FILE = "truth.json"


def phantom_bound(studies: int = DRAWN_STUDIES, seed: int = 0) -> dict[str, dict[str, float]]:
    """Score three readers on drawn label sets, without any image.

    Returns:
        ``training.evaluation.metric.score`` of three readers. "best_possible" has the posterior from all true
        narrowings of the study, "own_narrowing" from the site's own alone. "constant" is the best constant per
        condition and level, fitted on the same labels. The weighted posterior is optimal for every term but
        any-severe, so "best_possible" is slightly above the optimum.
    """
    rng = np.random.default_rng(seed)
    drawn = [draw_grades(rng) for _ in range(studies)]
    labels = np.array([grades.labels for grades in drawn])
    narrowing = np.array([grades.narrowing for grades in drawn])
    constant = np.broadcast_to(best_constant(labels), (*labels.shape, 3))
    return {
        "best_possible": score(labels, weighted_answer(posterior(narrowing))),
        "own_narrowing": score(labels, weighted_answer(posterior(narrowing, own_only=True))),
        "constant": score(labels, constant),
    }


def best_on_studies(data: Path, studies: list[str], labels: np.ndarray) -> dict[str, float] | None:
    """Score the best possible prediction for phantoms of a folder; None where the data are not phantoms.

    On few studies the figure scatters around the bound.

    Args:
        data: The data folder.
        studies: The n studies.
        labels: (n, 25) of them, -1 where missing.
    """
    if not (data / TRUTH_FILE).is_file():
        return None
    truth = json.loads((data / TRUTH_FILE).read_text())["studies"]
    known = [[truth[study]["sites"][site]["best_possible"] for site in SITE_NAMES] for study in studies]
    return score(labels, weighted_answer(np.clip(known, 1e-9, 1)))


def describe_bound(bound: dict[str, dict[str, float]] | None = None) -> str:
    """Return the bound as one line for people."""
    bound = bound or phantom_bound()
    figures = [
        f"best possible {bound['best_possible']['score']:.3f}",
        f"from each site's own narrowing alone {bound['own_narrowing']['score']:.3f}",
        f"best constant {bound['constant']['score']:.3f}",
    ]
    return f"Phantom score over {DRAWN_STUDIES} drawn studies: " + ", ".join(figures)
