"""One study's page: what was wrong, the films, the grid, the series, every site."""

import numpy as np

from lumbar.grading.patient_points import Places
from lumbar.outputs.report.display_text import capitalised, count, escape, percent
from lumbar.outputs.report.document import document, facts_html, notice_html
from lumbar.outputs.report.grid import grid_html
from lumbar.outputs.report.key_slices import choose_films, film_html, legend_html, study_places
from lumbar.outputs.report.pictures import crop_strips
from lumbar.outputs.report.result import Result
from lumbar.outputs.report.series_table import series_html
from lumbar.outputs.report.site_cards import cards_html
from lumbar.outputs.report.warnings import concerns_html
from lumbar.reading.study import Study
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SITES, site_words

LIMIT = 2_000_000  # bytes of a page
MOST_APART = 6  # sites in the list of disagreement
STATUS_WORDS = {
    "prior": "Fallback: the prior",
    "zero crops": "Fallback: empty crops",
    "warning": "Warnings",
    "fine": "No warning",
}


def study_page(study: Study | None, result: Result, about: dict) -> str:
    """Return the page of a study, at most LIMIT bytes: crops of the last detectors are left out for that.

    study: None where its pictures are no longer at hand (a run that was taken up again).
    """
    places = study_places(study, result) if study else {}
    films = films_html(study, places)
    strips: dict[str, list[str]] = {}
    size = len(assemble(study, result, about, films, places, strips).encode())
    for detector in places:
        pictures = crop_strips(result.detections[detector], about.get("crop_border", "shift"))
        size += sum(map(len, pictures)) + 300 * len(pictures)  # the tags around them
        if size > LIMIT:
            break
        strips[detector] = pictures
    return assemble(study, result, about, films, places, strips)


def assemble(
    study: Study | None,
    result: Result,
    about: dict,
    films: str,
    places: dict[str, dict[str, Places]],
    strips: dict[str, list[str]],
) -> str:
    """Return the whole page with the crops given."""
    body = f"""<header>
<nav><a href="../index.html">All studies</a></nav>
<h1>Study {escape(result.study_id)}</h1>
<p><span class="status {result.status.replace(" ", "-")}">{STATUS_WORDS[result.status]}</span></p>
{notice_html(about)}
{facts_html(study_facts(study, result))}
</header>
<main>
{concerns_html(result)}
{films}
{probabilities_html(result, about)}
{apart_html(result)}
{series_html(result.study_id, about)}
{sites_html(result, places, strips)}
</main>"""
    return document(f"Study {result.study_id}", body, "study.js")


def study_facts(study: Study | None, result: Result) -> list[tuple[str, str]]:
    slices = [
        f"{d}: {count(len(study.volumes[d]), 'slice')}" if d in study.volumes else f"{d}: none"
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


def films_html(study: Study | None, places: dict[str, dict[str, Places]]) -> str:
    """Return the key slices, sagittal ones above axial ones."""
    if study is None or not study.volumes:
        why = (
            "no series could be read"
            if study
            else "graded before this run was taken up again; they are not kept"
        )
        return (
            f'<section aria-labelledby="films"><h2 id="films">Films</h2><p>No pictures: {why}.</p></section>'
        )
    films = choose_films(study, places)
    rows = ([f for f in films if f.description != AXIAL_T2], [f for f in films if f.description == AXIAL_T2])
    panels = "".join(
        f'<div class="films">{"".join(film_html(f, study.volumes[f.description], places) for f in row)}</div>'
        for row in rows
        if row
    )
    toggle = '<button type="button" id="toggle" aria-pressed="true" aria-keyshortcuts="p">Points <kbd>P</kbd></button>'
    return (
        '<section aria-labelledby="films"><h2 id="films">Films</h2>'
        f'<div class="bar">{legend_html(list(places))}{toggle}</div>{panels}'
        '<p class="lead">The slice that holds most of the points. Dashed: the point lies on another one, as many slices'
        " up or down the stack as the number says. Letters at the edges: the patient’s right, left, anterior,"
        " posterior, feet.</p></section>"
    )


def probabilities_html(result: Result, about: dict) -> str:
    """Return the submitted grid: the ensemble's, or the prior's."""
    rows = result.probabilities if result.probabilities is not None else about.get("prior")
    if rows is None:
        return ""
    graded = result.probabilities is not None
    told = "Probabilities" if graded else "The prior, as submitted"
    return (
        f'<section aria-labelledby="grid"><h2 id="grid">{told}</h2>{grid_html(np.asarray(rows), linked=graded)}'
        '<p class="lead">In percent. Framed: the most probable. Made for a metric that counts Moderate twice and'
        " Severe four times: the numbers lean that way and are no frequencies. Columns stand as on the films,"
        " the patient’s right first.</p></section>"
    )


def apart_html(result: Result) -> str:
    """Return the sites at which the members differ most."""
    if result.disagreement is None:
        return ""
    sites = np.argsort(-result.disagreement, kind="stable")[:MOST_APART]
    items = "".join(
        f'<li><a href="#{SITES[s].name}">{capitalised(site_words(SITES[s]))}</a>'
        f" <b>{percent(float(result.disagreement[s]))}</b></li>"
        for s in sites
    )
    return (
        '<section aria-labelledby="apart"><h2 id="apart">Where the members disagree most</h2>'
        f'<ol class="apart">{items}</ol><p class="lead">Points of percent between the lowest and the highest of '
        f"{count(len(result.members), 'member')}, at the severity where they differ most.</p></section>"
    )


def sites_html(result: Result, places: dict[str, dict[str, Places]], strips: dict) -> str:
    """Return a card a site, if there is anything to say of it."""
    if result.probabilities is None and not places:
        return ""
    left_out = [name for name in places if name not in strips]
    return (
        '<section aria-labelledby="sites"><h2 id="sites">Sites</h2>'
        '<p class="lead">What stage 2 was shown: five neighbouring slices around each detector’s point, and what'
        f" each member made of them: a dot a member, one shade a detector, a tick where the ensemble"
        f" stands.</p>{cards_html(result, places, strips, left_out)}</section>"
    )
