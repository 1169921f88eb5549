"""One phantom study from its seed: grades, anatomy, scan, files, truth."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lumbar.sites import SITES
from phantom.anatomy import Anatomy, draw_anatomy
from phantom.build import REALISTIC, WIDE
from phantom.files import draw_tags, write_slice
from phantom.grades import Grades, draw_grades, posterior, weighted_answer
from phantom.planes import Plane
from phantom.profiles import build_profiles
from phantom.protocol import SeriesPlan, draw_protocol
from phantom.scan import scan_series
from phantom.wide_protocol import draw_wide_protocol, with_wide_contrast

WIDE_PARTS = ("contrast", "view", "shape")
# An appearance is one of these names, or the parts that are wide with commas between.
APPEARANCES = {"realistic": (), "wide": WIDE_PARTS}
_ISOCENTRE = (20.0, 30.0, 60.0)  # mm, spread of where in the scanner the patient lies


@dataclass(frozen=True)
class PointOnSlice:
    """A site's labelled point: series id, instance number, x and y in native pixels (0 = first pixel's centre)."""

    series: int
    instance: int
    x: float
    y: float


@dataclass(frozen=True)
class PhantomStudy:
    """A study before it is scanned.

    Attributes:
        study_id: Unique within a run.
        grades: Of its 25 sites; anatomy: shaped by them.
        series: {series id: plan}, planes in patient mm as written.
        seeds: Of the noise of each series.
        shift: (3,) mm from the anatomy's own origin to the scanner's.
        points: (25, 3) patient mm as written.
        points_on_slices: 25, None where no slice shows the point.
    """

    study_id: int
    grades: Grades
    anatomy: Anatomy
    series: dict[int, SeriesPlan]
    seeds: tuple[int, ...]
    tags: object
    shift: np.ndarray
    points: np.ndarray
    points_on_slices: tuple[PointOnSlice | None, ...]


def wide_parts(appearance: str) -> tuple[str, ...]:
    """Return the parts of an appearance that are wide; a part that does not exist is not refused here."""
    return APPEARANCES.get(appearance, tuple(appearance.split(",")))


def draw_study(seed: int, index: int, axial_series: int = 1, appearance: str = "realistic") -> PhantomStudy:
    """Draw study number ``index`` of a run, of at least so many axial series; it depends on nothing else.

    Args:
        seed: Of the run.
        index: Number of the study in the run.
        axial_series: The least number of axial series.
        appearance: As of ``APPEARANCES``. Grades and truth are drawn alike in all.
    """
    rng = np.random.default_rng([seed, index])
    grades = draw_grades(rng)
    wide = wide_parts(appearance)
    anatomy = draw_anatomy(rng, grades, WIDE if "shape" in wide else REALISTIC)
    plans = (draw_wide_protocol if "view" in wide else draw_protocol)(rng, anatomy, axial_series)
    if "contrast" in wide:
        plans = tuple(with_wide_contrast(rng, plan) for plan in plans)
    # An odd factor modulo 2^32 is a bijection: ids look random and never collide within a run.
    study_id = (2654435761 * (index + 1) + 97 * seed) % 2**32
    base = int(rng.integers(10**8, 4 * 10**9))
    series = {base + 7919 * number: plan for number, plan in enumerate(plans)}
    points = anatomy.site_points()
    return PhantomStudy(
        study_id=study_id,
        grades=grades,
        anatomy=anatomy,
        series=series,
        seeds=tuple(int(s) for s in rng.integers(2**31, size=len(plans))),
        tags=draw_tags(rng),
        shift=rng.normal((0, 0, -150), _ISOCENTRE),
        points=points,
        points_on_slices=tuple(
            _label_point(point, site.description, series) for point, site in zip(points, SITES, strict=True)
        ),
    )


def with_descriptions(study: PhantomStudy, descriptions: Collection[str]) -> PhantomStudy:
    """Return the study with its series of these descriptions alone, each of them unchanged."""
    kept = {i: plan for i, plan in study.series.items() if plan.description in descriptions}
    seeds = tuple(seed for i, seed in zip(study.series, study.seeds, strict=True) if i in kept)
    points = tuple(point if point and point.series in kept else None for point in study.points_on_slices)
    return replace(study, series=kept, seeds=seeds, points_on_slices=points)


def _label_point(point, description: str, series: dict[int, SeriesPlan]) -> PointOnSlice | None:
    """Return the point on the slice nearest to it among the description's series that show it."""
    best, nearest = None, np.inf
    for series_id, plan in series.items():
        if plan.description != description:
            continue
        for instance, plane in enumerate(plan.planes, start=1):
            row, column, off = plane.project(point)
            inside = 0 <= row <= plane.shape[0] - 1 and 0 <= column <= plane.shape[1] - 1
            if inside and abs(off) < min(nearest, plan.distance):
                best, nearest = PointOnSlice(series_id, instance, float(column), float(row)), abs(off)
    return best


def write_study(study: PhantomStudy, folder: Path, transfer_syntax: str) -> None:
    """Scan a study and write ``folder/<series>/<instance>.dcm``."""
    profiles = build_profiles(study.anatomy)
    for (series_id, plan), seed in zip(study.series.items(), study.seeds, strict=True):
        series_folder = folder / str(series_id)
        series_folder.mkdir(parents=True, exist_ok=True)
        slices = scan_series(np.random.default_rng(seed), study.anatomy, profiles, plan)
        for instance, (pixels, plane) in enumerate(zip(slices, plan.planes, strict=True), start=1):
            written = _moved(plane, study.shift)
            ids = (study.study_id, series_id, instance)
            path = series_folder / f"{instance}.dcm"
            write_slice(path, pixels, written, plan, study.tags, ids, transfer_syntax)


def _moved(plane: Plane, shift: np.ndarray) -> Plane:
    """Return the plane in the scanner's frame."""
    return Plane(plane.position + shift, plane.along_row, plane.along_column, plane.spacing, plane.shape)


def study_truth(study: PhantomStudy) -> dict:
    """Return everything known about a study, as ``truth.json`` holds it."""
    best = weighted_answer(posterior(study.grades.narrowing))
    sites = {}
    for site, grade, missing, narrowing, point, label, answer in zip(
        SITES,
        study.grades.grade,
        study.grades.missing,
        study.grades.narrowing,
        study.points + study.shift,
        study.points_on_slices,
        best,
        strict=True,
    ):
        sites[site.name] = {
            "grade": int(grade),
            "labelled": not bool(missing),
            "narrowing": round(float(narrowing), 5),
            "point_mm": [round(float(c), 3) for c in point],
            "on_slice": None if label is None else vars(label),
            "best_possible": [round(float(p), 6) for p in answer],
        }
    return {
        "transitional": study.anatomy.transitional,
        "series": {str(series_id): plan.description for series_id, plan in study.series.items()},
        "sites": sites,
    }
