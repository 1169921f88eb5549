"""Where the slices of a series lie in the patient: sagittal stacks, axial stacks, blocks along the discs."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Plane:
    """Where one slice lies: DICOM's Image Position and Image Orientation (Patient), mm.

    ``along_row`` is the direction in which the column index grows, ``along_column`` the row index.
    """

    position: np.ndarray
    along_row: np.ndarray
    along_column: np.ndarray
    spacing: tuple[float, float]  # (row, column) mm
    shape: tuple[int, int]  # (rows, columns)

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice."""
        return np.cross(self.along_row, self.along_column)

    def project(self, point: np.ndarray) -> tuple[float, float, float]:
        """Return (row, column) of a patient point in pixels (0 = first pixel's centre), and mm off the plane."""
        offset = np.asarray(point) - self.position
        row = offset @ self.along_column / self.spacing[0]
        return row, offset @ self.along_row / self.spacing[1], offset @ self.normal


def _rotation(angles) -> np.ndarray:
    """Return the rotation matrix about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.eye(3)
        i, j = [(1, 2), (0, 2), (0, 1)][axis]
        turn[i, i], turn[j, j], turn[i, j], turn[j, i] = cos, cos, -sin, sin
        matrix = turn @ matrix
    return matrix


def sagittal_planes(rng, anatomy, view) -> list[Plane]:
    """Lay parallel sagittal planes round the L3/L4 disc, from right to left."""
    turn = _rotation(view["tilt"] + rng.normal(0, np.radians(0.3), 3))
    along_row, along_column, normal = turn @ [0, 1, 0], turn @ [0, 0, -1], turn @ [1, 0, 0]
    rows, columns = view["shape"]
    row = (view["place"][0] + rng.normal(0, 0.012)) * rows
    column = (view["place"][1] + rng.normal(0, 0.012)) * columns
    anchor = anatomy.frame.to_patient(0, 6, anatomy.level_disc[2]) + view["sideways"] * normal
    first = anchor - view["pixel"] * (row * along_column + column * along_row)
    offsets = (np.arange(view["count"]) - (view["count"] - 1) / 2) * view["distance"]
    spacing = (view["pixel"], view["pixel"])
    return [Plane(first + o * normal, along_row, along_column, spacing, view["shape"]) for o in offsets]


def axial_plane(view, anchor, inclination) -> Plane:
    """Lay one axial plane through ``anchor``; ``inclination`` (radians) is that of the spine across it."""
    turn = _rotation(view["tilt"]) @ _rotation([inclination, 0, 0])
    along_row, along_column = turn @ [1, 0, 0], turn @ [0, 1, 0]
    rows, columns = view["shape"]
    offset = view["place"][0] * rows * along_column + view["place"][1] * columns * along_row
    spacing = (view["pixel"], view["pixel"])
    return Plane(anchor - view["pixel"] * offset, along_row, along_column, spacing, view["shape"])


def lay_stack(rng, anatomy, most: int, view: dict, beyond) -> tuple[list[Plane], float]:
    """Lay a straight stack that reaches ``beyond`` (mm above L1/L2, mm below L5/S1), from the head downwards."""
    frame, level = anatomy.frame, anatomy.level_disc
    above, below = beyond
    top, bottom = frame.to_patient(0, 4, level[0] - above), frame.to_patient(0, 4, level[4] + below)
    length = np.linalg.norm(bottom - top)
    distance = float(np.clip(rng.normal(4.6, 0.5), max(3.0, 1.02 * length / most), 6.0))
    count = int(np.clip(np.ceil(length / distance), 20, most))
    inclination = rng.normal(0.02, 0.05)
    middle = np.mean([frame.to_patient(0, 4, s) for s in level], axis=0)
    centre = axial_plane(view, middle, inclination)
    normal = np.array([0, 0, 1.0]) if centre.normal[2] > 0 else np.array([0, 0, -1.0])
    down = -np.abs(centre.normal[2]) / centre.normal[2] * centre.normal * (normal[2] ** 2)
    start = (middle - (top + bottom) / 2) @ down
    offsets = (np.arange(count) - (count - 1) / 2) * distance - start
    planes = [
        Plane(centre.position + o * down, centre.along_row, centre.along_column, centre.spacing, centre.shape)
        for o in offsets
    ]
    return planes, distance


def lay_blocks(rng, anatomy, view: dict, discs, count: int, distance: float) -> list[Plane]:
    """Lay a block of ``count`` slices along each of some discs (mm along the spine), from the head downwards."""
    frame = anatomy.frame
    planes = []
    for s in discs:
        anchor = frame.to_patient(0, 4, s) + rng.normal(0, (1, 1, 0))
        inclination = float(np.interp(s, frame.s, frame.inclination)) + rng.normal(0, 0.035)
        middle = axial_plane(view, anchor, inclination)
        down = -np.sign(middle.normal[2]) * middle.normal
        for offset in (np.arange(count) - (count - 1) / 2) * distance:
            position = middle.position + offset * down
            planes.append(
                Plane(position, middle.along_row, middle.along_column, middle.spacing, middle.shape)
            )
    return planes
