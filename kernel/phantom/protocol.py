"""How one study is scanned: its series, every slice's plane, resolution, contrast, coil, noise and artefacts."""

from dataclasses import dataclass

import numpy as np

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from phantom.anatomy import Anatomy
from phantom.contrast import Contrast, draw_contrast
from phantom.planes import Plane, lay_blocks, lay_stack, sagittal_planes

_MATRIX = np.array([192, 256, 288, 320, 352, 384, 448, 512, 576, 640, 768, 1024])
_MATRIX_SHARE = np.array([0.01, 0.06, 0.05, 0.22, 0.09, 0.19, 0.12, 0.18, 0.03, 0.03, 0.01, 0.01])
_PIXEL = (0.3, 1.0)  # mm
_AXIAL_LIMITS = (20, 100)  # slices in all of a study's axial series


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
        surface: Logarithms of the gain near the coil's elements, behind the spine and before it.
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
    surface: tuple[float, float] = (0.0, 0.0)


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
        planes = sagittal_planes(rng, anatomy, view)
        plans.append(plan_series(rng, description, sequence, planes, view["distance"]))
    for planes, distance in _draw_axial(rng, anatomy, axial_series):
        plans.append(plan_series(rng, AXIAL_T2, "T2", planes, distance))
    return tuple(plans)


def plan_series(rng, description, sequence, planes, distance) -> SeriesPlan:
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
        saturation=draw_saturation(rng) if not axial and rng.random() < 0.6 else None,
    )


def draw_saturation(rng) -> tuple[float, float]:
    """Draw where the band before the spine ends, y in mm, and the share of signal that it leaves."""
    return float(rng.uniform(-72, -54)), float(rng.uniform(0.05, 0.25))


def draw_matrix(rng, view_mm: float, oblong: bool) -> tuple[tuple[int, int], float]:
    """Draw (rows, columns) and the pixel in mm so that rows x pixel is the field of view."""
    fitting = (view_mm / _MATRIX >= _PIXEL[0]) & (view_mm / _MATRIX <= _PIXEL[1])
    share = _MATRIX_SHARE * fitting
    rows = int(rng.choice(_MATRIX, p=share / share.sum()))
    ratio = rng.uniform(0.8, 1.0) if oblong and rng.random() < 0.3 else 1.0
    return (rows, int(round(rows * ratio / 2) * 2)), view_mm / rows


def _draw_sagittal_matrix(rng) -> dict:
    view_mm = float(np.clip(rng.normal(298, 18), 260, 340))
    shape, pixel = draw_matrix(rng, view_mm, oblong=True)
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


def _draw_axial(rng, anatomy, least: int) -> list[tuple[list[Plane], float]]:
    """Draw ``least`` to three axial series: straight stacks, or five oblique blocks along the discs."""
    count = max(least, int(rng.choice([1, 2, 3], p=[0.83, 0.155, 0.015])))
    series, left = [], _AXIAL_LIMITS[1]
    for index in range(count):
        rest = count - 1 - index  # every later series needs at least 20 slices
        blocks = rng.random() < 0.5
        planes, distance = (draw_blocks if blocks else draw_stack)(rng, anatomy, left - 20 * rest)
        series.append((planes, distance))
        left -= len(planes)
    return series


def _axial_view(rng) -> dict:
    view_mm = float(np.clip(rng.normal(182, 15), 150, 220))
    shape, pixel = draw_matrix(rng, view_mm, oblong=True)
    place = (rng.normal(0.525, 0.03), rng.normal(0.5025, 0.018))
    return {"shape": shape, "pixel": pixel, "place": place, "tilt": rng.normal(0, np.radians([0, 1.5, 1.5]))}


def draw_stack(rng, anatomy, most: int) -> tuple[list[Plane], float]:
    """Draw a straight stack from above L1/L2 to below L5/S1, from the head downwards."""
    view = _axial_view(rng)
    beyond = np.clip(rng.normal((14, 12), 9), 4, 40)
    return lay_stack(rng, anatomy, most, view, beyond)


def draw_blocks(rng, anatomy, most: int) -> tuple[list[Plane], float]:
    """Draw a block of slices along each of the five discs, from the head downwards."""
    view = _axial_view(rng)
    count = int(np.clip(rng.integers(5, 12), 4, most // 5))
    distance = float(np.clip(rng.normal(3.9, 0.4), 3.0, 5.0))
    return lay_blocks(rng, anatomy, view, anatomy.level_disc, count, distance), distance
