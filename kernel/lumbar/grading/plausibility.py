"""Do a study's points make sense as places in one spine? Flags with figures, never corrections.

A pure function of points and geometry. The limits are so wide that the labelled sites of the one complete real
study at hand raise no flag. Those of 250 real sagittal T1 series, which have no geometry, raise no ``black_place``.
The tests show which errors the limits catch.
"""

from collections.abc import Iterator

import numpy as np

from lumbar.grading.detection import Detection
from lumbar.grading.flag import MIDLINE, OVERRULED, SIDES_APART, Flag, flag_worst
from lumbar.grading.patient_points import (
    FARTHEST_LEVELS,
    NEAREST_LEVELS,
    Places,
    find_places,
    level_steps,
    overruled_mm,
)
from lumbar.grading.series_agreement import check_detectors, check_heights, check_transition
from lumbar.grids import CROP_GRID, DETECTOR_GRID, WINDOW
from lumbar.reading.volume import Volume
from lumbar.sites import DESCRIPTION_SITES, LEVELS, SAGITTAL_T2, SITE_NAMES

BLACK = 20.0  # of 255: the 95th percentile of a crop; labelled foramina: from 24
BLANK = 4  # of 255: nothing brighter within BLANK_REACH; labelled foramina: from 8
# Pixels of the detector grid to either side: a crop's window, a point's place.
CROP_REACH, BLANK_REACH = WINDOW // 2 * DETECTOR_GRID // CROP_GRID, 4


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
