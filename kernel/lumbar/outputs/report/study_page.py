"""One study's page: warnings, films, probabilities, series, and a card per site."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from lumbar.grading.ensemble import site_windows
from lumbar.grading.graded_study import PRIOR, ZERO_CROPS
from lumbar.grading.patient_points import Places
from lumbar.grading.study_record import SOME_PRIOR
from lumbar.outputs.report import members
from lumbar.outputs.report.bundle_figures import bundle_figures
from lumbar.outputs.report.display_text import count
from lumbar.outputs.report.document import render
from lumbar.outputs.report.downloads import PLACE
from lumbar.outputs.report.key_slices import Film, choose_key_slices, draw_film, study_places
from lumbar.outputs.report.level_sentences import LevelSentence, level_sentences
from lumbar.outputs.report.level_sources import level_sources
from lumbar.outputs.report.pictures import crop_pictures
from lumbar.outputs.report.result import Result
from lumbar.outputs.report.site_cards import site_cards
from lumbar.outputs.report.slice_strips import Strips
from lumbar.outputs.report.slice_views import slice_views
from lumbar.outputs.report.warnings import doubts_by_reason, fallbacks, fault_groups, flag_groups
from lumbar.reading.study import Study
from lumbar.sites import DESCRIPTIONS, SITES, Site

LIMIT = 2_000_000  # bytes of a page
TAGS = 300  # bytes of the tags around a crop
SLICE_SCRIPTS = ("slice_geometry.js", "slice_view.js", "slice_pointer.js", "slice_control.js")
MOST_APART = 6  # sites in the list of disagreement
STATUS_WORDS = {
    PRIOR: "Fallback: the prior",
    SOME_PRIOR: "Fallback: the prior at some sites",
    ZERO_CROPS: "Fallback: empty crops",
    "warning": "Warnings",
    "doubt": "Doubtful sites",
    "fine": "No warning",
}


class Neighbour(NamedTuple):
    """The study before or after another in the run, and the file of its page in the same folder."""

    study_id: str
    page: str


def study_page(
    study: Study | None,
    result: Result,
    about: dict,
    neighbours: tuple[Neighbour | None, Neighbour | None] = (None, None),
    strips: Strips | None = None,
    downloads: Sequence[Sequence[str]] = (),
) -> str:
    """Return the page of a study, at most LIMIT bytes: crops of the last detectors are left out for that.

    Args:
        study: None where its pictures are no longer at hand, in a run that was resumed.
        result: The study's outcome.
        about: Facts of the run, as in run.json.
        neighbours: The studies before and after it.
        strips: Its slices to scroll; None leaves them out.
        downloads: Words and address of each file beside the page.
    """
    places = study_places(study, result) if study else {}
    views = slice_views(study, result, places, strips) if study and strips else None
    films = draw_films(study, places)
    assembled = partial(assemble, study, result, about, neighbours, films, places, views, downloads)
    crops: dict[str, list[str]] = {}
    size = len(assembled(crops).encode())
    volumes = study.volumes if study else {}
    for detector in places:
        pictures = crop_pictures(site_windows(result.detections[detector], volumes, about["crop_rule"]))
        size += sum(map(len, pictures)) + TAGS * len(pictures)
        if size > LIMIT:
            break
        crops[detector] = pictures
    return assembled(crops)


def assemble(
    study: Study | None,
    result: Result,
    about: dict,
    neighbours: tuple[Neighbour | None, Neighbour | None],
    films: list[Film],
    places: dict[str, dict[str, Places]],
    views: dict | None,
    downloads: Sequence[Sequence[str]],
    crops: dict[str, list[str]],
) -> str:
    """Return the whole page with the crops given."""
    graded, marked = result.probabilities is not None, result.marked_sites
    calibrated_on = result.calibrated_on(about)
    return render(
        "study.html",
        ("study.js", *(SLICE_SCRIPTS if views else ())),
        about=about,
        result=result,
        graded=graded,
        study_read=study is not None,
        status_words=STATUS_WORDS[result.status],
        facts=study_facts(study, result),
        neighbours=neighbours,
        sentences=sentences_of(study, result, places, about),
        marked=marked,
        flags=flag_groups(result),
        doubts=doubts_by_reason(result),
        fallbacks=fallbacks(result),
        fault_groups=fault_groups(result),
        views=views,
        downloads=downloads,
        structured_report_place=Markup(PLACE),
        figures=bundle_figures(str(about.get("trained_on", "")), about.get("figures", ())),
        calibrated_on=calibrated_on,
        films=films,
        detectors=list(places),
        probabilities=result.probabilities if graded else prior(about),
        most_apart=most_apart(result),
        series=series_of(result.study_id, about),
        cards=site_cards(result, places, crops, calibrated_on is not None) if graded or places else [],
        left_out=[name for name in places if name not in crops],
        plot=members,
    )


def sentences_of(
    study: Study | None, result: Result, places: dict[str, dict[str, Places]], about: dict
) -> list[LevelSentence]:
    """Return the levels of a graded study in words, with the slices that they were read from."""
    if result.probabilities is None:
        return []
    return level_sentences(result.probabilities, result.marked_sites, level_sources(study, places, about))


def prior(about: dict) -> np.ndarray | None:
    """Return the prior (25, 3) that is submitted for a study without grades, if the run has it."""
    rows = about.get("prior")
    return None if rows is None else np.asarray(rows)


def study_facts(study: Study | None, result: Result) -> list[tuple[str, str]]:
    """Return the study's slices, the members and the seconds; an empty text is not shown."""
    volumes = study.volumes if study else {}
    slices = [
        f"{d}: {count(len(volumes[d]), 'slice')}" if d in volumes else f"{d}: none"
        for d in (DESCRIPTIONS if study else ())
    ]
    detectors = dict.fromkeys([*result.detections, *(detector for detector, _ in result.members)])
    classifiers = dict.fromkeys(classifier for _, classifier in result.members)
    return [
        ("Read", " · ".join(slices)),
        ("Detectors", ", ".join(detectors)),
        ("Classifiers", ", ".join(classifiers)),
        ("Time", " · ".join(f"{stage} {seconds:.1f} s" for stage, seconds in result.seconds.items())),
    ]


def draw_films(study: Study | None, places: dict[str, dict[str, Places]]) -> list[Film]:
    """Return the key slices of a study; none if nothing of it could be read."""
    if study is None:
        return []
    return [
        draw_film(key, study.volumes[key.description], places) for key in choose_key_slices(study, places)
    ]


def most_apart(result: Result) -> list[tuple[Site, float]]:
    """Return the sites at which the members differ most, and by how much."""
    if result.disagreement is None:
        return []
    order = np.argsort(-result.disagreement, kind="stable")[:MOST_APART]
    return [(SITES[index], float(result.disagreement[index])) for index in order]


def series_of(study_id: str, about: dict) -> list[dict]:
    """Return the inferred type of each series of a study, used ones first, in the order of the films.

    Args:
        study_id: The study.
        about: As in run.json. ``series`` holds the decisions of a folder's scan; a folder with tables has none.
    """
    decisions = [told for told in about.get("series", ()) if told["study_id"] == study_id]
    return sorted(decisions, key=place_in_table)


def place_in_table(told: dict) -> int:
    """Return a series' place in the table: the order of the films, then the ones left out."""
    return DESCRIPTIONS.index(told["description"]) if told["description"] else len(DESCRIPTIONS)
