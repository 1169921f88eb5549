"""Each site on its own: its probabilities, what stage 2 was shown of it, and what every member said."""

import numpy as np

from lumbar.grading.patient_points import Places
from lumbar.outputs.report.display_text import GROUP_ORDER, capitalised, escape, millimetres
from lumbar.outputs.report.grid import SHORT_LABELS, cells_html
from lumbar.outputs.report.members import members_html
from lumbar.outputs.report.result import Result
from lumbar.sites import DESCRIPTION_SITES, GROUP_WORDS, GROUPS, LEVEL_WORDS, LEVELS, SITES, Site, site_words


def cards_html(
    result: Result, places: dict[str, dict[str, Places]], strips: dict[str, list[str]], left_out: list[str]
) -> str:
    """Return a section a group of sites. strips: by detector, 25 pictures; left_out: detectors without."""
    sections = []
    for group in GROUP_ORDER:
        first = GROUPS.index(group) * len(LEVELS)
        cards = "".join(
            card_html(site, result, places, strips) for site in SITES[first : first + len(LEVELS)]
        )
        heading = capitalised(GROUP_WORDS[group])
        sections.append(f'<section aria-label="{heading}"><h3>{heading}</h3>{cards}</section>')
    note = ""
    if left_out:
        names = ", ".join(escape(name) for name in left_out)
        note = f"<p>Crops of {names} are left out, to keep this page small.</p>"
    return note + "".join(sections)


def card_html(
    site: Site, result: Result, places: dict[str, dict[str, Places]], strips: dict[str, list[str]]
) -> str:
    """Return one site's card."""
    numbers = "<p>Not graded.</p>"
    if result.probabilities is not None:
        heads = "".join(f'<th scope="col">{short}</th>' for short in SHORT_LABELS)
        numbers = (
            f'<table class="heat"><caption class="hidden">{capitalised(site_words(site))}, %</caption>'
            f"<thead><tr>{heads}</tr></thead><tbody><tr>{cells_html(result.probabilities[site.index])}</tr></tbody></table>"
        )
    crops = "".join(strip_html(site, name, seen, strips.get(name)) for name, seen in places.items())
    return (
        f'<article class="site" id="{site.name}" data-site="{site.name}" tabindex="-1">'
        f"<div><h4>{LEVEL_WORDS[site.level]}</h4>{numbers}</div>"
        f'<div class="crops">{crops or "<p>No crop.</p>"}</div>{members_html(site, result)}</article>'
    )


def strip_html(site: Site, detector: str, seen: dict[str, Places], strip: list[str] | None) -> str:
    """Return the five slices of a detector's crop and where its point lies."""
    if site.description not in seen:
        return f"<p>{escape(detector)}: no {escape(site.description)}, an empty crop.</p>"
    found, row = seen[site.description], site.index - DESCRIPTION_SITES[site.description].start
    place = f"slice {found.slices[row] + 1}"
    if not np.isnan(found.patient[row]).any():
        place += f" · {millimetres(found.patient[row])}"
    picture = ""
    if strip:
        alternative = f"{capitalised(site_words(site))}, crop of {detector}: five neighbouring slices"
        picture = f'<img src="{strip[site.index]}" width="320" height="64" alt="{escape(alternative)}">'
    return (
        f"<figure>{picture}<figcaption><b>{escape(detector)}</b> · heatmap {found.values[row]:.2f}"
        f"<span>{place}</span></figcaption></figure>"
    )
