"""What each member said of a site: a dot each, and the numbers."""

from dataclasses import dataclass

import numpy as np

from lumbar.outputs.report.display_text import is_ungraded, percent
from lumbar.outputs.report.key_slices import SHAPES
from lumbar.outputs.report.result import Result
from lumbar.sites import SEVERITY_LABELS, Site

WIDTH, LEFT, STEP = 240, 52, 18  # pixels of the plot: its width, where its lines begin, from line to line
HEIGHT = STEP * len(SEVERITY_LABELS) + 4
SPAN = WIDTH - LEFT - 10  # of a line, 0 to 100 %
TABLE_MEMBERS = 40  # above that many a table a site is neither read nor small


@dataclass(frozen=True)
class Line:
    """One severity's line of the plot, as SVG paths.

    y: of the text's foot. dots: of each detector, its colour's number and a dot a member.
    mean: a tick where the ensemble stands.
    """

    y: str
    axis: str
    dots: tuple[tuple[int, str], ...]
    mean: str


@dataclass(frozen=True)
class SiteMembers:
    """What the members said of a site: the plot, and for few members a row of probabilities each."""

    lines: tuple[Line, ...]
    ranges: str
    apart: float
    number: int
    rows: tuple[tuple[str, np.ndarray], ...]


def site_members(site: Site, result: Result) -> SiteMembers | None:
    """Return what the members said of a site; None without two members that graded it."""
    rows = {member: probabilities[site.index] for member, probabilities in result.members.items()}
    graded = {member: row for member, row in rows.items() if not is_ungraded(row)}
    if len(graded) < 2:
        return None
    said = np.stack(list(graded.values()))  # (member, severity)
    ends = zip(SEVERITY_LABELS, said.min(axis=0), said.max(axis=0), strict=True)
    names = [f"{detector} · {classifier}" for detector, classifier in graded]
    detectors = [detector for detector, _ in graded]
    mean = result.probabilities[site.index]
    return SiteMembers(
        lines=tuple(
            plot_line(severity, said[:, severity], detectors, mean[severity])
            for severity in range(len(SEVERITY_LABELS))
        ),
        ranges="; ".join(f"{label} {percent(low)} to {percent(high)} %" for label, low, high in ends),
        apart=float(result.disagreement[site.index]),
        number=len(names),
        rows=tuple(zip(names, said, strict=True)) if len(names) <= TABLE_MEMBERS else (),
    )


def plot_line(severity: int, said: np.ndarray, names: list[str], mean: float) -> Line:
    """Return one severity's line.

    Args:
        said: The members' probabilities of the severity.
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
                for p, name in zip(said, names, strict=True)
                if name == detector
            ),
        )
        for number, detector in enumerate(dict.fromkeys(names))
    )
    tick = LEFT + SPAN * mean
    return Line(f"{y + 4:.0f}", f"M{LEFT} {y:.1f}h{SPAN}", dots, f"M{tick:.1f} {y - 7:.1f}v14")
