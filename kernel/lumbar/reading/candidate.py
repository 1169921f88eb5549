"""A stack of a study and its inferred description, until it is read or left out."""

from dataclasses import dataclass, replace

from lumbar.reading.series_kind import SeriesKind
from lumbar.reading.stack import Stack


@dataclass
class Candidate:
    """A stack and its inferred description.

    Attributes:
        named: ``--series`` names it.
        doubt: Why it needs a check although it is read, "" where there is no doubt.
    """

    stack_id: str
    stack: Stack
    kind: SeriesKind
    named: bool
    doubt: str = ""


def left_out(candidate: Candidate, reason: str, why: str) -> Candidate:
    """Return the candidate without its description."""
    return replace(candidate, kind=SeriesKind(None, reason, f"{candidate.kind.why}; {why}"))
