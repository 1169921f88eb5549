"""How one study is scanned: its series, every slice's plane, resolution, contrast, coil, noise and artefacts."""

from dataclasses import dataclass

import numpy as np

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from phantom.anatomy import Anatomy
from phantom.contrast import Contrast, draw_contrast

_MATRIX = np.array([192, 256, 288, 320, 352, 384, 448, 512, 576, 640, 768, 1024])
_MATRIX_SHARE = np.array([0.01, 0.06, 0.05, 0.22, 0.09, 0.19, 0.12, 0.18, 0.03, 0.03, 0.01, 0.01])
_PIXEL = (0.3, 1.0)  # mm
_AXIAL_LIMITS = (20, 100)  # slices in all of a study's axial series


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


@dataclass(frozen=True)
class SeriesPlan:
    """One series as it will be scanned.

    Attributes:
        description: One of the three.
        sequence: "T1", "T2" or "STIR".
        planes: In instance order.
        thickness, distance: mm, of a slice and between neighbours.
        resolution: mm, the scanner's own pixel before interpolation to the matrix.
        contrast: Signals.
        noise: Standard deviation of each of the two receiver channels, in units of the brightest tissue.
        coil: (depth, length) mm over which the coil's sensitivity falls off forwards and along the body.
        peak: Stored value of the brightest tissue at full sensitivity.
        fat_shift: pixels by which fat is displaced along the rows (chemical shift), 0 for none.
        ghost: Strength of a motion ghost, 0 for none; wrap: strength of what folds over the edge.
        clip: (slope, pixels) of a black wedge at the first rows or columns, or None.
        saturation: (y in mm, share of signal left) of a band that quenches the belly before it, or None.
    """

    description: str
    sequence: str
    planes: tuple[Plane, ...]
    thickness: float
    distance: float
    resolution: float
    contrast: Contrast
    noise: float
    coil: tuple[float, float]
    peak: float
    fat_shift: float
    ghost: float
    wrap: float
    clip: tuple[float, float] | None
    saturation: tuple[float, float] | None


def draw_protocol(
    rng: np.random.Generator, anatomy: Anatomy, axial_series: int = 1
) -> tuple[SeriesPlan, ...]:
    """Draw a study's series: a sagittal T1 (rarely none), a sagittal T2 or STIR, one to three axial T2.

    Args:
        axial_series: The least number of axial series, 1 to 3.
    """
    view = _draw_sagittal_view(rng)
    plans = []
    for description in (SAGITTAL_T1, SAGITTAL_T2):
        if description == SAGITTAL_T1 and rng.random() < 0.001:
            continue
        if rng.random() < 0.3:
            view = {**view, **_draw_sagittal_matrix(rng)}
        sequence = "T1" if description == SAGITTAL_T1 else str(rng.choice(["T2", "STIR"], p=[0.75, 0.25]))
        planes = _sagittal_planes(rng, anatomy, view)
        plans.append(_plan(rng, description, sequence, planes, view["distance"]))
    for planes, distance in _draw_axial(rng, anatomy, axial_series):
        plans.append(_plan(rng, AXIAL_T2, "T2", planes, distance))
    return tuple(plans)


def _plan(rng, description, sequence, planes, distance) -> SeriesPlan:
    """Draw what does not depend on where the slices lie."""
    axial = description == AXIAL_T2
    if rng.random() < 0.5:
        planes = planes[::-1]
    resolution = rng.uniform(0.52, 0.72) if axial else rng.uniform(0.68, 0.9)
    weak = rng.random() < 0.55  # the scanner evens out its coil
    return SeriesPlan(
        description=description,
        sequence=sequence,
        planes=tuple(planes),
        thickness=float(distance * rng.uniform(0.8, 1.0)),
        distance=float(distance),
        resolution=float(max(resolution, *planes[0].spacing)),
        contrast=draw_contrast(rng, sequence),
        noise=float(rng.uniform(0.008, 0.022) * (1.6 if sequence == "STIR" else 1.0)),
        coil=(float(rng.uniform(75, 160) if weak else rng.uniform(40, 70)), float(rng.uniform(150, 280))),
        peak=float(rng.uniform(350, 1600)),
        fat_shift=float(rng.uniform(0.8, 2.2) * rng.choice([-1, 1])) if rng.random() < 0.15 else 0.0,
        ghost=float(rng.uniform(0.02, 0.05)) if rng.random() < 0.2 else 0.0,
        wrap=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.08 else 0.0,
        clip=(float(rng.normal(0, 0.06)), float(rng.uniform(4, 20))) if rng.random() < 0.12 else None,
        saturation=_draw_saturation(rng) if not axial and rng.random() < 0.6 else None,
    )


def _draw_saturation(rng) -> tuple[float, float]:
    """Draw where the band before the spine ends, y in mm, and the share of signal that it leaves."""
    return float(rng.uniform(-72, -54)), float(rng.uniform(0.05, 0.25))


def _draw_matrix(rng, view_mm: float, oblong: bool) -> tuple[tuple[int, int], float]:
    """Draw (rows, columns) and the pixel in mm so that rows x pixel is the field of view."""
    fitting = (view_mm / _MATRIX >= _PIXEL[0]) & (view_mm / _MATRIX <= _PIXEL[1])
    share = _MATRIX_SHARE * fitting
    rows = int(rng.choice(_MATRIX, p=share / share.sum()))
    ratio = rng.uniform(0.8, 1.0) if oblong and rng.random() < 0.3 else 1.0
    return (rows, int(round(rows * ratio / 2) * 2)), view_mm / rows


