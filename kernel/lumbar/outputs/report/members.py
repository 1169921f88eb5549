"""The members' probabilities of a site: a plot with a dot per member, and the numbers."""

from dataclasses import dataclass

import numpy as np

from lumbar.outputs.report.display_text import is_ungraded, percent
from lumbar.outputs.report.key_slices import SHAPES
from lumbar.outputs.report.result import Result
from lumbar.sites import SEVERITY_LABELS, Site

WIDTH, LEFT, STEP = 240, 52, 18  # pixels of the plot: its width, where its lines begin, from line to line
HEIGHT = STEP * len(SEVERITY_LABELS) + 4
SPAN = WIDTH - LEFT - 10  # of a line, 0 to 100 %
TABLE_MEMBERS = 40  # with more members a table per site would be long and large


@dataclass(frozen=True)
class Line:
    """One severity's line of the plot, as SVG paths.

    Attributes:
        y: Of the text's foot.
        axis: The line from 0 to 100%.
        dots: Of each detector, the number of its colour and a dot per member.
        mean: A tick at the ensemble's probability.
    """

    y: str
    axis: str
    dots: tuple[tuple[int, str], ...]
    mean: str


@dataclass(frozen=True)
class SiteMembers:
    """The members of a site: the plot, and for few members a row of probabilities each."""

    lines: tuple[Line, ...]
    ranges: str
    apart: float
    number: int
    rows: tuple[tuple[str, np.ndarray], ...]


def site_members(site: Site, result: Result) -> SiteMembers | None:
    """Return the members' probabilities of a site; None without two members that graded it."""
    rows = {member: probabilities[site.index] for member, probabilities in result.members.items()}
    graded = {member: row for member, row in rows.items() if not is_ungraded(row)}
    if len(graded) < 2 or result.probabilities is None or result.disagreement is None:
        return None
    shares = np.stack(list(graded.values()))  # (member, severity)
    ends = zip(SEVERITY_LABELS, shares.min(axis=0), shares.max(axis=0), strict=True)
    names = [f"{detector} · {classifier}" for detector, classifier in graded]
    detectors = [detector for detector, _ in graded]
    mean = result.probabilities[site.index]
    return SiteMembers(
        lines=tuple(
            plot_line(severity, shares[:, severity], detectors, mean[severity])
            for severity in range(len(SEVERITY_LABELS))
        ),
        ranges="; ".join(f"{label} {percent(low)} to {percent(high)} %" for label, low, high in ends),
        apart=float(result.disagreement[site.index]),
        number=len(names),
        rows=tuple(zip(names, shares, strict=True)) if len(names) <= TABLE_MEMBERS else (),
    )


def plot_line(severity: int, shares: np.ndarray, names: list[str], mean: float) -> Line:
    """Return one severity's line.

    Args:
        shares: The members' probabilities of the severity.
        names: The members' detectors.
        mean: The ensemble's probability.
    """
    y = STEP * (severity + 0.6)
    # A line of no length with round ends is a dot: one short path holds all of a detector's.
    dots = tuple(
        (
            number % len(SHAPES),
            "".join(
                f"M{LEFT + SPAN * p:.1f} {y:.1f}h0"
                for p, name in zip(shares, names, strict=True)
                if name == detector
            ),
        )
        for number, detector in enumerate(dict.fromkeys(names))
    )
    tick = LEFT + SPAN * mean
    return Line(f"{y + 4:.0f}", f"M{LEFT} {y:.1f}h{SPAN}", dots, f"M{tick:.1f} {y - 7:.1f}v14")
