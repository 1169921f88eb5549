"""The competition's score, the best constant, AUC and calibration.

Arrays: labels (n, 25) int8, 0..2 a severity, -1 missing; probabilities (n, 25, 3). Sites are in the
order of ``lumbar.sites.SITES``. Everything is float64.
"""

import numpy as np

from lumbar.sites import CONDITION_SITES, LEVELS, MISSING, SEVERITIES, SEVERITY_WEIGHTS, SITES

TERMS = (*CONDITION_SITES, "any_severe")
WEIGHTS = np.array(SEVERITY_WEIGHTS)
EPSILON = np.finfo(np.float64).eps  # scikit-learn's clipping, which the official metric inherits


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the official score and its four terms; lower is better.

    Missing labels are left out. The any-severe term counts the labelled spinal rows only, as the official metric does.
    Source: solution, the metric.

    Args:
        labels: (n, 25), -1 where missing.
        probabilities: (n, 25, 3), rows sum to 1.

    Returns:
        spinal, foraminal, subarticular, any_severe, and score, their mean. A term without a labelled row is NaN, and so
        is the score: the mean of three terms is comparable with nothing.

    Raises:
        ValueError: Shapes, labels or probabilities are wrong.
    """
    labels, probabilities = checked(labels, probabilities)
    terms = {
        condition: grade_log_loss(labels[:, sites], probabilities[:, sites])
        for condition, sites in CONDITION_SITES.items()
    }
    spinal = CONDITION_SITES["spinal"]
    terms["any_severe"] = any_severe_log_loss(labels[:, spinal], probabilities[:, spinal])
    return {**terms, "score": float(np.mean([terms[term] for term in TERMS]))}


def grade_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the log loss weighted 1, 2, 4: labels (...), probabilities (..., 3); NaN without a label."""
    known = labels != MISSING
    if not known.any():
        return float("nan")
    truth = labels[known]
    chosen = np.take_along_axis(probabilities[known], truth[:, None].astype(np.intp), axis=1)[:, 0]
    return float(np.average(-np.log(np.clip(chosen, EPSILON, 1 - EPSILON)), weights=WEIGHTS[truth]))


def any_severe_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the any-severe term: labels (n, 5), probabilities (n, 5, 3); NaN without a label."""
    known = labels != MISSING
    study = known.any(axis=1)
    if not study.any():
        return float("nan")
    known, labels, severe = known[study], labels[study], probabilities[study, :, 2]
    truth = ((labels == 2) & known).any(axis=1)
    predicted = np.clip(np.where(known, severe, 0).max(axis=1), EPSILON, 1 - EPSILON)
    weight = np.where(known, WEIGHTS[np.maximum(labels, 0)], 0).max(axis=1)
    return float(np.average(-np.log(np.where(truth, predicted, 1 - predicted)), weights=weight))


def checked(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    expected = (len(labels), len(SITES), len(SEVERITIES))
    if labels.shape != expected[:2] or probabilities.shape != expected:
        raise ValueError(
            f"metric: got labels {labels.shape} and probabilities {probabilities.shape}, "
            f"expected (n, {len(SITES)}) and (n, {len(SITES)}, {len(SEVERITIES)})"
        )
    if not np.isin(labels, (MISSING, 0, 1, 2)).all():
        raise ValueError(f"metric: got labels {np.unique(labels)}, expected -1 (missing), 0, 1 or 2")
    # NaN fails the first comparison.
    if not ((probabilities >= 0).all() and np.allclose(probabilities.sum(-1), 1, atol=1e-3)):
        raise ValueError("metric: expected finite probabilities, at least 0, that sum to 1 in every row")
    return labels, probabilities


def best_constant(labels: np.ndarray) -> np.ndarray:
    """Return the constant prediction (25, 3) of the lowest weighted log loss: weighted label shares.

    Both sides of a condition share one constant per level. One pseudo-count of every severity keeps it
    above 0; a site without any label gets thirds. Source: solution, the metric; data, floor.
    """
    constant = np.zeros((len(SITES), len(SEVERITIES)))
    for sites in CONDITION_SITES.values():
        for level in range(len(LEVELS)):
            columns = range(sites.start + level, sites.stop, len(LEVELS))
            pooled = labels[:, list(columns)]
            counts = np.array([(pooled == severity).sum() for severity in range(len(SEVERITIES))])
            share = (counts + 1) * (WEIGHTS if counts.any() else 1)
            constant[list(columns)] = share / share.sum()
    return constant


def roc_auc(truth: np.ndarray, value: np.ndarray) -> float:
    """Return the area under the ROC curve, ties counted half: truth (n,) bool; NaN if it is one class."""
    truth = np.asarray(truth, bool)
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return float("nan")
    _, inverse, counts = np.unique(value, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2  # of each group of equals
    ranks = mean_rank[inverse]
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def severity_auc(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return each condition's AUC: mean of "above normal" and "severe" against the rest, and their mean."""
    result = {}
    for condition, sites in CONDITION_SITES.items():
        known = labels[:, sites] != MISSING
        truth, predicted = labels[:, sites][known], probabilities[:, sites][known]
        result[condition] = (
            roc_auc(truth > 0, 1 - predicted[:, 0]) + roc_auc(truth == 2, predicted[:, 2])
        ) / 2
    return {**result, "mean": float(np.mean(list(result.values())))}


def calibration(truth: np.ndarray, probability: np.ndarray, bins: int = 10) -> dict[str, list[float]]:
    """Return the reliability curve of one severity: truth (n,) bool, probability (n,).

    Bins are of equal width; an empty bin is left out. Returns predicted (mean probability), observed
    (share that is true), count, and error, the expected calibration error.
    """
    which = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    filled = count > 0
    predicted = np.bincount(which, probability, bins)[filled] / count[filled]
    observed = np.bincount(which, truth, bins)[filled] / count[filled]
    error = (
        float(np.average(abs(predicted - observed), weights=count[filled])) if filled.any() else float("nan")
    )
    return {
        "predicted": predicted.tolist(),
        "observed": observed.tolist(),
        "count": count[filled].tolist(),
        "error": error,
    }
