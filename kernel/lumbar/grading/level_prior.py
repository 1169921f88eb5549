"""How well two places of sagittal series fit as neighbouring levels, or as the two sides of one: log-likelihoods.

Every score is that of a gaussian with its peak at 0, and at least ``LEAST``: a place that nothing fits costs a chain so
much and no more. So a heatmap that is sure enough keeps its place, and the plausibility flags see that it does not fit.

Places are (lateral, forwards, height) in mm of ``place_frame``.
"""

import numpy as np

from lumbar.grids import squeeze
from lumbar.reading.slice_positions import slice_positions
from lumbar.reading.volume import Volume

# Labelled in 18 patients: the geometric mean is 31 mm, the logarithm's standard deviation .13; here a bit wider.
LEVEL_STEP, STEP_SPREAD = 31.0, 0.17  # mm; of the logarithm
LATERAL_SPREAD = 6.0  # mm from a level to the next
SIDE_DISTANCE, DISTANCE_SPREAD = 32.0, 8.0  # mm; labelled foramina are about 30 apart
SIDES_SPREAD = 8.0  # mm of height, and forwards, between the two sides of a level
LEAST = float(np.log(1e-4))
# Of a volume without geometry: mm per slice and per pixel of the detector grid, usual ones.
USUAL_GAP, USUAL_PIXEL = 4.0, 1.1


def step_scores(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return how well places (n, 3) and (m, 3) fit as a level and the one below it on the same side: (n, m)."""
    step = lower[None] - upper[:, None]
    length = np.maximum(np.linalg.norm(step, axis=-1), np.finfo(float).tiny)
    score = bell(np.log(length / LEVEL_STEP), STEP_SPREAD) + bell(step[..., 0], LATERAL_SPREAD)
    return np.where(step[..., 2] < 0, np.maximum(score, LEAST), LEAST)


def side_scores(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return how well places (n, 3) and (m, 3) fit as the left and the right site of one level: (n, m)."""
    lateral, forwards, height = np.moveaxis(left[:, None] - right[None], -1, 0)
    score = (
        bell(lateral - SIDE_DISTANCE, DISTANCE_SPREAD)
        + bell(forwards, SIDES_SPREAD)
        + bell(height, SIDES_SPREAD)
    )
    return np.maximum(score, LEAST)


def lateral_step_bounds(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return the most that ``step_scores`` can be of places on slices at (n,) and (m,) mm: (n, m)."""
    return np.maximum(bell(lower - upper[:, None], LATERAL_SPREAD), LEAST)


def lateral_side_bounds(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the most that ``side_scores`` can be of places on slices at (n,) and (m,) mm: (n, m)."""
    return np.maximum(bell(left[:, None] - right - SIDE_DISTANCE, DISTANCE_SPREAD), LEAST)


def bell(deviation: np.ndarray, spread: float) -> np.ndarray:
    """Return the logarithm of a gaussian with its peak at 0."""
    return -((deviation / spread) ** 2) / 2


def place_frame(volume: Volume, max_length: int) -> np.ndarray:
    """Return how a row and a column of a sagittal volume's grid become a place.

    A volume with a slice without geometry gets slices of ``USUAL_GAP`` and pixels of ``USUAL_PIXEL``. Reading reports
    such a volume (``no_spacing``, ``no_orientation``).

    Args:
        volume: As it was read.
        max_length: The detector's maximum number of slices, to which its grid is squeezed.

    Returns:
        (S, 3, 3), S <= max_length: ``frame[slice] @ (1, row, column)`` is lateral, forwards, height in mm.
    """
    corners = [
        [volume.grid_to_patient(z, *at) for at in ((0, 0), (1, 0), (0, 1))] for z in range(len(volume))
    ]
    frame = np.zeros((len(volume), 3, 3))
    if any(corner is None for own in corners for corner in own):
        frame[:, 0, 0] = USUAL_GAP * np.arange(len(volume))
        frame[:, 1, 2], frame[:, 2, 1] = -USUAL_PIXEL, -USUAL_PIXEL
    else:
        origin, row, column = np.moveaxis(np.array(corners), 1, 0)
        patient = np.stack([origin, row - origin, column - origin], axis=-1)  # (slice, x y z, 3)
        frame[:, 0, 0] = slice_positions(volume)
        frame[:, 1], frame[:, 2] = -patient[:, 1], patient[:, 2]  # y runs backwards
    return squeeze(frame, max_length)
