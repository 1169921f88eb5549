"""A volume and points on it -> the crops that stage 2 reads: 5 slices x 64 x 64, enlarged to 128 x 128.

The window of a site is its point's slice -2..+2 and +-32 pixels on the 512 grid. A classifier may have more slices of
the canal: those beyond -2..+2 are cut at the place of the outermost. Each classifier was trained with one rule for the
volume's borders. ``"stretch"`` cuts the window off and stretches the rest, ``"shift"`` moves it inside and repeats the
end slice. A window of another size (``window_sizes``) follows the same rule, and is resized to 64 x 64.
Source: write-up, crops; both families.
"""

from math import ceil
from typing import assert_never

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lumbar.grids import CROP_INPUT, MIDDLE, WINDOW, interpolate, unit_range, window_centre
from lumbar.networks.architecture import Border
from lumbar.sites import LEVELS


def extract_windows(
    grid512: np.ndarray, points: np.ndarray, border: str, margin: int = 0, sides: np.ndarray | None = None
) -> np.ndarray:
    """Cut the windows around points.

    Args:
        grid512: (S, 512, 512), uint8 0..255 or float32 0..1.
        points: (n, 5, 3) int, slice, row, column on the 256 grid, one for each slice offset -2..2. The slice of
            the middle one is the site's. Rows and columns may differ from slice to slice.
        border: The rule at the volume's borders, a ``Border``.
        margin: Slices beyond the five, at each end.
        sides: (S, 2) float, height and width of the windows on each slice in pixels, 0 < side <= 512. None for 64.

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
    if sides is None:
        sides = np.full((len(grid512), 2), float(WINDOW))
    points = np.pad(points, ((0, 0), (margin, margin), (0, 0)), mode="edge")
    windows = [cut(grid512, site[MIDDLE + margin, 0], window_centre(site[:, 1:]), sides) for site in points]
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


def shifted_window(grid: np.ndarray, z: int, centres: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Return (slice, 64, 64): windows moved inside the image, the end slice repeated beyond the ends."""
    slices = np.clip(z + np.array(slice_offsets(len(centres))), 0, grid.shape[0] - 1)
    sides = sides[slices]
    starts = np.clip(centres - sides / 2, 0, np.array(grid.shape[1:]) - sides)
    return np.stack([part(grid[s], *ends) for s, *ends in zip(slices, starts, starts + sides, strict=True)])


def stretched_window(grid: np.ndarray, z: int, centres: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Return (slice, 64, 64): windows cut off at the volume's ends, the rest stretched (trilinear)."""
    offsets = slice_offsets(len(centres))
    inside = [number for number, offset in enumerate(offsets) if 0 <= z + offset < grid.shape[0]]
    slices = z + np.array(offsets)[inside]
    starts = np.maximum(centres[inside] - sides[slices] / 2, 0)
    ends = np.minimum(centres[inside] + sides[slices] / 2, grid.shape[1:])
    stack = np.stack([part(grid[s], *corners) for s, *corners in zip(slices, starts, ends, strict=True)])
    if len(inside) == len(offsets):
        return stack
    # Trilinear interpolation is bilinear in the plane, then linear through the slices.
    size = (len(offsets), WINDOW, WINDOW)
    return F.interpolate(torch.from_numpy(stack)[None, None], size, mode="trilinear")[0, 0].numpy()


def part(image: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the part of a slice between two corners as a picture of 64 x 64, float32 0..1, bilinear.

    Args:
        image: (row, column), uint8 0..255 or float32 0..1.
        start: Row and column of the upper left corner, from the image's outer edge; may lie within a pixel.
        end: The same of the lower right corner.
    """
    (top, left), (bottom, right) = start.tolist(), end.tolist()
    first_row, first_column = int(top), int(left)
    pixels = unit_range(image[first_row : ceil(bottom), first_column : ceil(right)])
    whole = (first_row, first_column) == (top, left) and bottom.is_integer() and right.is_integer()
    if whole and pixels.shape == (WINDOW, WINDOW):
        return pixels
    if whole:  # as the notebooks resize it, bit for bit
        picture = torch.from_numpy(pixels)[None, None]
        return F.interpolate(picture, (WINDOW, WINDOW), mode="bilinear")[0, 0].numpy()
    for first, last in ((top - first_row, bottom - first_row), (left - first_column, right - first_column)):
        places = first + (np.arange(WINDOW) + 0.5) * (last - first) / WINDOW - 0.5
        places = places.clip(first, max(first, last - 1))  # the centres of the outermost pixels
        pixels = interpolate(pixels, places.astype(np.float32)).T
    return np.ascontiguousarray(pixels)


def enlarge(windows: Tensor) -> Tensor:
    """Enlarge windows (..., 64, 64) to crops (..., 128, 128), bilinear, each slice on its own."""
    flat = windows.reshape(-1, 1, *windows.shape[-2:])
    flat = F.interpolate(flat, size=(CROP_INPUT, CROP_INPUT), mode="bilinear", align_corners=False)
    return flat.view(*windows.shape[:-2], CROP_INPUT, CROP_INPUT)
