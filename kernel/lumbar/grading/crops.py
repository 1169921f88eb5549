"""A volume and points on it -> the crops that stage 2 reads: 5 slices x 64 x 64, enlarged to 128 x 128.

The window of a site is its point's slice -2..+2 and +-32 pixels on the 512 grid. A classifier may have more slices of
the canal: those beyond -2..+2 are cut at the place of the outermost. Each classifier was trained with one rule for the
volume's borders. ``"stretch"`` cuts the window off and stretches the rest, ``"shift"`` moves it inside and repeats the
end slice.
Source: write-up, crops; both families.
"""

from typing import assert_never

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lumbar.grids import CROP_INPUT, MIDDLE, WINDOW, unit_range, window_centre
from lumbar.networks.architecture import Border
from lumbar.sites import LEVELS


def extract_windows(grid512: np.ndarray, points: np.ndarray, border: str, margin: int = 0) -> np.ndarray:
    """Cut the windows around points.

    Args:
        grid512: (S, 512, 512), uint8 0..255 or float32 0..1.
        points: (n, 5, 3) int, slice, row, column on the 256 grid, one for each slice offset -2..2. The slice of
            the middle one is the site's. Rows and columns may differ from slice to slice.
        border: The rule at the volume's borders, a ``Border``.
        margin: Slices beyond the five, at each end.

    Returns:
        (n, 5 + 2 * margin, 64, 64) float32, 0..1.
    """
    match Border(border):  # ValueError for any other name
        case Border.SHIFT:
            cut = shifted_window
        case Border.STRETCH:
            cut = stretched_window
        case other:  # a type checker reports a border that has no rule here
            assert_never(other)
    points = np.pad(points, ((0, 0), (margin, margin), (0, 0)), mode="edge")
    windows = [cut(grid512, site[MIDDLE + margin, 0], window_centre(site[:, 1:])) for site in points]
    return np.stack(windows)


def canal_points(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the canal's points (5, 5, 3) among a description's: its own, or midway between the axial recesses.

    Midway in the plane. The slice is that of the side with the larger value, because slices between those of two sides
    may belong to other series.

    Args:
        points: (5, 5, 3) of sagittal T2, or (10, 5, 3) of axial T2: left, then right.
        values: (class, 5), the heatmap there.
    """
    if len(points) == len(LEVELS):
        return points
    (left, right), sure = np.split(points, 2), values[:, MIDDLE]
    middle = (left + right) // 2
    is_left = sure[: len(LEVELS)] >= sure[len(LEVELS) :]
    middle[..., 0] = np.where(is_left[:, None], left[..., 0], right[..., 0])
    return middle


def slice_offsets(count: int) -> range:
    """Return the slices of a window relative to the point's: -2..2 of five."""
    return range(-(count // 2), count // 2 + 1)


def shifted_window(grid: np.ndarray, z: int, centres: np.ndarray) -> np.ndarray:
    """Return (slice, 64, 64): windows moved inside the image, the end slice repeated beyond the ends."""
    slices = np.clip(z + np.array(slice_offsets(len(centres))), 0, grid.shape[0] - 1)
    starts = np.clip(centres - WINDOW // 2, 0, np.array(grid.shape[1:]) - WINDOW)
    window = np.stack(
        [grid[s, y : y + WINDOW, x : x + WINDOW] for s, (y, x) in zip(slices, starts, strict=True)]
    )
    return unit_range(window)


def stretched_window(grid: np.ndarray, z: int, centres: np.ndarray) -> np.ndarray:
    """Return (slice, 64, 64): windows cut off at the volume's ends, the rest stretched (trilinear)."""
    if is_inside(grid, z, centres):
        return shifted_window(grid, z, centres)  # nothing moves and nothing is stretched
    offsets = slice_offsets(len(centres))
    inside = [o for o in range(len(offsets)) if 0 <= z + offsets[o] < grid.shape[0]]
    slices = []
    for offset in inside:
        (top, left), (bottom, right) = (
            np.maximum(centres[offset] - WINDOW // 2, 0),
            centres[offset] + WINDOW // 2,
        )
        window = unit_range(grid[z + offsets[offset], top:bottom, left:right])
        slices.append(F.interpolate(torch.from_numpy(window)[None, None], (WINDOW, WINDOW), mode="bilinear"))
    # Trilinear interpolation is bilinear in the plane, then linear through the slices.
    stack = torch.stack(slices, dim=2)
    if len(inside) < len(offsets):
        stack = F.interpolate(stack, (len(offsets), WINDOW, WINDOW), mode="trilinear")
    return stack[0, 0].numpy()


def is_inside(grid: np.ndarray, z: int, centres: np.ndarray) -> bool:
    """Return whether the windows of a site, one per centre, lie wholly inside the volume."""
    half, last = WINDOW // 2, np.array(grid.shape[1:])
    offsets = slice_offsets(len(centres))
    slices = z + offsets[0] >= 0 and z + offsets[-1] < grid.shape[0]
    return bool(slices and (centres >= half).all() and (centres + half <= last).all())


def enlarge(windows: Tensor) -> Tensor:
    """Enlarge windows (..., 64, 64) to crops (..., 128, 128), bilinear, each slice on its own."""
    flat = windows.reshape(-1, 1, *windows.shape[-2:])
    flat = F.interpolate(flat, size=(CROP_INPUT, CROP_INPUT), mode="bilinear", align_corners=False)
    return flat.view(*windows.shape[:-2], CROP_INPUT, CROP_INPUT)
