"""An ensemble's members against labels: each one's score, their mean, and the weights that would be best."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from lumbar.grading.ensemble import weighted_mean
from lumbar.outputs.tables import MEMBER_COLUMNS, MEMBER_KEYS
from lumbar.sites import DESCRIPTION_SITES, MISSING, SEVERITIES, SITE_NAMES, SITES
from training.data.labels import Grades, read_table
from training.errors import LabelError
from training.evaluation.metric import TERMS, score

KEYS = list(MEMBER_KEYS)
FOLD = r"/fold\d+$"  # how a run names a classifier's folds
MAX_WEIGHT_STEPS = 200


def read_members(
    file: Path, grades: Grades, studies: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], dict[tuple[str, str], np.ndarray]]:
    """Return the studies and each member's probabilities (n, 25, 3) by (detector, classifier).

    A member may lack all rows of a description in a study: the study has no series of it, or the member no network
    for it. Those sites are NaN.

    Args:
        file: members.csv of ``infer.py --dump`` or of a training run. A run's folds grade different studies, and are
            one member.
        grades: Labels by study.
        studies: Studies wanted, None for all that have grades.

    Raises:
        LabelError: Another row is missing, there twice or no probabilities, or no study is left.
    """
    table = member_table(file)
    if studies is None:
        present = set(table["study_id"])
        studies = tuple(study for study in grades.study_ids if study in present)
    table = table[table["study_id"].isin(studies)]
    if table.empty:
        raise LabelError(
            f"{file}: got none of the studies to judge, expected all; check --members and --data"
        )
    members = {}
    wanted = pd.MultiIndex.from_product([studies, SITE_NAMES])
    for key, rows in table.groupby(["detector", "classifier"], sort=True):
        values = rows.set_index(["study_id", "site"])[list(SEVERITIES)].reindex(wanted)
        probabilities = values.to_numpy().reshape(len(studies), len(SITES), len(SEVERITIES))
        wrong = wrongly_missing(probabilities)
        if wrong.any():
            raise LabelError(
                f"{file}: member {key}: got no row for {values.index[wrong.ravel()][0]}, "
                "expected every member to grade every study. Grade the missing ones, or judge a --submission of fewer"
            )
        members[key] = probabilities
    return studies, members


def wrongly_missing(probabilities: np.ndarray) -> np.ndarray:
    """Return which rows (n, 25) of a member are missing though it graded the study, or the site's description in it.

    A whole description may be missing: there is no series or no network of it.
    """
    missing = np.isnan(probabilities).any(axis=-1)
    wrong = missing & missing.all(axis=1)[:, None]
    for sites in DESCRIPTION_SITES.values():
        wrong[:, sites] |= missing[:, sites] & ~missing[:, sites].all(axis=1)[:, None]
    return wrong


def graded_by_all(
    labels: np.ndarray, members: dict[tuple[str, str], np.ndarray]
) -> tuple[np.ndarray, dict[tuple[str, str], np.ndarray]]:
    """Return labels without the sites that a member did not grade, and members without NaN there.

    All members are then judged at the same sites.
    """
    ungraded = np.any([np.isnan(p).any(axis=-1) for p in members.values()], axis=0)
    thirds = np.full(len(SEVERITIES), 1 / len(SEVERITIES))
    whole = {member: np.where(ungraded[..., None], thirds, p) for member, p in members.items()}
    return np.where(ungraded, MISSING, labels), whole


def member_table(file: Path) -> pd.DataFrame:
    """Read members.csv, a classifier's folds as one; LabelError for a repeated row or one without probabilities."""
    table = read_table(file, MEMBER_COLUMNS)
    table["classifier"] = table["classifier"].str.replace(FOLD, "", regex=True)
    twice = table.duplicated(KEYS)
    if twice.any():
        raise LabelError(
            f"{file}: got {tuple(table.loc[twice, KEYS].iloc[0])} twice, expected one row of each"
        )
    values = table[list(SEVERITIES)].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    bad = ~np.isfinite(values).all(axis=1) | (values < 0).any(axis=1) | (values.sum(axis=1) == 0)
    if bad.any():
        row = table[bad].iloc[0]
        raise LabelError(
            f"{file}: {tuple(row[KEYS])}: got {row[list(SEVERITIES)].tolist()}, expected probabilities; write it again"
        )
    return table.assign(**values)


def members_mean(members: dict[tuple[str, str], np.ndarray]) -> np.ndarray:
    """Return the members' plain mean."""
    return weighted_mean([normalised(p) for p in members.values()], [1.0] * len(members))


def member_figures(labels: np.ndarray, members: dict[tuple[str, str], np.ndarray]) -> dict:
    """Return the terms and score of each member and of their plain mean, and the number of labels."""
    single = {f"{d} x {c}": score(labels, normalised(p)) for (d, c), p in members.items()}
    known = int((labels != MISSING).sum())
    return {"mean": score(labels, members_mean(members)), "single": single, "labels": known}


def fit_weights(labels: np.ndarray, members: dict[tuple[str, str], np.ndarray], seed: int = 0) -> dict:
    """Fit the classifiers' weights, as a bundle has them, to the lowest score; detectors count alike.

    Terms without labels are left out of the mean.

    Returns:
        "weights", sum 1, and three scores. "equal" is that of equal weights. "fitted" is judged on the studies of the
        fit, so it is optimistic. "cross_fitted" is fitted on one half of the studies and judged on the other, both
        ways: fitted weights are worth having only if it beats "equal".

    Raises:
        LabelError: There is a single classifier.
    """
    names = sorted({classifier for _, classifier in members})
    if len(names) < 2:
        raise LabelError(f"--fit-weights: got one classifier, {names[0]}, expected two or more; leave it out")
    by_classifier = np.stack(
        [np.mean([normalised(p) for (_, c), p in members.items() if c == name], axis=0) for name in names]
    )
    half = np.random.default_rng(seed).permutation(len(labels)) % 2 == 0
    crossed = np.empty_like(by_classifier[0])
    for part in (half, ~half):
        crossed[~part] = weighted_mean(
            list(by_classifier[:, ~part]), best_weights(labels[part], by_classifier[:, part])
        )
    weights = best_weights(labels, by_classifier)
    equal = [1.0] * len(names)
    return {
        "weights": dict(zip(names, map(float, weights), strict=True)),
        "equal": known_mean(labels, weighted_mean(list(by_classifier), equal)),
        "fitted": known_mean(labels, weighted_mean(list(by_classifier), weights)),
        "cross_fitted": known_mean(labels, crossed),
    }


def best_weights(labels: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return weights (m,), at least 0, sum 1, that minimise the score of members (m, n, 25, 3)."""

    def weights_of(free: np.ndarray) -> np.ndarray:
        exponent = np.exp(free - free.max())
        return exponent / exponent.sum()

    def cost(free: np.ndarray) -> float:
        return known_mean(labels, np.tensordot(weights_of(free), members, axes=1))

    start = np.zeros(len(members))
    found = minimize(
        cost, start, method="L-BFGS-B", bounds=[(-6, 6)] * len(start), options={"maxiter": MAX_WEIGHT_STEPS}
    )
    return weights_of(found.x)


def known_mean(labels: np.ndarray, probabilities: np.ndarray) -> float:
    terms = score(labels, normalised(probabilities))
    return float(np.nanmean([terms[name] for name in TERMS]))


def normalised(probabilities: np.ndarray) -> np.ndarray:
    return probabilities / probabilities.sum(axis=-1, keepdims=True)
