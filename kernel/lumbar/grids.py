"""The grids that the networks read, and how pixels and points move between them.

| grid | side in pixels | read by |
|---|---|---|
| native | as the scanner wrote it | nothing but the grids below |
| detector | ``DETECTOR_GRID`` | stage 1; all points are on it |
| crop | ``CROP_GRID`` | the windows of stage 2, ``WINDOW`` pixels wide, or brought to that width |
| crop input | ``CROP_INPUT`` | stage 2's backbone: a window, enlarged |

A coordinate is that of a pixel's centre: 0 is the centre of the first pixel, -0.5 its outer edge. Sizes are the
authors' (5th-place write-up, sections 2 to 4).
"""

import cv2
import numpy as np

DETECTOR_GRID = 256  # pixels of a side
CROP_GRID = 512  # pixels of a side
WINDOW = 64  # pixels of the crop grid
CROP_INPUT = 128  # pixels of a side
CROP_OFFSETS = (-2, -1, 0, 1, 2)  # slices of a crop, relative to the point's
MIDDLE = len(CROP_OFFSETS) // 2  # index of the point's own slice among them
DETECTOR_CENTRE = ((DETECTOR_GRID - 1) / 2,) * 2  # row, column
PERCENTILES = (1, 99)  # of a slice, to which it is clipped
WHITE = 255  # the largest value of a uint8 pixel


def rescale(coordinate, size: int, new_size: int):
    """Return a pixel-centre coordinate after a resize of its axis from ``size`` to ``new_size`` pixels or slices.

    Args:
        coordinate: Number or array; OpenCV's and torch's (``align_corners=False``) resizes move pixels the same way.
    """
    return (coordinate + 0.5) * new_size / size - 0.5


def grid_share(coordinate, size: int = DETECTOR_GRID):
    """Return where a pixel's centre lies between the image's outer edges, 0..1; the coordinate may be an array."""
    return (coordinate + 0.5) / size


def labelled_pixel(share):
    """Return the pixel of the detector grid that stage 1 learns for a labelled place.

    The authors round the share itself, up to half a pixel off ``rescale`` (solution, training stage 1).

    Args:
        share: Number or array, 0 <= share < 1 of the image's height or width.
    """
    return np.minimum(np.rint(share * DETECTOR_GRID), DETECTOR_GRID - 1)


def window_centre(points: np.ndarray) -> np.ndarray:
    """Return the crop-grid pixel below and right of a window's middle, of int rows and columns on the detector grid.

    The authors multiply the point, half a pixel off ``rescale`` (solution, crops).
    """
    return CROP_GRID // DETECTOR_GRID * points


def resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize (row, column) uint8 to a shape, bilinear as OpenCV does it; an image that fits is returned itself."""
    return image if image.shape == shape else cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR)


def squeeze(grid: np.ndarray, length: int) -> np.ndarray:
    """Squeeze a volume to at most ``length`` slices, trilinear, ``align_corners=False``.

    Args:
        grid: (slice, row, column) uint8 0..255 or float.
        length: The detector's maximum number of slices.

    Returns:
        (min(slice, length), row, column). A volume that is short enough is returned itself. Of a longer one, uint8
        becomes float32 0..1.
    """
    count = len(grid)
    if count <= length:
        return grid
    if grid.dtype == np.uint8:
        grid = unit_range(grid)
    # In the grid's own precision, as torch's ``interpolate`` does: at slice 270 that is 1e-5 of a slice.
    scale, half = grid.dtype.type(count / length), grid.dtype.type(0.5)
    centre = scale * (np.arange(length, dtype=grid.dtype) + half) - half  # never below 0, as count > length
    return interpolate(grid, centre)


def interpolate(grid: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return a float array at fractional places 0..n - 1 of its first axis, linear."""
    low = np.floor(places).astype(np.int64)
    share = (places - low.astype(grid.dtype)).reshape(-1, *[1] * (grid.ndim - 1))
    high = np.minimum(low + 1, len(grid) - 1)
    return grid[low] * (1 - share) + grid[high] * share


def unit_range(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as contiguous float32 in 0..1: uint8 is divided by 255, float keeps its values."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(WHITE)
    return np.ascontiguousarray(pixels, dtype=np.float32)
