"""Slices and crops -> JPEG pictures inside the page."""

import base64
from dataclasses import dataclass

import cv2
import numpy as np

from lumbar.grids import WHITE, grid_share
from lumbar.reading.volume import SliceHeader

QUALITY = 85  # of JPEG


@dataclass(frozen=True)
class Frame:
    """The part of a slice in a picture, and the picture's size.

    Attributes:
        top: Share 0..1 of the slice's height, between outer pixel edges (``grid_share``).
        left: Share of the slice's width.
        height: Share of the slice's height.
        width: Share of the slice's width.
        rows: Pixels of the picture.
        columns: Pixels of the picture.
    """

    top: float
    left: float
    height: float
    width: float
    rows: int
    columns: int

    def place(self, row256: float, column256: float) -> tuple[float, float]:
        """Return (x, y) in pixels of the picture, from its upper left corner, of a point on the 256 grid."""
        row, column = grid_share(row256), grid_share(column256)
        return (column - self.left) / self.width * self.columns, (row - self.top) / self.height * self.rows


def true_aspect(header: SliceHeader) -> float:
    """Return height over width of a slice in the patient; pixels count as square where spacing is unknown."""
    row, column = header.usual_spacing or (1.0, 1.0)
    rows, columns = header.usual_shape
    return rows * row / (columns * column)


def fit_frame(
    header: SliceHeader, longest: int, points: np.ndarray | None = None, share: float = 1.0
) -> Frame:
    """Return the frame of a picture.

    Args:
        header: Of the slice.
        longest: Pixels of the picture's longest side.
        points: (n, 2) row, column on the detector grid to keep in view. Without points the whole slice is shown.
        share: Least share of the slice around the points.
    """
    top = left = 0.0
    if points is None or not len(points):
        share = 1.0
    if share < 1:
        places = grid_share(points)
        share = min(1.0, max(share, 1.3 * float(np.ptp(places, axis=0).max())))
        top, left = np.clip((places.min(axis=0) + places.max(axis=0)) / 2 - share / 2, 0, 1 - share)
    aspect = true_aspect(header)
    rows, columns = (longest, longest / aspect) if aspect > 1 else (longest * aspect, longest)
    return Frame(float(top), float(left), share, share, max(1, round(rows)), max(1, round(columns)))


def draw_frame(image: np.ndarray, frame: Frame) -> np.ndarray:
    """Return the picture (rows, columns) uint8 that a frame shows of a square slice."""
    size = len(image)
    top, left = round(frame.top * size), round(frame.left * size)
    part = image[top : top + round(frame.height * size), left : left + round(frame.width * size)]
    smaller = part.shape[0] > frame.rows and part.shape[1] > frame.columns
    return cv2.resize(
        part, (frame.columns, frame.rows), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    )


def crop_pictures(windows: np.ndarray) -> list[str]:
    """Return a picture for each of the 25 sites: the slices of its window side by side.

    Args:
        windows: (25, 5, 64, 64) of ``site_windows``.
    """
    return [data_uri(np.hstack(site)) for site in (windows * WHITE).astype(np.uint8)]


def data_uri(image: np.ndarray) -> str:
    """Return a grey picture (row, column) uint8 as a data: URI."""
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
