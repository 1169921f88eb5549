"""Slices to scroll: the values that the page's scripts draw three linked views from.

The viewer is own code, 21 kB. The libraries that were looked at are larger, and all of them fetch their volumes, which
a page from disk may not: dwv 0.36 (0.6 MB, GPL), NiiVue 0.69 (2.9 MB), Cornerstone 5.14 (5 MB).
"""

import numpy as np

from lumbar.grading.patient_points import Places
from lumbar.grids import DETECTOR_GRID, grid_share
from lumbar.outputs.report.display_text import GROUP_ORDER, group_title, percent, site_title
from lumbar.outputs.report.key_slices import SHAPES, towards
from lumbar.outputs.report.result import Result
from lumbar.outputs.report.slice_strips import STRIP_SLICES, Strips
from lumbar.reading.study import Study
from lumbar.reading.volume import SliceHeader, Volume
from lumbar.sites import DESCRIPTION_SITES, DESCRIPTIONS, LEVEL_WORDS, SEVERITY_LABELS, SITES, Site

SHORT_DESCRIPTIONS = ("T2", "T1", "Ax")  # beside the lines of intersection
OUTER_EDGES = (-0.5, DETECTOR_GRID - 0.5)  # of the first and the last pixel, on the detector grid


def slice_views(study: Study, result: Result, places: dict[str, dict[str, Places]], strips: Strips) -> dict:
    """Return the content of a study's viewer as JSON.

    Lengths are mm in the patient's frame (LPS), or pixels where ``mm`` is false. A place on a slice is a share 0..1 of
    its width and height, from its upper left corner.

    Args:
        places: By detector and description.
        strips: The slices' pictures.
    """
    return {
        "side": strips.side,
        "perFile": STRIP_SLICES,
        "shapes": SHAPES,
        "detectors": list(places),
        "start": worst_site(result, places),
        "sites": [site_entry(site, result) for site in SITES],
        "views": [
            view_entry(description, number, study, strips) for number, description in enumerate(DESCRIPTIONS)
        ],
        "points": site_points(places),
    }


def view_entry(description: str, number: int, study: Study, strips: Strips) -> dict:
    """Return one description's files and slices; no slices if it could not be read."""
    entry = {"title": description, "short": SHORT_DESCRIPTIONS[number], "files": [], "slices": []}
    volume = study.volumes.get(description)
    if volume is None:
        return entry
    entry["files"] = [f"{strips.folder}/{name}" for name in strips.names(description)]
    entry["slices"] = [slice_entry(volume, index) for index in range(len(volume))]
    return entry


def slice_entry(volume: Volume, index: int) -> dict:
    """Return a slice's size and, of a slice with a geometry, its corner, its two sides and the letters around it."""
    header = volume.headers[index]
    entry = {"size": picture_size(header), "mm": header.usual_spacing is not None, "corner": None}
    if header.instance_number is not None:
        entry["instance"] = header.instance_number
    first, last = OUTER_EDGES
    corner, right, below = (
        volume.grid_to_patient(index, *place) for place in ((first, first), (first, last), (last, first))
    )
    if corner is None or right is None or below is None:
        return entry
    across, down = np.subtract(right, corner), np.subtract(below, corner)
    (east, west), (south, north) = towards(across), towards(down)
    return entry | {
        "corner": rounded(corner),
        "across": rounded(across),
        "down": rounded(down),
        "letters": [west, east, north, south],
    }


def picture_size(header: SliceHeader) -> list[float]:
    """Return a slice's width and height in mm, in pixels where the spacing is unknown."""
    rows, columns = header.usual_shape
    between_rows, between_columns = header.usual_spacing or (1.0, 1.0)
    return rounded((columns * between_columns, rows * between_rows))


def site_entry(site: Site, result: Result) -> dict:
    """Return a site's names and its most probable severity in words."""
    side = f"{site.side[0].upper()} " if site.side else ""
    row = None if result.probabilities is None else result.probabilities[site.index]
    grade = "not graded"
    if row is not None and not np.isnan(row).any():
        grade = f"{SEVERITY_LABELS[int(row.argmax())].lower()}, {percent(float(row.max()))}%"
    return {
        "name": site.name,
        "title": site_title(site),
        "short": side + LEVEL_WORDS[site.level],
        "view": DESCRIPTIONS.index(site.description),
        "grade": grade,
    }


def site_points(places: dict[str, dict[str, Places]]) -> list[list]:
    """Return each detector's point of each site: site, detector, slice, x, y, value of the heatmap."""
    points = []
    for number, found_by in enumerate(places.values()):
        for description, found in found_by.items():
            for row, site in enumerate(SITES[DESCRIPTION_SITES[description]]):
                x, y = grid_share(found.grid256[row, 2]), grid_share(found.grid256[row, 1])
                value = round(float(found.values[row]), 2)
                points.append([site.index, number, int(found.slices[row]), *rounded((x, y), 4), value])
    return points


def worst_site(result: Result, places: dict[str, dict[str, Places]]) -> int | None:
    """Return the worst graded site that has a point: the views open there."""
    seen = {description for found in places.values() for description in found}
    badness = result.badness
    if badness is None:
        return None
    shown = [site.index for site in SITES if site.description in seen]
    return max(shown, key=lambda index: badness[index], default=None)


def site_choices() -> list[tuple[str, list[Site]]]:
    """Return the sites by group, as the list of the viewer offers them."""
    return [(group_title(group), [site for site in SITES if site.group == group]) for group in GROUP_ORDER]


def rounded(values, digits: int = 3) -> list[float]:
    return [round(float(value), digits) for value in values]
