"""The key slices of a study, with every detector's points drawn on them."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from lumbar.grading.patient_points import Places, find_places
from lumbar.grids import DETECTOR_CENTRE
from lumbar.outputs.report.display_text import capitalised, count, escape, signed
from lumbar.outputs.report.pictures import Frame, data_uri, draw_frame, fit_frame
from lumbar.outputs.report.result import Result
from lumbar.reading.study import Study
from lumbar.reading.volume import Volume
from lumbar.sites import (
    AXIAL_T2,
    DESCRIPTION_SITES,
    DESCRIPTIONS,
    LEVEL_WORDS,
    LEVELS,
    SAGITTAL_T1,
    SITES,
    site_words,
)

SAGITTAL_SIZE, AXIAL_SIZE = 512, 320  # pixels of a picture's longest side
AXIAL_SHARE = 0.55  # of an axial slice shown: the spine in the middle
# Outlines around the origin, told apart without colour; detectors beyond the sixth start again.
SHAPES = (
    "M7 0A7 7 0 1 1-7 0A7 7 0 1 1 7 0Z",
    "M0-8.5 8.5 0 0 8.5-8.5 0Z",
    "M-6.5-6.5H6.5V6.5H-6.5Z",
    "M0-8 7.5 5.5H-7.5Z",
    "M0 8 7.5-5.5H-7.5Z",
    "M-6-6 6 6M6-6-6 6",
)
DIRECTIONS = (("L", "R"), ("P", "A"), ("H", "F"))  # towards which +x, -x; +y, -y; +z, -z lead (DICOM: LPS)


@dataclass(frozen=True)
class Film:
    """A slice to show and the sites (indices) whose points are drawn on it, even where they lie beside it."""

    description: str
    title: str
    slice_index: int
    sites: tuple[int, ...]


def study_places(study: Study, result: Result) -> dict[str, dict[str, Places]]:
    """Return where each detector saw the sites, by detector and description."""
    return {
        detector: {d: find_places(study.volumes[d], found) for d, found in detection.points.items()}
        for detector, detection in result.detections.items()
    }


def choose_films(study: Study, places: dict[str, dict[str, Places]]) -> list[Film]:
    """Return the canal's slice, one for each side's foramina, and one axial slice a level, as there are."""
    films = []
    for description in DESCRIPTIONS:
        if description not in study.volumes:
            continue
        part = range(*DESCRIPTION_SITES[description].indices(len(SITES)))
        if description == AXIAL_T2:
            sets = [(LEVEL_WORDS[level], part[n :: len(LEVELS)]) for n, level in enumerate(LEVELS)]
        elif description == SAGITTAL_T1:
            sets = [("Right foramina", part[5:]), ("Left foramina", part[:5])]
        else:
            sets = [("Spinal canal", part)]
        for title, sites in sets:
            index = most_seen(study.volumes[description], description, sites, places)
            films.append(Film(description, title, index, tuple(sites)))
    return films


def most_seen(volume: Volume, description: str, sites: range, places: dict[str, dict[str, Places]]) -> int:
    """Return the slice that holds most of the sites' points, the middle one where there are none."""
    start = DESCRIPTION_SITES[description].start
    seen = [
        int(found[description].slices[site - start])
        for found in places.values()
        if description in found
        for site in sites
    ]
    return Counter(seen).most_common(1)[0][0] if seen else len(volume) // 2


