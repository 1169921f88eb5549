"""Points that lie in another series than those of the neighbouring levels.

Overlapping axial series show a level more than once. One detector picks among their slices, so a single level in
another series than its neighbours is no error by itself: which series a label is in differs too.
"""

from collections.abc import Iterator

import numpy as np

from lumbar.grading.detection import Detection
from lumbar.grading.patient_points import Places, find_places, plane_offsets
from lumbar.reading.volume import Volume
from lumbar.sites import DESCRIPTION_SITES, LEVELS, SITE_NAMES


def sites_in_other_series(volumes: dict[str, Volume], detections: dict[str, Detection]) -> set[str]:
    """Return the names of the sites that any detector finds in another series than at the neighbouring levels."""
    found = set()
    for detection in detections.values():
        for description, points in detection.points.items():
            volume = volumes[description]
            if volume.series_count > 1:
                found.update(strays(volume, find_places(volume, points), description))
    return found


def strays(volume: Volume, places: Places, description: str) -> Iterator[str]:
    """Yield the sites of one description with neighbours in one other series, which shows the site as well.

    Neighbours are the levels above and below of the same side, at the ends the next two levels.
    """
    names = SITE_NAMES[DESCRIPTION_SITES[description]]
    series = [volume.headers[index].series_id for index in places.slices]
    for first in range(0, len(names), len(LEVELS)):
        for level in range(len(LEVELS)):
            beside = {0: (1, 2), len(LEVELS) - 1: (level - 1, level - 2)}.get(level, (level - 1, level + 1))
            own, one, other = (series[first + number] for number in (level, *beside))
            if one == other != own and shows(volume, one, places.patient[first + level]):
                yield names[first + level]


def shows(volume: Volume, series_id: str, point: np.ndarray) -> bool:
    """Return whether a series' slices lie on both sides of a point (x, y, z) in mm; False without geometry."""
    own = [header.series_id == series_id for header in volume.headers]
    offsets = plane_offsets(volume, point)[own]
    return bool((offsets > 0).any() and (offsets <= 0).any())
