"""Do a study's points make sense as places in one spine? Flags with figures, never corrections.

A pure function of points and geometry. The limits are so wide that the labelled sites of the one complete real
study at hand raise no flag. Those of 250 real sagittal T1 series, which have no geometry, raise no ``black_place``.
The tests show which errors the limits catch.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np

from lumbar.grading.detection import Detection
from lumbar.grading.patient_points import (
    FARTHEST_LEVELS,
    NEAREST_LEVELS,
    Places,
    find_places,
    level_steps,
    overruled_mm,
)
from lumbar.grids import CROP_GRID, DETECTOR_GRID, WINDOW
from lumbar.reading.volume import Volume
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, LEVELS, SAGITTAL_T2, SITE_NAMES, SITES, site_words

SIDES_APART = 5.0  # mm; labelled foramina are about 30 apart, recesses 11 to 18
MIDLINE = 10.0  # mm between the canal and the middle of left and right; labelled: up to 6
LEVEL_HEIGHT = 15.0  # mm between series at one level, half a level; labelled: up to 8
DETECTORS_APART = 10.0  # mm
OVERRULED = 10.0  # mm
BLACK = 20.0  # of 255: the 95th percentile of a crop; labelled foramina: from 24
BLANK = 4  # of 255: nothing brighter within BLANK_REACH; labelled foramina: from 8
# Pixels of the detector grid to either side: a crop's window, a point's place.
CROP_REACH, BLANK_REACH = WINDOW // 2 * DETECTOR_GRID // CROP_GRID, 4

FLAG_REASONS = {
    "no_geometry": "slices have no place in the patient: left and right rest on their order alone,"
    " and no distance can be checked",
    "level_order": "a level does not lie below the one above it",
    "level_distance": f"neighbouring levels are nearer than {NEAREST_LEVELS:g} or farther than {FARTHEST_LEVELS:g} mm",
    "level_overruled": f"a point was moved by more than {OVERRULED:g} mm to fit the other levels",
    "side_swapped": "the left point lies on the patient's right of the right point: a mirrored series?",
    "sides_together": f"left and right are less than {SIDES_APART:g} mm apart: one side found twice?",
    "midline_off": f"the middle of left and right is more than {MIDLINE:g} mm from the canal: a mirrored series,"
    " or the patient moved",
    "shifted_level": "one series has all levels about one level off the others: a disc counted wrongly?",
    "transitional_vertebra": "the axial levels are those of the sagittal series but for one: six discs were found,"
    " because of a transitional vertebra or a disc counted wrongly",
    "levels_disagree": f"a level's height differs by more than {LEVEL_HEIGHT:g} mm between series",
    "detectors_disagree": f"detectors place the same site more than {DETECTORS_APART:g} mm apart",
    "black_place": "the point lies in air or in padding",
}


class Flag(NamedTuple):
    """One doubt: ``reason`` of FLAG_REASONS, the finding in words, and the worst figure in ``unit``."""

    reason: str
    message: str
    figure: float
    unit: str
    detector: str  # "" where it is about none alone
    sites: tuple[str, ...]


def flags(volumes: dict[str, Volume], detections: dict[str, Detection]) -> list[Flag]:
    """Return the doubts about the detectors' points in a study; points without a flag may still be wrong.

    Geometry that is missing is a flag itself. A description that is missing is none: that is a fallback.
    """
    places = {
        detector: {
            description: find_places(volumes[description], found)
            for description, found in detection.points.items()
        }
        for detector, detection in detections.items()
    }
    said = [*check_geometry(volumes)]
    for detector, seen in places.items():
        for description, found in seen.items():
            said += check_levels(detector, description, found)
            points = detections[detector].points[description]
            said += check_overruled(detector, description, overruled_mm(volumes[description], points))
            said += check_sides(detector, description, found, seen.get(SAGITTAL_T2))
            said += check_brightness(detector, description, found, volumes[description])
        said += check_heights(detector, seen)
        said += check_transition(detector, seen)
    return [*said, *check_detectors(places)]


def check_geometry(volumes: dict[str, Volume]) -> Iterator[Flag]:
    """Flag a volume with slices that have no place in the patient."""
    for description, volume in volumes.items():
        lost = sum(volume.grid_to_patient(index, 0, 0) is None for index in range(len(volume)))
        if lost or volume.order_key != "ImagePositionPatient":
            message = f"{description}: {lost} of {len(volume)} slices without geometry, ordered by {volume.order_key}"
            yield Flag("no_geometry", message, float(lost), "slices", "", ())


def check_levels(detector: str, description: str, found: Places) -> Iterator[Flag]:
    """Flag neighbouring levels in the wrong order, or too near or too far."""
    names = SITE_NAMES[DESCRIPTION_SITES[description]]
    order, distance = [], []
    for first in range(0, len(names), len(LEVELS)):
        levels = found.patient[first : first + len(LEVELS)]
        for upper, (drop, step) in enumerate(zip(*level_steps(levels), strict=True), start=first):
            pair = names[upper : upper + 2]
            if drop <= 0:
                order.append((drop, pair))
            elif step < NEAREST_LEVELS or step > FARTHEST_LEVELS:
                distance.append((step, pair))
    where = detector, f"{description}, along the spine"
    yield from flag_worst("level_order", "mm downwards", where, order, lambda drop: -drop)
    middle = (NEAREST_LEVELS + FARTHEST_LEVELS) / 2
    yield from flag_worst("level_distance", "mm", where, distance, lambda step: abs(step - middle))


def check_overruled(detector: str, description: str, distances: np.ndarray) -> Iterator[Flag]:
    """Flag points that were chosen to fit the other levels, far from where their heatmaps are largest."""
    names = SITE_NAMES[DESCRIPTION_SITES[description]]
    far = [(mm, (name,)) for mm, name in zip(distances, names, strict=True) if mm > OVERRULED]
    where = detector, f"{description}, from where the heatmap is largest"
    yield from flag_worst("level_overruled", "mm", where, far)


def check_sides(detector: str, description: str, found: Places, canal: Places | None) -> Iterator[Flag]:
    """Flag left points that are not left of the right ones (+x), and pairs that are not around the canal."""
    if description == SAGITTAL_T2:
        return
    names = SITE_NAMES[DESCRIPTION_SITES[description]]
    left, right = np.split(found.patient[:, 0], 2)
    pairs = list(zip(names[: len(LEVELS)], names[len(LEVELS) :], strict=True))
    apart = list(zip(left - right, pairs, strict=True))
    where = detector, f"{description}, right to left"
    swapped = [item for item in apart if item[0] < 0]
    together = [item for item in apart if 0 <= item[0] < SIDES_APART]
    yield from flag_worst("side_swapped", "mm", where, swapped, lambda gap: -gap)
    yield from flag_worst("sides_together", "mm", where, together, lambda gap: -gap)
    if canal is not None:
        off = np.abs((left + right) / 2 - canal.patient[:, 0])
        far = [item for item in zip(off, pairs, strict=True) if item[0] > MIDLINE]
        yield from flag_worst("midline_off", "mm", (detector, f"{description}, middle to canal"), far)


def check_brightness(detector: str, description: str, found: Places, volume: Volume) -> Iterator[Flag]:
    """Flag points in air or in padding."""
    sites = zip(SITE_NAMES[DESCRIPTION_SITES[description]], found.slices, found.grid256, strict=True)
    seen = [
        (brightness(volume.grid256[index], int(place[1]), int(place[2])), (name,))
        for name, index, place in sites
    ]
    black = [item for item in seen if item[0] < BLACK]
    where = detector, f"{description}, 95th percentile of the crop"
    yield from flag_worst("black_place", "of 255", where, black, lambda value: -value)


def brightness(image: np.ndarray, row: int, column: int) -> float:
    """Return the 95th percentile, 0..255, of a point's crop in (256, 256); 0 where its place is blank."""

    def window(reach: int) -> np.ndarray:
        return image[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]

    return float(np.percentile(window(CROP_REACH), 95)) if window(BLANK_REACH).max() > BLANK else 0.0


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


def flag_worst(
    reason: str,
    unit: str,
    where: tuple[str, str],
    found: list[tuple[float, tuple[str, ...]]],
    badness: Callable[[float], float] = float,
) -> Iterator[Flag]:
    """Yield one flag for all findings of a kind, with the worst figure; none without a finding.

    Args:
        reason: Key of FLAG_REASONS.
        unit: Of the figures.
        where: Detector, and the series or direction that was checked.
        found: Figures, each with its sites.
        badness: Orders figures; the worst has the largest.
    """
    if not found:
        return
    figure, sites = max(found, key=lambda item: badness(item[0]))
    words = [site_words(SITES[SITE_NAMES.index(name)]) for name in sites]
    message = f"{': '.join(where)}: {figure:.0f} {unit} at {' and '.join(words)}"
    if len(found) > 1:
        message += f", and {len(found) - 1} more"
    all_sites = dict.fromkeys(site for _, names in found for site in names)
    yield Flag(reason, message, float(figure), unit, where[0], tuple(all_sites))
