"""What predictions are worth against labels: score, AUC and calibration, per site; members and their weights."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from lumbar.ensemble import weighted_mean
from lumbar.sites import CONDITION_SITES, SEVERITIES, SITE_NAMES, SITES
from lumbar.submission import read_submission
from training.labels import Grades, LabelError, read_table
from training.metric import MISSING, TERMS, best_constant, calibration, grade_log_loss, score, severity_auc

MAX_WEIGHT_STEPS = 200
FOLD = r"/fold\d+$"  # how a run names a classifier's folds


def read_predictions(file: Path, grades: Grades) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the graded studies of a submission and their probabilities (n, 25, 3).

    Raises LabelError if no study has grades, or a study lacks a row.
    """
    row_ids, rows = read_submission(file)
    by_id = dict(zip(row_ids, rows, strict=True))
    first, known = f"_{SITE_NAMES[0]}", set(grades.study_ids)
    studies = tuple(
        r.removesuffix(first) for r in row_ids if r.endswith(first) and r.removesuffix(first) in known
    )
    if not studies:
        raise LabelError(f"{file}: got no study of the labels, expected at least one; check --data")
    missing = [f"{s}_{name}" for s in studies for name in SITE_NAMES if f"{s}_{name}" not in by_id]
    if missing:
        raise LabelError(
            f"{file}: got no row {missing[0]} ({len(missing)} missing), expected 25 rows a study"
        )
    return studies, np.array([[by_id[f"{s}_{name}"] for name in SITE_NAMES] for s in studies])


def grading_figures(labels: np.ndarray, probabilities: np.ndarray, all_labels: np.ndarray) -> dict:
    """Return the score, its terms, the same of the prior, AUC, calibration, and each site's figures.

    labels: (n, 25) of the predicted studies. all_labels: (m, 25), all labels at hand, to fit the prior.
    """
    prior = np.broadcast_to(best_constant(all_labels), probabilities.shape)
    return {
        **score(labels, probabilities),
        "prior": score(labels, prior),
        "studies": len(labels),
        "labels": int((labels != MISSING).sum()),
        "auc": severity_auc(labels, probabilities),
        "calibration": {
            condition: severity_calibration(labels[:, sites], probabilities[:, sites])
            for condition, sites in CONDITION_SITES.items()
        },
        "sites": {
            site.name: site_figures(labels[:, site.index], probabilities[:, site.index]) for site in SITES
        },
    }


def severity_calibration(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, dict]:
    known = labels != MISSING
    return {
        name: calibration(labels[known] == severity, probabilities[known][:, severity])
        for severity, name in enumerate(SEVERITIES)
    }


def site_figures(labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """Return one site's loss, labels of each severity, and the loss of the rows of each severity."""
    counts = [int((labels == severity).sum()) for severity in range(len(SEVERITIES))]
    by_severity = {
        name: grade_log_loss(np.where(labels == severity, labels, MISSING), probabilities)
        for severity, name in enumerate(SEVERITIES)
    }
    return {"loss": grade_log_loss(labels, probabilities), "counts": counts, "loss_by_severity": by_severity}


def read_members(
    file: Path, grades: Grades, studies: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], dict[tuple[str, str], np.ndarray]]:
    """Return the studies and each member's probabilities (n, 25, 3) by (detector, classifier).

    file: members.csv of ``infer.py --dump`` or of a training run; there a classifier's folds grade different
    studies and are one member. studies: those wanted, None for all that have grades. Raises LabelError if there is
    none, or a row is missing.
    """
    table = join_folds(read_table(file, ("study_id", "detector", "classifier", "site", *SEVERITIES)))
    graded = set(table["study_id"])
    studies = studies or tuple(study for study in grades.study_ids if study in graded)
    if not studies:
        raise LabelError(f"{file}: got no study of the labels, expected at least one; check --data")
    table = table[table["study_id"].isin(studies)]
    members = {}
    for key, rows in table.groupby(["detector", "classifier"], sort=True):
        wanted = pd.MultiIndex.from_product([studies, SITE_NAMES])
        values = rows.set_index(["study_id", "site"])[list(SEVERITIES)].reindex(wanted)
        if values.isna().any(axis=None):
            raise LabelError(
                f"{file}: member {key}: got no row for {values.index[values.isna().any(axis=1)][0]}, "
                "expected every member to grade every study"
            )
        members[key] = values.to_numpy().reshape(len(studies), len(SITES), len(SEVERITIES))
    return studies, members


def join_folds(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of members with the folds of a classifier as one, unless two of them grade one study."""
    joined = table.assign(classifier=table["classifier"].str.replace(FOLD, "", regex=True))
    twice = joined.duplicated(["study_id", "detector", "classifier", "site"]).any()
    return table if twice else joined


def members_mean(members: dict[tuple[str, str], np.ndarray]) -> np.ndarray:
    """Return the members' plain mean."""
    return weighted_mean([normalised(p) for p in members.values()], [1.0] * len(members))


def member_figures(labels: np.ndarray, members: dict[tuple[str, str], np.ndarray]) -> dict:
    """Return the terms and score of each member and of their plain mean."""
    single = {f"{d} x {c}": score(labels, normalised(p)) for (d, c), p in members.items()}
    return {"mean": score(labels, members_mean(members)), "single": single}


def fit_weights(labels: np.ndarray, members: dict[tuple[str, str], np.ndarray], seed: int = 0) -> dict:
    """Fit the classifiers' weights, as a bundle has them, to the lowest score; detectors count alike.

    Returns the weights (sum 1), the score with equal ones, the fitted score on the same studies
    (optimistic), and that of weights fitted on one half of the studies and judged on the other, both
    ways: only if that one beats the equal weights are fitted ones worth having. Terms without labels are
    left out of the mean.
    """
    names = sorted({classifier for _, classifier in members})
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
