"""Fits on an ensemble's out-of-fold predictions: the weights of its classifiers, the calibration of their mean.

A fit is judged across folds: fitted on four fifths of the studies, scored on the others. Source: score, calibration.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from lumbar.bundle.calibration import Calibration, rescaled, with_largest_severe
from lumbar.grading.ensemble import weighted_mean
from lumbar.sites import CONDITION_SITES, LEVELS, MISSING, SITES
from training.errors import LabelError
from training.evaluation.members import Members, completed
from training.evaluation.metric import TERMS, any_severe_log_loss, grade_log_loss, score

FOLDS = 5
MOST_STEPS = 200
WEIGHT_RANGE = (-6, 6)  # of the logarithm of a weight
SCALE_RANGE, TERM_RANGE, FACTOR_RANGE = (0.25, 4), (-3, 3), (-1, 1)  # of the logarithm of the factor


@dataclass(frozen=True)
class Wanted:
    """What to fit: the flags of ``evaluate.py``."""

    weights: bool
    calibration: bool
    by_level: bool = False


@dataclass(frozen=True)
class Fit:
    """Weights (classifier,), sum 1, and the calibration of the mean."""

    weights: np.ndarray
    calibration: Calibration | None

    def predict(self, classifiers: np.ndarray) -> np.ndarray:
        """Return the ensemble's probabilities (n, 25, 3) of its classifiers' (classifier, n, 25, 3)."""
        mean = weighted_mean(list(classifiers), list(self.weights))
        return self.calibration.apply(mean) if self.calibration else mean


def fit_ensemble(
    labels: np.ndarray, members: Members, prior: np.ndarray, wanted: Wanted, seed: int = 0
) -> dict:
    """Fit an ensemble to the lowest score and judge the fit across folds; detectors count alike.

    Terms without labels are left out of the mean. Sites that no member graded count with the prior.

    Args:
        labels: (n, 25).
        members: Their predictions of the n studies, out of fold.
        prior: (25, 3).
        wanted: What to fit.
        seed: Of the folds.

    Returns:
        "weights" by classifier, sum 1, and "calibration" as in a manifest, None if it was not wanted. Three scores:
        "equal" of equal weights without calibration, "fitted" on the studies of the fit, so it is optimistic, and
        "cross_fitted". "folds": in each fold, cross-fitted less equal. "pays": whether the mean of these is below 0
        by more than two of its standard errors.

    Raises:
        LabelError: Weights are wanted of a single classifier.
    """
    names = sorted({classifier for _, classifier in members})
    if wanted.weights and len(names) < 2:
        raise LabelError(f"--fit-weights: got one classifier, {names[0]}, expected two or more; leave it out")
    classifiers = np.stack([classifier_mean(members, name) for name in names])
    equal = weighted_mean(list(classifiers), [1.0] * len(names))
    crossed, folds = np.empty_like(equal), np.random.default_rng(seed).permutation(len(labels)) % FOLDS
    differences = []
    for fold in np.unique(folds):
        held = folds == fold
        crossed[held] = fit(labels[~held], classifiers[:, ~held], prior, wanted).predict(classifiers[:, held])
        differences.append(
            known_mean(labels[held], completed(crossed[held], prior))
            - known_mean(labels[held], completed(equal[held], prior))
        )
    final = fit(labels, classifiers, prior, wanted)
    error = np.std(differences, ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else np.inf
    return {
        "weights": dict(zip(names, map(float, final.weights), strict=True)),
        "calibration": final.calibration.to_json() if final.calibration else None,
        "equal": known_mean(labels, completed(equal, prior)),
        "fitted": known_mean(labels, completed(final.predict(classifiers), prior)),
        "cross_fitted": known_mean(labels, completed(crossed, prior)),
        "folds": differences,
        "pays": bool(np.mean(differences) < -2 * error),
    }


def classifier_mean(members: Members, name: str) -> np.ndarray:
    of_detectors = [p for (_, classifier), p in members.items() if classifier == name]
    return weighted_mean(of_detectors, [1.0] * len(of_detectors))


def fit(labels: np.ndarray, classifiers: np.ndarray, prior: np.ndarray, wanted: Wanted) -> Fit:
    """Fit the weights, then the calibration of the mean with these weights."""
    count = len(classifiers)
    weights = best_weights(labels, classifiers, prior) if wanted.weights else np.full(count, 1 / count)
    if not wanted.calibration:
        return Fit(weights, None)
    mean = completed(weighted_mean(list(classifiers), list(weights)), prior)
    return Fit(weights, best_calibration(labels, mean, wanted.by_level))


def best_weights(labels: np.ndarray, classifiers: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return weights (classifier,), sum 1, that minimise the score of their mean: (classifier, n, 25, 3)."""

    def weights_of(free: np.ndarray) -> np.ndarray:
        exponent = np.exp(free - free.max())
        return exponent / exponent.sum()

    def cost(free: np.ndarray) -> float:
        return known_mean(labels, completed(weighted_mean(list(classifiers), list(weights_of(free))), prior))

    return weights_of(minimised(cost, np.zeros(len(classifiers)), [WEIGHT_RANGE] * len(classifiers)))


def best_calibration(labels: np.ndarray, mean: np.ndarray, by_level: bool) -> Calibration:
    """Return the calibration that minimises the score of a mean (n, 25, 3).

    Each condition has one scale and two terms, or with ``by_level`` each of its levels. A condition without a label is
    left as it is.
    """
    rows, factor = np.tile([1.0, 0.0, 0.0], (len(SITES), 1)), 1.0
    for condition, sites in CONDITION_SITES.items():
        if (labels[:, sites] != MISSING).any():
            part = np.arange(sites.stop - sites.start) % len(LEVELS) * by_level
            if condition == "spinal":
                rows[sites], factor = best_of_condition(labels[:, sites], mean[:, sites], part, canal=True)
            else:
                rows[sites], _ = best_of_condition(labels[:, sites], mean[:, sites], part, canal=False)
    return Calibration(rows, factor)


def best_of_condition(
    labels: np.ndarray, mean: np.ndarray, part: np.ndarray, canal: bool
) -> tuple[np.ndarray, float]:
    """Return rows (sites, 3) and the any-severe factor of one condition.

    Args:
        labels: (n, sites).
        mean: (n, sites, 3).
        part: (sites,), sites of one number share their row.
        canal: Whether the any-severe term counts, and the factor is fitted, too.
    """
    parts = part.max() + 1

    def unpacked(free: np.ndarray) -> tuple[np.ndarray, float]:
        return free[: 3 * parts].reshape(parts, 3)[part], float(np.exp(free[-1])) if canal else 1.0

    def cost(free: np.ndarray) -> float:
        rows, factor = unpacked(free)
        changed = rescaled(mean, rows)
        if not canal:
            return grade_log_loss(labels, changed)
        changed = with_largest_severe(changed, factor)
        return grade_log_loss(labels, changed) + any_severe_log_loss(labels, changed)

    start = np.array([1.0, 0.0, 0.0] * parts + [0.0] * canal)
    ranges = [SCALE_RANGE, TERM_RANGE, TERM_RANGE] * parts + [FACTOR_RANGE] * canal
    return unpacked(minimised(cost, start, ranges))


def minimised(
    cost: Callable[[np.ndarray], float], start: np.ndarray, ranges: list[tuple[float, float]]
) -> np.ndarray:
    return minimize(cost, start, method="L-BFGS-B", bounds=ranges, options={"maxiter": MOST_STEPS}).x


def known_mean(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the score, terms without a label left out of its mean."""
    terms = score(labels, probabilities)
    return float(np.nanmean([terms[term] for term in TERMS]))