def _draw_sagittal_matrix(rng) -> dict:
    view_mm = float(np.clip(rng.normal(298, 18), 260, 340))
    shape, pixel = _draw_matrix(rng, view_mm, oblong=True)
    return {"shape": shape, "pixel": pixel}


def _draw_sagittal_view(rng) -> dict:
    """Draw the settings that the sagittal series of a study share."""
    distance = float(np.clip(rng.normal(4.4, 0.5), 3.0, 6.0))
    least = int(np.ceil(62 / distance))
    return {
        **_draw_sagittal_matrix(rng),
        "distance": distance,
        "count": int(np.clip(rng.normal(17, 3), max(12, least), 30)),
        "sideways": rng.normal(0, 2.0),
        "place": (rng.normal(0.53, 0.05), rng.normal(0.535, 0.046)),  # of the L3/L4 disc, as in data.md
        "tilt": rng.normal(0, np.radians([1.5, 1.5, 2.0])),
    }


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


def _sagittal_planes(rng, anatomy, view) -> list[Plane]:
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


def _draw_axial(rng, anatomy, least: int) -> list[tuple[list[Plane], float]]:
    """Draw ``least`` to three axial series: straight stacks, or five oblique blocks along the discs."""
    count = max(least, int(rng.choice([1, 2, 3], p=[0.83, 0.155, 0.015])))
    series, left = [], _AXIAL_LIMITS[1]
    for index in range(count):
        rest = count - 1 - index  # every later series needs at least 20 slices
        blocks = rng.random() < 0.5
        planes, distance = (_draw_blocks if blocks else _draw_stack)(rng, anatomy, left - 20 * rest)
        series.append((planes, distance))
        left -= len(planes)
    return series


def _axial_view(rng) -> dict:
    view_mm = float(np.clip(rng.normal(182, 15), 150, 220))
    shape, pixel = _draw_matrix(rng, view_mm, oblong=True)
    place = (rng.normal(0.525, 0.03), rng.normal(0.5025, 0.018))
    return {"shape": shape, "pixel": pixel, "place": place, "tilt": rng.normal(0, np.radians([0, 1.5, 1.5]))}


def _axial_plane(view, anchor, inclination) -> Plane:
    """Lay one axial plane through ``anchor``; ``inclination`` (radians) is that of the spine across it."""
    turn = _rotation(view["tilt"]) @ _rotation([inclination, 0, 0])
    along_row, along_column = turn @ [1, 0, 0], turn @ [0, 1, 0]
    rows, columns = view["shape"]
    offset = view["place"][0] * rows * along_column + view["place"][1] * columns * along_row
    spacing = (view["pixel"], view["pixel"])
    return Plane(anchor - view["pixel"] * offset, along_row, along_column, spacing, view["shape"])


def _draw_stack(rng, anatomy, most: int) -> tuple[list[Plane], float]:
    """Lay a straight stack from above L1/L2 to below L5/S1, from the head downwards."""
    view, frame, level = _axial_view(rng), anatomy.frame, anatomy.level_disc
    above, below = np.clip(rng.normal((14, 12), 9), 4, 40)
    top, bottom = frame.to_patient(0, 4, level[0] - above), frame.to_patient(0, 4, level[4] + below)
    length = np.linalg.norm(bottom - top)
    distance = float(np.clip(rng.normal(4.6, 0.5), max(3.0, 1.02 * length / most), 6.0))
    count = int(np.clip(np.ceil(length / distance), 20, most))
    inclination = rng.normal(0.02, 0.05)
    middle = np.mean([frame.to_patient(0, 4, s) for s in level], axis=0)
    centre = _axial_plane(view, middle, inclination)
    normal = np.array([0, 0, 1.0]) if centre.normal[2] > 0 else np.array([0, 0, -1.0])
    down = -np.abs(centre.normal[2]) / centre.normal[2] * centre.normal * (normal[2] ** 2)
    start = (middle - (top + bottom) / 2) @ down
    offsets = (np.arange(count) - (count - 1) / 2) * distance - start
    planes = [
        Plane(centre.position + o * down, centre.along_row, centre.along_column, centre.spacing, centre.shape)
        for o in offsets
    ]
    return planes, distance


def _draw_blocks(rng, anatomy, most: int) -> tuple[list[Plane], float]:
    """Lay a block of slices along each of the five discs, from the head downwards."""
    view, frame = _axial_view(rng), anatomy.frame
    count = int(np.clip(rng.integers(5, 12), 4, most // 5))
    distance = float(np.clip(rng.normal(3.9, 0.4), 3.0, 5.0))
    planes = []
    for s in anatomy.level_disc:
        anchor = frame.to_patient(0, 4, s) + rng.normal(0, (1, 1, 0))
        inclination = float(np.interp(s, frame.s, frame.inclination)) + rng.normal(0, 0.035)
        middle = _axial_plane(view, anchor, inclination)
        down = -np.sign(middle.normal[2]) * middle.normal
        for offset in (np.arange(count) - (count - 1) / 2) * distance:
            position = middle.position + offset * down
            planes.append(
                Plane(position, middle.along_row, middle.along_column, middle.spacing, middle.shape)
            )
    return planes, distance
