"""The canal points of sagittal T2 as a prior for the axial search: which slices show a level.

A slice counts by its distance from the level's canal point: a gaussian, 1 at the nearest slice of all series. So of
likely slices the nearest wins, of whichever series. A level that the sagittal search is unsure of has no prior: its
canal point does not fit those beside it.

Source: the 2nd and the 9th place of the competition take the levels of axial slices from sagittal points (score).
"""

import numpy as np

from lumbar.grading.patient_points import FARTHEST_LEVELS, NEAREST_LEVELS, Places, level_steps, plane_offsets
from lumbar.grids import rescale
from lumbar.reading.volume import Volume
from lumbar.sites import AXIAL_T2, LEVELS, class_count

LEAST = 1e-6  # of a weight: a level that only black slices are near is searched on the others


def slice_weights(canal: Places, axial: Volume, slices: int, width_mm: float) -> np.ndarray:
    """Return how much each slice of the axial grid counts for each axial site.

    Args:
        canal: The canal points of the five levels, by the same detector.
        axial: The volume as it was read.
        slices: Of the detector's grid, fewer than the volume's where it was squeezed.
        width_mm: Standard deviation of the gaussian, mm.

    Returns:
        (10, slices) float32, ``LEAST`` to 1. 1 everywhere at the levels that the sagittal search is unsure of, and at
        all levels if a slice has no geometry.
    """
    own, volume = rescale(np.arange(slices), slices, len(axial)), np.arange(len(axial))
    offsets = np.stack([np.interp(own, volume, plane_offsets(axial, point)) for point in canal.patient])
    beyond = offsets**2 - (offsets**2).min(axis=1, keepdims=True)  # (level, slice)
    weights = np.maximum(np.exp(-beyond / (2 * width_mm**2)), LEAST)
    sure = sure_levels(canal.patient)[:, None] & ~np.isnan(offsets).any()
    weights = np.where(sure, weights, 1)
    return np.tile(weights, (class_count(AXIAL_T2) // len(LEVELS), 1)).astype(np.float32)


def sure_levels(canal: np.ndarray) -> np.ndarray:
    """Return which canal points lie a level's distance below the one above and above the one below, (level,) bool.

    Args:
        canal: (level, 3) mm. NaN is no place.
    """
    drops, steps = level_steps(canal)
    fits = (drops > 0) & (steps >= NEAREST_LEVELS) & (steps <= FARTHEST_LEVELS)  # False of NaN
    return np.append(True, fits) & np.append(fits, True)
