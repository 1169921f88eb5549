"""What each member said of a site: a dot each, and the numbers."""

import numpy as np

from lumbar.outputs.report.display_text import count, escape, percent
from lumbar.outputs.report.grid import SHORT_LABELS
from lumbar.outputs.report.key_slices import SHAPES
from lumbar.outputs.report.result import Result
from lumbar.sites import SEVERITY_LABELS, Site

WIDTH, LEFT, STEP = 240, 52, 18  # pixels of the plot: its width, where its lines begin, from line to line
SPAN = WIDTH - LEFT - 10  # of a line, 0 to 100 %
TABLE_MEMBERS = 40  # above that many a table a site is neither read nor small


def members_html(site: Site, result: Result) -> str:
    """Return the plot of what each member said of a site, and the numbers behind it."""
    if result.disagreement is None:
        return ""
    members = count(len(result.members), "member")
    told = f"{members}, up to {percent(result.disagreement[site.index])} points apart"
    if len(result.members) > TABLE_MEMBERS:
        return f'<div class="said">{members_plot(site, result)}<p>{told}</p></div>'
    rows = "".join(
        f'<tr><th scope="row">{escape(detector)} · {escape(classifier)}</th>'
        + "".join(f"<td>{percent(float(p))}</td>" for p in said[site.index])
        + "</tr>"
        for (detector, classifier), said in result.members.items()
    )
    heads = "".join(f'<th scope="col">{short}</th>' for short in ("Member", *SHORT_LABELS))
    return (
        f'<div class="said">{members_plot(site, result)}<details><summary>{told}</summary>'
        f'<table class="members"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></details></div>'
    )


def members_plot(site: Site, result: Result) -> str:
    """Return a line 0..100 % a severity: a dot a member, a tick where the ensemble stands."""
    said = np.stack([rows[site.index] for rows in result.members.values()])  # (member, severity)
    names = [detector for detector, _ in result.members]
    parts, ranges = [], []
    for severity, label in enumerate(SEVERITY_LABELS):
        y = STEP * (severity + 0.6)
        parts.append(f'<text x="0" y="{y + 4:.0f}">{SHORT_LABELS[severity]}</text>')
        parts.append(f'<path class="axis" d="M{LEFT} {y:.1f}h{SPAN}"/>')
        for number, detector in enumerate(dict.fromkeys(names)):
            # A line of no length with round ends is a dot: one short path holds all of a detector's.
            dots = "".join(
                f"M{LEFT + SPAN * p:.1f} {y:.1f}h0"
                for p, name in zip(said[:, severity], names, strict=True)
                if name == detector
            )
            parts.append(f'<path class="dots d{number % len(SHAPES)}" d="{dots}"/>')
        mean = LEFT + SPAN * result.probabilities[site.index, severity]
        parts.append(f'<path class="mean" d="M{mean:.1f} {y - 7:.1f}v14"/>')
        column = said[:, severity]
        ranges.append(f"{label} {percent(column.min())} to {percent(column.max())} %")
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {STEP * len(SEVERITY_LABELS) + 4}" role="img"'
        f' aria-label="Members: {"; ".join(ranges)}">{"".join(parts)}</svg>'
    )
