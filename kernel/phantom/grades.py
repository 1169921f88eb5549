"""Grades of the 25 sites, the narrowing behind each, and the best answer that the narrowing allows.

A study's sites share a latent Gaussian vector with the competition's correlation. The grade of a site is the
interval that its latent value falls into; its *narrowing* is the latent value plus independent noise, and the
narrowing alone shapes the picture. So no reader of pictures can be perfect, and the best possible reader is
known in closed form: latent given narrowing is Gaussian.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from lumbar.sites import GROUPS, LEVELS, SEVERITY_WEIGHTS, SITES
from phantom.label_figures import GRADE_COUNTS, LATENT_CORRELATION, STUDIES

# Standard deviation of narrowing around the latent value. 0.42 puts the best possible score near 0.29.
NARROWING_NOISE = 0.42
# Below the first and above the second threshold severity moves by one per this much narrowing.
_OUTER_STEP = 0.8
_SMALLEST_EIGENVALUE = 1e-3  # of the published matrix, which is singular to its three digits: 6e-4


@dataclass(frozen=True)
class Grades:
    """One study's truth: arrays of 25 in site order.

    Attributes:
        grade: int, 0 normal/mild, 1 moderate, 2 severe (also where the label is missing).
        missing: bool, the label is withheld.
        narrowing: float, the shape of the anatomy, in standard deviations of the latent value.
    """

    grade: np.ndarray
    missing: np.ndarray
    narrowing: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The grade, -1 where the label is missing."""
        return np.where(self.missing, -1, self.grade)


def latent_correlation() -> np.ndarray:
    """Return the (25, 25) latent correlation, moved to the nearest well-conditioned one (by under 0.001)."""
    values, vectors = np.linalg.eigh(LATENT_CORRELATION)
    matrix = (vectors * np.maximum(values, _SMALLEST_EIGENVALUE)) @ vectors.T
    scale = np.sqrt(np.diag(matrix))
    return matrix / scale / scale[:, None]


def grade_thresholds() -> np.ndarray:
    """Return (25, 2) latent values at which a site becomes moderate and severe."""
    share = GRADE_COUNTS / GRADE_COUNTS.sum(axis=1, keepdims=True)
    inverse = NormalDist().inv_cdf
    return np.array([(inverse(row[0]), inverse(row[0] + row[1])) for row in share])


def draw_grades(rng: np.random.Generator) -> Grades:
    """Draw one study's grades, narrowings and missing labels."""
    latent = np.linalg.cholesky(latent_correlation()) @ rng.standard_normal(len(SITES))
    narrowing = latent + NARROWING_NOISE * rng.standard_normal(len(SITES))
    grade = (latent[:, None] > grade_thresholds()).sum(axis=1)
    return Grades(grade, _draw_missing(rng), narrowing)


def _draw_missing(rng: np.random.Generator) -> np.ndarray:
    """Draw which labels are missing: a whole group at once, but both recesses of a level together."""
    share = 1 - GRADE_COUNTS.sum(axis=1) / STUDIES
    draw = np.empty(len(SITES))
    recess_levels = rng.random(len(LEVELS))
    for group_index, group in enumerate(GROUPS):
        rows = slice(group_index * len(LEVELS), (group_index + 1) * len(LEVELS))
        draw[rows] = recess_levels if "subarticular" in group else rng.random()
    return draw < share


def narrowing_to_severity(narrowing: np.ndarray) -> np.ndarray:
    """Return severity on one scale for all sites: 1 where moderate begins on average, 2 where severe does.

    Args:
        narrowing: (..., 25).

    Returns:
        (..., 25), continuous and rising in narrowing; about -3 (wide) to 4 (closed). The anatomy is shaped
        by it, so that a millimetre means the same at every level although severe is rare at some.
    """
    first, second = grade_thresholds().T
    inside = 1 + (narrowing - first) / (second - first)
    below = 1 + (narrowing - first) / _OUTER_STEP
    above = 2 + (narrowing - second) / _OUTER_STEP
    return np.where(narrowing < first, below, np.where(narrowing > second, above, inside))


def posterior(narrowing: np.ndarray, own_only: bool = False) -> np.ndarray:
    """Return the probability of each grade given the narrowings: what nobody can know better.

    Args:
        narrowing: (..., 25) of whole studies.
        own_only: Use each site's own narrowing alone. The difference is the worth of the other sites.

    Returns:
        (..., 25, 3), rows sum to 1.
    """
    correlation = np.eye(len(SITES)) if own_only else latent_correlation()
    # Kriging: E[z | u] = C (C + n^2 I)^-1 u, Var = C - C (C + n^2 I)^-1 C.
    gain = correlation @ np.linalg.inv(correlation + NARROWING_NOISE**2 * np.eye(len(SITES)))
    mean = narrowing @ gain.T
    deviation = np.sqrt(np.diag(correlation - gain @ correlation))
    scaled = (grade_thresholds() - mean[..., None]) / deviation[:, None]
    below = np.vectorize(NormalDist().cdf)(scaled)
    edges = np.concatenate([np.zeros_like(mean)[..., None], below, np.ones_like(mean)[..., None]], axis=-1)
    return np.diff(edges, axis=-1)


def weighted_answer(probability: np.ndarray) -> np.ndarray:
    """Return the best prediction under the weighted log loss: proportional to (1, 2, 4) p, (..., 3)."""
    weighted = probability * np.asarray(SEVERITY_WEIGHTS)
    return weighted / weighted.sum(axis=-1, keepdims=True)