def film_html(film: Film, volume: Volume, places: dict[str, dict[str, Places]]) -> str:
    """Return a figure: the slice in its true proportions, its marks, and where it lies."""
    start, axial = DESCRIPTION_SITES[film.description].start, film.description == AXIAL_T2
    rows = [site - start for site in film.sites]
    seen = [found[film.description] for found in places.values() if film.description in found]
    points = np.concatenate([found.grid256[rows, 1:] for found in seen]) if seen else None
    header = volume.headers[film.slice_index]
    frame = fit_frame(header, AXIAL_SIZE if axial else SAGITTAL_SIZE, points, AXIAL_SHARE if axial else 1.0)
    picture = data_uri(draw_frame(volume.grid512[film.slice_index], frame))
    marks = "".join(
        mark_html(frame, site, number, found[film.description], site - start, film.slice_index, detector)
        for number, (detector, found) in enumerate(places.items())
        if film.description in found
        for site in film.sites
    )
    where = f"slice {film.slice_index + 1} of {len(volume)}"
    middle = volume.grid_to_patient(film.slice_index, *DETECTOR_CENTRE)
    if middle is not None:
        axis, letter = (2, "z") if axial else (0, "x")
        where += f" · {letter} {middle[axis]:.0f} mm".replace("-", "−")
    alternative = f"{film.description}, {film.title}, {where}, with {count(len(seen) * len(rows), 'point')}"
    return (
        f'<figure class="film {"axial" if axial else "sagittal"}"><div class="frame">'
        f'<img src="{picture}" width="{frame.columns}" height="{frame.rows}" alt="{escape(alternative)}">'
        f'<svg viewBox="0 0 {frame.columns} {frame.rows}" aria-hidden="true">'
        f"{edge_letters(header.orientation, frame)}{marks}</svg></div>"
        f"<figcaption><b>{escape(film.title)}</b> {escape(film.description)} <span>{where}</span></figcaption></figure>"
    )


def mark_html(
    frame: Frame, site: int, number: int, found: Places, row: int, slice_index: int, detector: str
) -> str:
    """Return one detector's mark at a site; dashed, with the distance in slices, where it lies on another slice."""
    x, y = frame.place(*found.grid256[row, 1:])
    off = int(found.slices[row]) - slice_index
    title = f"{capitalised(site_words(SITES[site]))}, {detector}: {found.values[row]:.2f}" + (
        f", {count(abs(off), 'slice')} {'above' if off > 0 else 'below'} this one in the stack" if off else ""
    )
    shape = number % len(SHAPES)
    classes = f"mark d{shape}" + (" off" if off else "")
    label = label_svg(site, number, off, x < frame.columns / 2)
    return (
        f'<g class="{classes}" data-site="{SITES[site].name}" transform="translate({x:.1f} {y:.1f})">'
        f'<title>{escape(title)}</title><path d="{SHAPES[shape]}"/>{label}</g>'
    )


def label_svg(site: int, number: int, off: int, left_half: bool) -> str:
    """Return what stands beside a mark: the first detector names the site; all say how many slices away it is."""
    axial = SITES[site].description == AXIAL_T2
    words = [signed(off)] if off else []
    if number == 0:
        words.insert(0, SITES[site].side[0].upper() if axial else LEVEL_WORDS[SITES[site].level])
    if not words:
        return ""
    # The name stands away from the canal: behind a sagittal point, beside an axial one. The others keep off it.
    left = axial and left_half if number == 0 else not axial
    classes, x, y = ("left", -14, 4.5) if left else ("right", 14, 4.5)
    if number and axial:
        classes, x, y = "above", 0, -12
    return f'<text class="{classes}{" away" if number else ""}" x="{x}" y="{y}">{" ".join(words)}</text>'


def edge_letters(orientation: tuple[float, ...] | None, frame: Frame) -> str:
    """Return the letters at the left and right edge, and below, that say which way the patient lies."""
    if orientation is None:
        return ""
    along_row, along_column = np.reshape(orientation, (2, 3))
    (right, left), (bottom, _) = towards(along_row), towards(along_column)
    spots = ((12, frame.rows / 2, left), (frame.columns - 12, frame.rows / 2, right))
    spots += ((frame.columns / 2, frame.rows - 14, bottom),)
    return "".join(f'<text class="edge" x="{x:.0f}" y="{y:.0f}">{letter}</text>' for x, y, letter in spots)


def towards(direction: np.ndarray) -> tuple[str, str]:
    """Return the letters of the patient's side that a direction leads to, and the opposite one."""
    axis = int(np.abs(direction).argmax())
    letters = DIRECTIONS[axis]
    return letters if direction[axis] > 0 else letters[::-1]


def legend_html(detectors: list[str]) -> str:
    """Return which shape is which detector's."""
    items = "".join(
        f'<li><svg viewBox="-11 -11 22 22" aria-hidden="true"><g class="mark d{n % len(SHAPES)}">'
        f'<path d="{SHAPES[n % len(SHAPES)]}"/></g></svg>{escape(name)}</li>'
        for n, name in enumerate(detectors)
    )
    return f'<ul class="legend">{items}</ul>' if items else ""
