"""Do several series of a study, and several detectors, place the same sites at the same places?"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from lumbar.grading.flag import DETECTORS_APART, LEVEL_HEIGHT, Flag, flag_worst
from lumbar.grading.patient_points import Places
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, LEVELS, SITE_NAMES


def check_heights(detector: str, seen: dict[str, Places]) -> Iterator[Flag]:
    """Flag a series if all of its levels are about one off the others', and single levels that disagree."""
    heights = {description: level_heights(found) for description, found in seen.items()}
    gaps = {(a, b): heights[a] - heights[b] for a, b in combinations(heights, 2)}
    shifted = [pair for pair in gaps if level_shift(heights[pair[0]], heights[pair[1]])]
    if shifted:
        # One that differs from two which agree is to blame; of two that differ, either may be.
        blamed = [d for d in heights if len(shifted) == 2 and all(d in pair for pair in shifted)]
        figures = [float(np.nanmedian(gaps[pair])) for pair in shifted]
        told = ", ".join(f"{a} {f:+.0f} mm from {b}" for (a, b), f in zip(shifted, figures, strict=True))
        suspects = blamed or list(dict.fromkeys(d for pair in shifted for d in pair))
        message = f"{detector}: median height of the levels: {told}; suspect: {' or '.join(suspects)}"
        sites = tuple(name for d in suspects for name in SITE_NAMES[DESCRIPTION_SITES[d]])
        yield Flag("shifted_level", message, max(figures, key=abs), "mm of height", detector, sites)
    for (a, b), gap in gaps.items():
        far = [
            (gap[level], level_sites(a, level) + level_sites(b, level))
            for level in range(len(LEVELS))
            if abs(gap[level]) > LEVEL_HEIGHT and (a, b) not in shifted
        ]
        yield from flag_worst("levels_disagree", "mm of height", (detector, f"{a} against {b}"), far, abs)


def check_transition(detector: str, seen: dict[str, Places]) -> Iterator[Flag]:
    """Flag axial levels one off those on which all sagittal series agree: together they see more discs than five.

    The sagittal series show the sacrum, from which levels are counted; an axial series is counted by its place.
    """
    heights = {description: level_heights(found) for description, found in seen.items()}
    axial = heights.pop(AXIAL_T2, None)
    if axial is None or not heights:
        return
    shifts = {level_shift(axial, sagittal) for sagittal in heights.values()}
    if (
        len(shifts) == 1
        and shifts != {0}
        and not any(level_shift(a, b) for a, b in combinations(heights.values(), 2))
    ):
        discs = len(LEVELS) + 1  # four of each are the same ones
        lower = "lower" if shifts == {1} else "higher"
        message = f"{detector}: the axial levels lie one disc {lower} than the sagittal ones; {discs} discs were found"
        yield Flag("transitional_vertebra", message, float(discs), "discs", detector, SITE_NAMES)


def level_heights(found: Places) -> np.ndarray:
    """Return patient z of the five levels in mm, the mean of both sides where there are two."""
    return found.patient[:, 2].reshape(-1, len(LEVELS)).mean(axis=0)


def level_sites(description: str, level: int) -> tuple[str, ...]:
    return SITE_NAMES[DESCRIPTION_SITES[description]][level :: len(LEVELS)]


def level_shift(a: np.ndarray, b: np.ndarray) -> int:
    """Return by how many levels ``a`` lies lower than ``b``: -1, 0 or 1. Heights (5,) in mm, NaN unknown.

    Not 0 only if the heights disagree as they stand, and fit at least twice as well one level off.
    """
    gaps = {0: a - b, 1: a[:-1] - b[1:], -1: a[1:] - b[:-1]}
    if any(np.isnan(gap).all() for gap in gaps.values()):
        return 0
    off = {shift: float(np.nanmedian(np.abs(gap))) for shift, gap in gaps.items()}
    best = min(off, key=off.__getitem__)
    return best if off[0] > LEVEL_HEIGHT and off[best] < off[0] / 2 else 0


def check_detectors(places: dict[str, dict[str, Places]]) -> Iterator[Flag]:
    """Flag sites that any two detectors place far apart."""
    for (one, seen_one), (other, seen_other) in combinations(places.items(), 2):
        for description in [d for d in seen_one if d in seen_other]:
            gaps = np.linalg.norm(seen_one[description].patient - seen_other[description].patient, axis=1)
            names = SITE_NAMES[DESCRIPTION_SITES[description]]
            far = [(gap, (name,)) for gap, name in zip(gaps, names, strict=True) if gap > DETECTORS_APART]
            yield from flag_worst("detectors_disagree", "mm", (f"{one} and {other}", description), far)
