"""The key slices of a study, with every detector's points drawn on them."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from lumbar.grading.patient_points import Places, find_places
from lumbar.grids import DETECTOR_CENTRE
from lumbar.outputs.report.display_text import count, signed, site_title
from lumbar.outputs.report.pictures import Frame, data_uri, draw_frame, fit_frame
from lumbar.outputs.report.result import Result
from lumbar.reading.study import Study
from lumbar.reading.volume import Volume
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, DESCRIPTIONS, LEVEL_WORDS, LEVELS, SAGITTAL_T1, SITES

SAGITTAL_SIZE, AXIAL_SIZE = 512, 320  # pixels of a picture's longest side
AXIAL_SHARE = 0.55  # of an axial slice shown: the spine in the middle
# Outlines around the origin, distinct without colour; detectors beyond the sixth start again.
SHAPES = (
    "M7 0A7 7 0 1 1-7 0A7 7 0 1 1 7 0Z",
    "M0-8.5 8.5 0 0 8.5-8.5 0Z",
    "M-6.5-6.5H6.5V6.5H-6.5Z",
    "M0-8 7.5 5.5H-7.5Z",
    "M0 8 7.5-5.5H-7.5Z",
    "M-6-6 6 6M6-6-6 6",
)
COLOURS = ("#56b4e9", "#f0a830", "#f0e442", "#e695c4", "#35c79a", "#ff8450")  # as in style.css
DIRECTIONS = (
    ("L", "R"),
    ("P", "A"),
    ("H", "F"),
)  # ends of the x, y and z axis, the positive one first (DICOM: LPS)


@dataclass(frozen=True)
class KeySlice:
    """A slice to show. The points of its sites (indices) are drawn on it, also points beside the slice."""

    description: str
    title: str
    slice_index: int
    sites: tuple[int, ...]

    @property
    def axial(self) -> bool:
        return self.description == AXIAL_T2


@dataclass(frozen=True)
class Label:
    """Text beside a mark, in pixels from it; ``side`` is a class of style.css."""

    words: str
    side: str
    x: float
    y: float


@dataclass(frozen=True)
class Mark:
    """One detector's point of a site: x, y in pixels of the picture, ``shape`` an index of SHAPES.

    Attributes:
        off: The point lies on another slice.
    """

    site: str
    shape: int
    x: float
    y: float
    off: bool
    title: str
    label: Label | None


@dataclass(frozen=True)
class Film:
    """A key slice drawn: the picture as a data: URI, letters at its edges, and marks.

    Attributes:
        frame: The part of the slice, and the picture's size.
        where: The slice and its place in the patient, in words.
        alternative: Text in place of the picture.
        edges: (x, y, letter) in pixels.
    """

    key: KeySlice
    picture: str
    frame: Frame
    where: str
    alternative: str
    edges: tuple[tuple[float, float, str], ...]
    marks: tuple[Mark, ...]


def study_places(study: Study, result: Result) -> dict[str, dict[str, Places]]:
    """Return the places of the sites, by detector and description."""
    return {
        detector: {d: find_places(study.volumes[d], found) for d, found in detection.points.items()}
        for detector, detection in result.detections.items()
    }


def choose_key_slices(study: Study, places: dict[str, dict[str, Places]]) -> list[KeySlice]:
    """Return the canal's slice, one for each side's foramina, and one axial slice a level, as there are."""
    chosen = []
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
            chosen.append(KeySlice(description, title, index, tuple(sites)))
    return chosen


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


def draw_film(key: KeySlice, volume: Volume, places: dict[str, dict[str, Places]]) -> Film:
    """Draw a key slice in its true proportions, with its marks."""
    start = DESCRIPTION_SITES[key.description].start
    rows = [site - start for site in key.sites]
    seen = {
        detector: found[key.description] for detector, found in places.items() if key.description in found
    }
    points = np.concatenate([found.grid256[rows, 1:] for found in seen.values()]) if seen else None
    header = volume.headers[key.slice_index]
    size, share = (AXIAL_SIZE, AXIAL_SHARE) if key.axial else (SAGITTAL_SIZE, 1.0)
    frame = fit_frame(header, size, points, share)
    where = f"slice {key.slice_index + 1} of {len(volume)}"
    middle = volume.grid_to_patient(key.slice_index, *DETECTOR_CENTRE)
    if middle is not None:
        axis, letter = (2, "z") if key.axial else (0, "x")
        where += f" · {letter}\N{NO-BREAK SPACE}{middle[axis]:.0f}\N{NO-BREAK SPACE}mm".replace("-", "−")
    numbers = {detector: number for number, detector in enumerate(places)}
    return Film(
        key=key,
        picture=data_uri(draw_frame(volume.grid512[key.slice_index], frame)),
        frame=frame,
        where=where,
        alternative=f"{key.description}, {key.title}, {where}, with {count(len(seen) * len(rows), 'point')}",
        edges=edge_letters(header.usual_orientation, frame),
        marks=tuple(
            place_mark(frame, site, numbers[detector], found, site - start, key.slice_index, detector)
            for detector, found in seen.items()
            for site in key.sites
        ),
    )


def place_mark(
    frame: Frame, site: int, number: int, found: Places, row: int, slice_index: int, detector: str
) -> Mark:
    """Return one detector's mark at a site; its title has the slices between the mark and the point."""
    x, y = frame.place(*found.grid256[row, 1:])
    off = int(found.slices[row]) - slice_index
    title = f"{site_title(SITES[site])}, {detector}: {found.values[row]:.2f}"
    if off:
        title += f", {count(abs(off), 'slice')} {'above' if off > 0 else 'below'} this one in the stack"
    label = place_label(site, number, off, x < frame.columns / 2)
    return Mark(SITES[site].name, number % len(SHAPES), x, y, bool(off), title, label)


def place_label(site: int, number: int, off: int, left_half: bool) -> Label | None:
    """Return the text beside a mark: the site's name at the first detector, the slices to the point at all."""
    axial = SITES[site].description == AXIAL_T2
    words = [signed(off)] if off else []
    if number == 0:
        words.insert(0, (SITES[site].side or "")[:1].upper() if axial else LEVEL_WORDS[SITES[site].level])
    if not words:
        return None
    # The name stands away from the canal: behind a sagittal point, beside an axial one. The others keep off it.
    left = axial and left_half if number == 0 else not axial
    side, x, y = ("left", -14, 4.5) if left else ("right", 14, 4.5)
    if number and axial:
        side, x, y = "above", 0, -12
    return Label(" ".join(words), f"{side} away" if number else side, x, y)


def edge_letters(orientation: tuple[float, ...] | None, frame: Frame) -> tuple[tuple[float, float, str], ...]:
    """Return the letters of the patient's sides at the left, right and lower edge of a picture."""
    if orientation is None:
        return ()
    along_row, along_column = np.reshape(orientation, (2, 3))
    (right, left), (bottom, _) = towards(along_row), towards(along_column)
    middle, centre = frame.rows / 2, frame.columns / 2
    return (12, middle, left), (frame.columns - 12, middle, right), (centre, frame.rows - 14, bottom)


def towards(direction: np.ndarray) -> tuple[str, str]:
    """Return the letters of the patient's side that a direction leads to, and the opposite one."""
    axis = int(np.abs(direction).argmax())
    positive, negative = DIRECTIONS[axis]
    return (positive, negative) if direction[axis] > 0 else (negative, positive)
