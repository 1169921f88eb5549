"""The size of stage 2's windows in pixels of the crop grid, where it is one in the patient.

The resize to the crop grid ignores the aspect ratio, and joined series have spacings of their own. A square window in
the patient is none on the grid, and has another size on each slice.

Source: the 9th place's crops of 50 mm, the 2nd place's of the level's height (score).
"""

import numpy as np

from lumbar.grading.patient_points import FARTHEST_LEVELS, NEAREST_LEVELS, find_places
from lumbar.grading.point_search import Points
from lumbar.grids import CROP_GRID, DETECTOR_GRID, MIDDLE, WINDOW, squeeze
from lumbar.networks.architecture import CropRule
from lumbar.reading.volume import Volume
from lumbar.sites import AXIAL_T2, LEVELS


def window_sides(volume: Volume, found: Points, rule: CropRule) -> np.ndarray | None:
    """Return the height and width of a description's windows on each slice.

    They are 64 pixels on slices without a pixel spacing. Where a point has no place in
    the patient, the level's height of sagittal points is measured in pixels, and axial windows are 64 pixels.

    Args:
        volume: As it was read.
        found: The points of its sites. They measure the level's height.
        rule: Of the crops.

    Returns:
        (S, 2) float64 in pixels of the crop grid, for the ``found.slices`` of the detector's grid. At most the grid's
        side. None by a rule without a size.
    """
    if rule.window_mm is not None:
        sides = rule.window_mm / crop_pixels_mm(volume)
    elif rule.window_levels is not None:
        sides = rule.window_levels * level_heights(volume, found)
    else:
        return None
    sides = np.where(sides > 0, sides, WINDOW).clip(max=CROP_GRID)  # NaN is not above 0
    return squeeze(sides[:, None], found.slices)[:, 0]


def crop_pixels_mm(volume: Volume) -> np.ndarray:
    """Return the height and width of a pixel of the crop grid on each slice, (S, 2) mm; NaN without a spacing."""
    pixels = [header.usual_spacing or (np.nan, np.nan) for header in volume.headers]
    return np.array(pixels) * [header.usual_shape for header in volume.headers] / CROP_GRID


def level_heights(volume: Volume, found: Points) -> np.ndarray:
    """Return the distance between neighbouring levels' points, as rows and columns of the crop grid on each slice.

    The median over the description, because one point may be wrong, within the bounds of ``patient_points``.

    Returns:
        (S, 2) pixels. If a point has no place in the patient, the distance of sagittal points in the plane, and NaN of
        axial ones.
    """
    steps = level_distances(find_places(volume, found).patient)
    if volume.description != AXIAL_T2 and np.isnan(steps).any():
        steps = level_distances(found.points[:, MIDDLE, 1:] * CROP_GRID / DETECTOR_GRID)
        return np.full((len(volume), 2), np.median(steps))
    return np.median(steps).clip(NEAREST_LEVELS, FARTHEST_LEVELS) / crop_pixels_mm(volume)


def level_distances(points: np.ndarray) -> np.ndarray:
    """Return the distances between neighbouring levels of each group, (groups * 4,), of points (groups * 5, axis)."""
    steps = np.diff(points.reshape(-1, len(LEVELS), points.shape[-1]), axis=1)
    return np.linalg.norm(steps, axis=-1).ravel()
