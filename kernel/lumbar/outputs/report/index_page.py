"""The index: every study in one table, fallbacks and warnings first."""

from lumbar.outputs.report.display_text import capitalised, count, escape, percent
from lumbar.outputs.report.document import document, facts_html, notice_html
from lumbar.outputs.report.grid import thumbnail_svg
from lumbar.outputs.report.result import STATUSES
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SAGITTAL_T1, SAGITTAL_T2, SITES, site_words

COLUMNS = (  # title, class, what its cells are sorted by first
    ("Study", "", "ascending"),
    ("Status", "", "ascending"),
    ("Sites", "", "descending"),
    ("Worst site", "", "descending"),
    ("Severe, %", "number", "descending"),
    ("Members apart, %", "number wide", "descending"),
    ("Slices", "wide", "ascending"),
    ("Seconds", "number wide", "descending"),
)
STATUS_SHORT = {"prior": "prior", "zero crops": "empty crops", "warning": "warning", "fine": "no warning"}
ABBREVIATIONS = {SAGITTAL_T2: "T2", SAGITTAL_T1: "T1", AXIAL_T2: "Ax"}
FILTERS = (("all", "All"), ("fallback", "Fallbacks"), ("warning", "Warnings"), ("fine", "No warning"))


def index_page(entries: list[dict], about: dict, summary: dict | None) -> str:
    """Return the index of the studies. entries: of ``Result.entry``; summary: run.json, None while it runs."""
    entries = sorted(entries, key=lambda e: (STATUSES.index(e["status"]), -len(e["reasons"]), e["study_id"]))
    heads = "".join(
        f'<th scope="col" class="{classes}" aria-sort="none" data-first="{first}">'
        f'<button type="button">{title}</button></th>'
        for title, classes, first in COLUMNS
    )
    rows = "\n".join(row_html(entry) for entry in entries)
    body = f"""<header>
<h1>Lumbar spine: what the kernel saw</h1>
{notice_html(about)}
<p class="progress">{progress_words(entries, summary, about)}</p>
<details><summary>About this run</summary>{facts_html(run_facts(about))}</details>
</header>
<main>
<div class="bar" role="search">
<label for="search">Search</label>
<input type="search" id="search" placeholder="study, site, reason" aria-keyshortcuts="/"
 autocomplete="off" spellcheck="false">
{filters_html(entries)}
<p id="shown" role="status">{count(len(entries), "study", "studies")}</p>
</div>
<div class="scroll">
<table id="studies">
<caption class="hidden">Studies; fallbacks and warnings first. The buttons in the head sort.</caption>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
<p class="lead">Sites: five levels downwards; canal, right and left foramen, right and left subarticular across;
the deeper the colour, the worse.
<span class="keys">Keys: <kbd>/</kbd> search, <kbd>↓</kbd> <kbd>↑</kbd> from study to study,
<kbd>Enter</kbd> opens.</span></p>
</main>"""
    return document("Lumbar spine: what the kernel saw", body, "index.js")


def progress_words(entries: list[dict], summary: dict | None, about: dict) -> str:
    """Return how far the run is, in a sentence."""
    studies = count(len(entries), "study", "studies")
    if summary is None:
        return f"<b>The run goes on:</b> {studies} so far. Load the page again for more."
    seconds = summary["seconds"]["total"]
    words = f"<b>{studies}</b> in {seconds:.0f} s"
    if entries:
        words += f", {seconds / len(entries):.1f} s each"
    if "device" in about:
        words += f", on {escape(str(about['device']))}"
    if summary.get("fewer_members"):
        words += f"; {len(summary['fewer_members'])} graded with fewer members, as time ran short"
    return words + "."


def run_facts(about: dict) -> list[tuple[str, str]]:
    facts = [
        ("Weights", str(about.get("bundle", ""))),
        ("Trained on", str(about.get("trained_on", ""))),
        ("SHA-256", str(about.get("bundle_sha256", ""))[:16]),
        ("Detectors", ", ".join(about.get("detectors", ()))),
        ("Classifiers", ", ".join(about.get("classifiers", ()))),
        ("Device", ", ".join(str(about[key]) for key in ("device", "precision") if key in about)),
        ("Data", str(about.get("data", ""))),
    ]
    return [*facts, ("Versions", ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items()))]


def filters_html(entries: list[dict]) -> str:
    """Return the choice of which studies to list, each with its number."""
    numbers = dict.fromkeys((key for key, _ in FILTERS), 0)
    for entry in entries:
        numbers["all"] += 1
        numbers[status_kind(entry["status"])] += 1
    choices = "".join(
        f'<label><input type="radio" name="kind" value="{key}"{" checked" if key == "all" else ""}>'
        f"<span>{words} <b>{numbers[key]}</b></span></label>"
        for key, words in FILTERS
    )
    return f'<fieldset class="filters"><legend class="hidden">Which studies</legend>{choices}</fieldset>'


def status_kind(status: str) -> str:
    return "fallback" if status in ("prior", "zero crops") else status


def row_html(entry: dict) -> str:
    """Return a study's row."""
    status, study = entry["status"], escape(entry["study_id"])
    said = [
        *(f"no {d}" for d in entry["missing"]),
        *(reason.replace("_", " ") for reason in entry["reasons"]),
    ]
    rank = f"{STATUSES.index(status)}{1000 - min(999, len(entry['reasons']))}"
    mark = f'<span class="status {status.replace(" ", "-")}">{STATUS_SHORT[status]}</span>'
    apart = entry["disagreement"]
    slices = " · ".join(
        f"{ABBREVIATIONS[d]} {entry['slices'][d]}" for d in DESCRIPTIONS if d in entry["slices"]
    )
    cells = [
        cell(rank, f"{mark} <small>{escape(', '.join(said))}</small>"),
        *site_cells(entry),
        cell(-1 if apart is None else apart, "" if apart is None else percent(apart), "number wide"),
        cell(sum(entry["slices"].values()), slices, "wide"),
        cell(entry["seconds"], f"{entry['seconds']:.1f}", "number wide"),
    ]
    return (
        f'<tr data-kind="{status_kind(status)}"><th scope="row" data-value="{study}">'
        f'<a href="{escape(entry["page"])}">{study}</a></th>{"".join(cells)}</tr>'
    )


def site_cells(entry: dict) -> list[str]:
    """Return the cells of the sites: all in small, the worst one, and how probably it is severe."""
    worst = entry["worst"]
    if worst is None:
        return [cell(-1, ""), cell(-1, "not graded"), cell(-1, "", "number")]
    severe = entry["worst_probabilities"][2]
    chip = f'<span class="s h{round(10 * severe)} chip">{percent(severe)}</span>'
    return [
        cell(f"{sum(entry['badness']):.3f}", thumbnail_svg(entry["badness"])),
        cell(f"{entry['badness'][worst]:.4f}", capitalised(site_words(SITES[worst]))),
        cell(f"{severe:.4f}", chip, "number"),
    ]


def cell(value: float | str, content: str, classes: str = "") -> str:
    """Return a table cell; it is sorted by its value. content: HTML."""
    attribute = f' class="{classes}"' if classes else ""
    return f'<td{attribute} data-value="{value}">{content}</td>'
