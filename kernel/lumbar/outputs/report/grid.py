"""The 25 x 3 probabilities as a heat map that is also a table of numbers."""

import numpy as np

from lumbar.outputs.report.display_text import GROUP_ORDER, capitalised, percent
from lumbar.sites import GROUP_WORDS, GROUPS, LEVEL_WORDS, LEVELS, SEVERITY_LABELS, SITES, site_words

SHORT_LABELS = ("Normal", "Mod.", "Severe")
TINTS = "nms"  # classes of style.css: normal/mild, moderate, severe


def grid_html(probabilities: np.ndarray, linked: bool = True) -> str:
    """Return five tables, one a group of sites, (25, 3) in all. linked: levels lead to the site's card."""
    return f'<div class="grid">{"".join(group_table(g, probabilities, linked) for g in GROUP_ORDER)}</div>'


def group_table(group: str, probabilities: np.ndarray, linked: bool) -> str:
    heads = "".join(
        f'<th scope="col"><abbr title="{label}">{short}</abbr></th>'
        for label, short in zip(SEVERITY_LABELS, SHORT_LABELS, strict=True)
    )
    first = GROUPS.index(group) * len(LEVELS)
    rows = "".join(
        f'<tr data-site="{site.name}"><th scope="row">{level_link(site, linked)}</th>'
        f"{cells_html(probabilities[site.index])}</tr>"
        for site in SITES[first : first + len(LEVELS)]
    )
    return (
        f'<table class="heat"><caption>{capitalised(GROUP_WORDS[group])}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def level_link(site, linked: bool) -> str:
    words = LEVEL_WORDS[site.level]
    return (
        f'<a href="#{site.name}" aria-label="{capitalised(site_words(site))}">{words}</a>'
        if linked
        else words
    )


def cells_html(row: np.ndarray) -> str:
    """Return three table cells, tinted by severity and shaded by probability, the largest one framed."""
    top = int(np.argmax(row))
    return "".join(
        f'<td class="{TINTS[k]} h{round(10 * float(p))}{" top" if k == top else ""}">{percent(float(p))}</td>'
        for k, p in enumerate(row)
    )


def thumbnail_svg(badness: list[float]) -> str:
    """Return the 25 sites as a 5 x 5 picture: levels downwards, groups as in the grid, darker is worse."""
    cells = "".join(
        f'<rect class="s h{round(10 * badness[GROUPS.index(group) * len(LEVELS) + level])}"'
        f' x="{10 * column}" y="{8 * level}" width="9" height="7"/>'
        for column, group in enumerate(GROUP_ORDER)
        for level in range(len(LEVELS))
    )
    return (
        f'<svg class="thumbnail" viewBox="0 0 49 39" width="49" height="39" aria-hidden="true">{cells}</svg>'
    )
