"""Windows of a size in the patient, plainly and slowly: the reference's crops where a classifier has such a size."""

import numpy as np
import pydicom
import torch
from torch.nn import functional as F


def patient_point(files: list[pydicom.Dataset], z: float, y: float, x: float) -> np.ndarray:
    """Return the place in mm of a row and column of the 256 grid on slice z, which may lie between two."""
    ends = []
    for file in (files[int(np.floor(z))], files[min(int(np.floor(z)) + 1, len(files) - 1)]):
        row, column = (y + 0.5) * file.Rows / 256 - 0.5, (x + 0.5) * file.Columns / 256 - 0.5
        along_row, along_column = np.reshape(np.array(file.ImageOrientationPatient, float), (2, 3))
        across = along_row * file.PixelSpacing[1] * column + along_column * file.PixelSpacing[0] * row
        ends.append(np.array(file.ImagePositionPatient, float) + across)
    return ends[0] + (z - np.floor(z)) * (ends[1] - ends[0])


def window_sides(files: list[pydicom.Dataset], points: np.ndarray, length: int, config: dict) -> list:
    """Return height and width in pixels of the 512 grid for each of the ``length`` slices of a squeezed volume.

    files: one per slice of the volume. points (n, 3): on the 256 grid, five levels after five. A level's height is the
    median distance of neighbours, 20 to 55 mm.
    """
    size = config.get("window_mm")
    if size is None:
        own = [((min(max(z, 0), length - 1) + 0.5) * len(files) / length - 0.5, y, x) for z, y, x in points]
        places = [patient_point(files, *point) for point in own]
        pairs = [(n, n + 1) for n in range(len(places) - 1) if n % 5 != 4]
        height = np.median([np.linalg.norm(places[a] - places[b]) for a, b in pairs])
        size = config["window_levels"] * min(max(height, 20), 55)
    sides = []
    for file in files:
        height, width = np.array(
            [file.PixelSpacing[0] * file.Rows, file.PixelSpacing[1] * file.Columns], float
        )
        sides.append((min(size * 512 / height, 512), min(size * 512 / width, 512)))
    if len(files) <= length:
        return sides
    table = torch.tensor(sides, dtype=torch.float64).T[None]
    return F.interpolate(table, size=length, mode="linear", align_corners=False)[0].T.tolist()


def sized_window(grid: torch.Tensor, points: np.ndarray, border: str, sides: list) -> torch.Tensor:
    """Return the window (n, 64, 64) of one site from (S, 512, 512); points (n, 3) on the 256 grid."""
    slices = []
    for z, y, x in points * (1, 2, 2):
        if border == "shift":
            z = min(max(z, 0), len(grid) - 1)
            height, width = sides[z]
            top, left = min(max(y - height / 2, 0), 512 - height), min(max(x - width / 2, 0), 512 - width)
            bottom, right = top + height, left + width
        elif 0 <= z < len(grid):
            height, width = sides[z]
            top, bottom = max(y - height / 2, 0), min(y + height / 2, 512)
            left, right = max(x - width / 2, 0), min(x + width / 2, 512)
        else:
            continue
        rows, columns = shares(top, bottom).to(grid), shares(left, right).to(grid)
        slices.append(rows @ grid[z] @ columns.T)
    window = torch.stack(slices)
    if len(window) == len(points):
        return window
    size = (len(points), 64, 64)
    return F.interpolate(window[None, None], size, mode="trilinear", align_corners=False)[0, 0]


def shares(start: float, end: float) -> torch.Tensor:
    """Return by how much each of 512 pixels counts for each of 64 of a window from edge to edge, (64, 512)."""
    centres = start + (torch.arange(64, dtype=torch.float64) + 0.5) * (end - start) / 64 - 0.5
    centres = centres.clamp(start, max(start, end - 1))  # no pixel beyond the window counts
    return (1 - (centres[:, None] - torch.arange(512)).abs()).clamp(min=0)
