"""How a study of wide appearance is scanned: views, stacks, artefacts and contrasts far beyond those of scanners."""

from dataclasses import replace

import numpy as np

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from phantom.anatomy import FIRST_LEVEL, Anatomy
from phantom.contrast import draw_wide_contrast
from phantom.planes import lay_blocks, lay_stack, sagittal_planes
from phantom.protocol import SeriesPlan, draw_saturation, plan_series

_AXIAL_LIMITS = (20, 110)  # slices in all of a study's axial series
_SAGITTAL_LIMITS = (8, 40)  # slices
_VIEW = (160.0, 500.0)  # mm, field of view of sagittal series
_AXIAL_VIEW = (110.0, 320.0)  # mm
_ROWS = (192, 256, 288, 320, 384, 448, 512)


def draw_wide_protocol(
    rng: np.random.Generator, anatomy: Anatomy, axial_series: int = 1
) -> tuple[SeriesPlan, ...]:
    """Draw a study's series: a sagittal T1, a sagittal T2 or STIR, one to three axial T2.

    Contrasts and coils are those of scanners; ``with_wide_contrast`` changes them.

    Args:
        rng: Of the study.
        anatomy: The patient.
        axial_series: The least number of axial series, 1 to 3.
    """
    view = _sagittal_view(rng)
    plans = []
    for description in (SAGITTAL_T1, SAGITTAL_T2):
        if rng.random() < 0.7:  # the two series of a study need not be alike
            view = _sagittal_view(rng)
        sequence = "T1" if description == SAGITTAL_T1 else str(rng.choice(["T2", "STIR"], p=[0.8, 0.2]))
        planes = sagittal_planes(rng, anatomy, view)
        plans.append(_disturbed(rng, plan_series(rng, description, sequence, planes, view["distance"])))
    for planes, distance in _draw_axial(rng, anatomy, axial_series):
        plans.append(_disturbed(rng, plan_series(rng, AXIAL_T2, "T2", planes, distance)))
    return tuple(plans)


def with_wide_contrast(rng: np.random.Generator, plan: SeriesPlan) -> SeriesPlan:
    """Return the series with other signals of the tissues, and another coil."""
    return replace(
        plan,
        contrast=draw_wide_contrast(rng, plan.sequence),
        coil=(float(np.exp(rng.uniform(np.log(45), np.log(400)))), float(rng.uniform(110, 500))),
        surface=(float(rng.uniform(-0.3, 1.6)), float(rng.uniform(-0.3, 1.6) * (rng.random() < 0.6))),
        saturation=draw_saturation(rng) if plan.description != AXIAL_T2 and rng.random() < 0.15 else None,
    )


def _disturbed(rng, plan: SeriesPlan) -> SeriesPlan:
    """Return the series with another resolution and noise, and more artefacts."""
    blur = rng.lognormal(0, 0.3)
    return replace(
        plan,
        resolution=float(np.clip(plan.resolution * blur, max(plan.planes[0].spacing), 2.2)),
        noise=float(np.exp(rng.uniform(np.log(0.004), np.log(0.06)))),
        fat_shift=float(rng.uniform(0.8, 4) * rng.choice([-1, 1])) if rng.random() < 0.2 else 0.0,
        ghost=float(rng.uniform(0.02, 0.12)) if rng.random() < 0.25 else 0.0,
    )


def _matrix(rng, limits: tuple[float, float], usual: tuple[float, float]) -> dict:
    """Draw rows, columns and the pixel in mm: a usual field of view, or any between the limits."""
    low, high = limits if rng.random() < 0.6 else usual
    view_mm = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    rows = int(rng.choice(_ROWS))
    ratio = rng.uniform(0.6, 1.0) if rng.random() < 0.4 else 1.0
    return {"shape": (rows, int(round(rows * ratio / 2) * 2)), "pixel": view_mm / rows, "view_mm": view_mm}


def _sagittal_view(rng) -> dict:
    """Draw a sagittal stack: its field of view, its slices, and the place of the L3/L4 disc in it."""
    distance = float(rng.uniform(2.2, 6.0))
    covered = rng.uniform(42, 110)  # mm
    matrix = _matrix(rng, _VIEW, (230, 340))
    free = np.clip(1 - 170 / matrix["view_mm"], 0.04, 0.6) / 2  # the five levels take up about 170 mm
    return {
        **matrix,
        "distance": distance,
        "count": int(np.clip(covered / distance, *_SAGITTAL_LIMITS)),
        "sideways": rng.normal(0, 4.0),
        "place": (0.5 + rng.uniform(-free, free), rng.uniform(0.36, 0.68)),
        "tilt": rng.normal(0, np.radians([4, 3, 4])),
    }


def _draw_axial(rng, anatomy, least: int) -> list[tuple[list, float]]:
    """Draw ``least`` to three axial series: straight stacks, or oblique blocks along discs that begin anywhere."""
    count = max(least, int(rng.choice([1, 2, 3], p=[0.83, 0.155, 0.015])))
    series, left = [], _AXIAL_LIMITS[1]
    for index in range(count):
        most = left - 20 * (count - 1 - index)  # every later series needs at least 20 slices
        matrix = _matrix(rng, _AXIAL_VIEW, (150, 220))
        place = (rng.normal(0.53, 0.05), rng.normal(0.5, 0.04))
        view = {**matrix, "place": place, "tilt": rng.normal(0, np.radians([0, 3, 3]))}
        if rng.random() < 0.5:
            first = int(np.clip(FIRST_LEVEL - rng.integers(0, 4), 0, None))
            discs = anatomy.disc[first : FIRST_LEVEL + 5 + int(rng.random() < 0.3)]
            each = int(np.clip(rng.integers(4, 14), 3, max(3, most // len(discs))))
            distance = float(rng.uniform(2.5, 5.0))
            planes = lay_blocks(rng, anatomy, view, discs, each, distance)
        else:
            beyond = np.clip(rng.normal((25, 15), (22, 12)), 3, 80)
            planes, distance = lay_stack(rng, anatomy, most, view, beyond)
        series.append((planes, distance))
        left -= len(planes)
    return series
