"""Points to heatmaps and heatmaps to points: the inverse pair between a place and stage 1's target.

Everything is on the detector's grid, axis order (class, slice, row, column), indices from 0.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lumbar.grids import CROP_OFFSETS

SIGMA = 4.0  # pixels of the 256 grid
DECAY = 0.5  # per slice away
REACH = 2  # slices to either side that still carry some of the label
PEAK_BLOCK = 8  # pixels of a side: two sigma


def points_to_heatmap(
    points: np.ndarray,
    shape: tuple[int, int, int],
    sigma: float = SIGMA,
    decay: float = DECAY,
    reach: int = REACH,
) -> np.ndarray:
    """Draw one gaussian per point, peak 1, fading by ``decay`` per slice over ``reach`` slices.

    Near the first and last slice only the slices that exist are written.

    Args:
        points: (n, 3) slice, row, column on the grid, rounded here to whole pixels. A row with NaN is an unlabelled
            class and stays zero.
        shape: (slice, row, column).

    Returns:
        (n, *shape) float32.

    Raises:
        ValueError: A point lies outside the grid.

    Source: write-up, gaussian expanding label.
    """
    heatmap = np.zeros((len(points), *shape), np.float32)
    rows, columns = np.arange(shape[1]), np.arange(shape[2])
    for target, point in zip(heatmap, points, strict=True):
        if np.isnan(point).any():
            continue
        z, y, x = np.rint(point).astype(int)
        if not (0 <= z < shape[0] and 0 <= y < shape[1] and 0 <= x < shape[2]):
            raise ValueError(
                f"points_to_heatmap: got point {(z, y, x)}, expected one inside the grid {shape}"
            )
        gaussian = np.outer(
            np.exp(-((rows - y) ** 2) / (2 * sigma**2)), np.exp(-((columns - x) ** 2) / (2 * sigma**2))
        )
        for near in range(max(0, z - reach), min(shape[0], z + reach + 1)):
            target[near] = gaussian * decay ** abs(near - z)
    return heatmap


def logits_to_heatmap(segmenter_logits: Tensor, pointer_logits: Tensor, present: Tensor) -> Tensor:
    """Return sigmoid(segmenter) * sigmoid(pointer) * present as float32 (..., class, slice, row, column).

    Args:
        segmenter_logits: (..., class, slice, row, column).
        pointer_logits: (..., class, slice).
        present: (..., slice) bool, false where the slice is all zero: there the heatmap is 0 whatever the logits.
    """
    pointer = pointer_logits.float().sigmoid() * present.unsqueeze(-2)
    return segmenter_logits.float().sigmoid() * pointer[..., None, None]


def slice_peaks(heatmap: Tensor) -> tuple[Tensor, Tensor]:
    """Return each slice's largest value and its (row, column): (..., row, column) -> (...), (..., 2).

    Works on logits as well, which are largest at the same place. Among equals the first in reading order is taken.
    """
    value, index = heatmap.flatten(-2).max(dim=-1)  # the first of equals
    width = heatmap.shape[-1]
    return value, torch.stack([index // width, index % width], dim=-1)


def local_peaks(heatmap: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return each slice's largest peaks: (..., row, column) -> (..., count), (..., count, 2) row and column.

    A peak is the largest value in a block of ``PEAK_BLOCK`` pixels, if no block beside it holds a larger one. Works on
    logits as well. A slice with fewer peaks has the dtype's lowest value in place of the others. NaN is a peak.
    """
    images = heatmap.flatten(0, -3)
    value, index = F.max_pool2d(images, PEAK_BLOCK, return_indices=True)
    lowest = torch.finfo(value.dtype).min
    value = value.masked_fill(value < F.max_pool2d(value, 3, stride=1, padding=1), lowest)
    value, block = value.flatten(1).topk(count)
    index = index.flatten(1).gather(1, block).unflatten(0, heatmap.shape[:-2])
    width = heatmap.shape[-1]
    return value.unflatten(0, heatmap.shape[:-2]), torch.stack([index // width, index % width], dim=-1)


def peaks_to_points(
    value: np.ndarray, place: np.ndarray, slices: int, xy: str
) -> tuple[np.ndarray, np.ndarray]:
    """Choose each class's slice and the places on the five slices of its crop.

    The peak is the first in (slice, row, column) order among equals.

    Args:
        value: (class, D), each slice's largest heatmap value.
        place: (class, D, 2), its row and column.
        slices: Real slices, at least 1.
        xy: ``"fixed"`` (the peak's place on all five slices) or ``"dynamic"`` (each slice's own place; beyond the
            real slices the end slice's).

    Returns:
        Points (class, 5, 3) int64 of slice, row, column. The slice is the peak's plus -2..2 and may lie outside: the
        border rule of the crops applies there. And the values (class, 5) at those places, for a fixed detector the
        peak's.

    Source: write-up, stage 1, point.
    """
    classes = np.arange(len(value))
    peak = value[:, :slices].argmax(axis=1)  # numpy's argmax is the first of equals
    wanted = peak[:, None] + np.array(CROP_OFFSETS)
    read = np.clip(wanted, 0, slices - 1) if xy == "dynamic" else np.broadcast_to(peak[:, None], wanted.shape)
    points = np.concatenate([wanted[..., None], place[classes[:, None], read]], axis=-1).astype(np.int64)
    return points, value[classes[:, None], read]
