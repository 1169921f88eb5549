"""Calibration of the ensemble's mean: fitted once for the metric, kept in the manifest, applied to every study.

Source: score, calibration of the mean.
"""

from dataclasses import dataclass, field

import numpy as np

from lumbar.faults import BundleError
from lumbar.sites import CONDITION_SITES, SEVERITIES, SITES

SMALLEST = 1e-7  # probabilities below count as this: their logarithm stays finite
FIELDS = ("rows", "any_severe", "holds_for_partial", "provenance")


@dataclass(frozen=True)
class Calibration:
    """A map of the ensemble's mean.

    Attributes:
        rows: (25, 3) float64, for each site the scale of its log probabilities, above 0, and the terms that are then
            added to those of moderate and of severe.
        any_severe: Factor above 0 on the largest severe probability of the canal's five levels.
        holds_for_partial: Whether the map also holds for a mean of fewer members than the bundle has.
        provenance: Facts about the fit, for people.
    """

    rows: np.ndarray
    any_severe: float = 1.0
    holds_for_partial: bool = False
    provenance: dict = field(default_factory=dict)

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities (..., 25, 3), rows sum to 1; rows of NaN stay NaN."""
        calibrated = rescaled(probabilities, self.rows)
        canal = CONDITION_SITES["spinal"]
        calibrated[..., canal, :] = with_largest_severe(calibrated[..., canal, :], self.any_severe)
        return calibrated

    def to_json(self) -> dict:
        """Return the manifest's entry."""
        return {
            "rows": self.rows.round(4).tolist(),
            "any_severe": round(self.any_severe, 4),
            "holds_for_partial": self.holds_for_partial,
            "provenance": self.provenance,
        }


def rescaled(probabilities: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return probabilities (..., sites, 3) with scaled and shifted logarithms: rows (sites, 3) as in Calibration."""
    logits = np.log(np.clip(probabilities, SMALLEST, 1)) * rows[:, :1]
    logits[..., 1:] += rows[:, 1:]
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def with_largest_severe(canal: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the largest severe probability of the canal (..., 5, 3) by the factor; its row sums to 1 again.

    The any-severe term of the metric is the largest severe probability of the canal.
    """
    severe = np.where(np.isnan(canal[..., 2]), -np.inf, canal[..., 2])
    largest = np.arange(canal.shape[-2]) == severe.argmax(axis=-1)[..., None]
    changed = canal.copy()
    changed[..., 2] = np.where(largest, canal[..., 2] * factor, canal[..., 2])
    return changed / changed.sum(axis=-1, keepdims=True)


def read_calibration(entry: object, where: str) -> Calibration:
    """Return the calibration of a JSON object with the fields ``FIELDS``; raises BundleError."""
    if not isinstance(entry, dict) or set(entry) != set(FIELDS):
        found = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise BundleError(
            f"{where}: got {found}, expected an object with the fields {list(FIELDS)}; fit it again"
        )
    try:
        rows, factor = np.array(entry["rows"], np.float64), float(entry["any_severe"])
        valid = rows.shape == (len(SITES), len(SEVERITIES)) and bool(np.isfinite([*rows.flat, factor]).all())
        valid = valid and bool((rows[:, 0] > 0).all()) and factor > 0
    except (TypeError, ValueError):
        valid = False
    if (
        not valid
        or not isinstance(entry["holds_for_partial"], bool)
        or not isinstance(entry["provenance"], dict)
    ):
        raise BundleError(
            f"{where}: expected {len(SITES)} rows of a scale above 0 and two finite terms, any_severe above 0, "
            "holds_for_partial true or false, and the provenance; fit it again"
        )
    return Calibration(rows, factor, entry["holds_for_partial"], entry["provenance"])
