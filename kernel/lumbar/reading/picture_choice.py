"""Several stacks of one description -> those that are read: the lumbar station, and one picture of each place.

The competition's studies have one series of a place. Stacks beside one another are joined as the competition's
are: blocks of one disc each, halves of an interrupted acquisition, a straight stack and an oblique one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lumbar.reading.candidate import Candidate, left_out
from lumbar.reading.lumbar_station import lumbar_station, whole_spines_apart
from lumbar.reading.picture_kind import USABLE
from lumbar.reading.series_facts import is_secondary
from lumbar.reading.stack import Stack
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2

USUAL_ECHO = {SAGITTAL_T1: 10.0, SAGITTAL_T2: 100.0, AXIAL_T2: 100.0}  # ms, of spin echo at 1.5 and 3 T
ECHO_STEP = 25.0  # ms: a smaller difference decides nothing
COMPLETE_COUNT, COMPLETE_DEPTH = 0.6, 0.8  # of the largest stack's slices and depth: below it was broken off
SAME_ANGLE = 15.0  # degrees between slices that show one place
SLAB = (1.25, 1.7)  # of the slice thickness: the most that a slice stands for, with its gap
THICKNESS = (1.0, 6.0)  # mm, limits for slices without SliceThickness, which take their distance
SAME_SHARE = 0.5  # of a stack's slices that another one shows as well


def choose(candidates: list[Candidate]) -> list[Candidate]:
    """Leave out what shows another part of the spine, a worse picture of a place, or a place again.

    A stack that ``--series`` names stays whatever else there is.

    Args:
        candidates: All stacks of a study.

    Returns:
        The same stacks in the same order; the kind of each that is left out has a reason and no description.
        A stack of which a part is left out has fewer pictures.
    """
    candidates = [*whole_spines_apart(candidates)]
    candidates = [*lumbar_station(candidates)]
    candidates = [*first_choices(candidates)]
    return one_of_a_place(candidates)


def first_choices(candidates: list[Candidate]) -> Iterator[Candidate]:
    """Leave out a second choice (STIR, fat-suppressed, with contrast agent) where there is a plain series."""
    plain = {c.kind.description for c in candidates if not c.kind.second_choice}
    for candidate in candidates:
        if candidate.kind.second_choice and candidate.kind.description in plain and not candidate.named:
            why = f"the study has {candidate.kind.description} that is plain"
            yield left_out(candidate, "second_choice", why)
        else:
            yield candidate


def one_of_a_place(candidates: list[Candidate]) -> list[Candidate]:
    """Keep the best of all stacks of a description that show one place."""
    result = {c.stack_id: c for c in candidates}
    for description in USUAL_ECHO:
        rivals = [c for c in candidates if c.kind.description == description]
        kept: list[Candidate] = []
        for candidate in sorted(rivals, key=order_of(rivals)):
            better = next((c for c in kept if is_rival(candidate, c)), None)
            if better is None:
                kept.append(candidate)
            else:
                why = f"series {better.stack_id} shows the same place, {preference(better, candidate)}"
                result[candidate.stack_id] = left_out(candidate, "repeated", why)
    return list(result.values())


def is_rival(one: Candidate, other: Candidate) -> bool:
    """Return whether two stacks show one place; two series named by ``--series`` are both wanted."""
    if one.named and other.named and one.stack.series != other.stack.series:
        return False
    return max(shown_share(one.stack, other.stack), shown_share(other.stack, one.stack)) >= SAME_SHARE


def order_of(rivals: list[Candidate]):
    """Return the sorting key of one description's stacks, the best first."""
    most = max((len(c.stack.pictures) for c in rivals), default=0)
    deepest = max((c.stack.depth for c in rivals if c.stack.placed), default=0.0)
    times = all(p.when for c in rivals for p in c.stack.pictures)

    def key(candidate: Candidate) -> tuple:
        stack, facts = candidate.stack, candidate.stack.facts
        whole = len(stack.pictures) >= COMPLETE_COUNT * most
        whole = whole and (not stack.placed or stack.depth >= COMPLETE_DEPTH * deepest)
        echo = off_usual_echo(candidate)
        latest = max((p.when for p in stack.pictures), default="") if times else ""
        last = max(p.instance for p in stack.pictures)
        return (
            not candidate.named,
            USABLE.index(facts.picture) if facts.picture in USABLE else len(USABLE),
            is_secondary(facts.image_type),
            round(echo / ECHO_STEP),
            not whole,
            Reversed((latest, stack.pictures[0].number, last)),
        )

    return key


@dataclass(frozen=True)
class Reversed:
    """A value that sorts the other way round."""

    value: tuple

    def __lt__(self, other: "Reversed") -> bool:
        return other.value < self.value


def off_usual_echo(candidate: Candidate) -> float:
    """Return by how many ms the echo time differs from the usual one of the description; 0 if it is unknown."""
    usual = USUAL_ECHO[candidate.kind.description or ""]
    return abs((candidate.stack.facts.echo or usual) - usual)


def preference(better: Candidate, worse: Candidate) -> str:
    """Return why one of two stacks of a place is read, in words."""
    a, b = better.stack, worse.stack
    if better.named and not worse.named:
        return "and --series names it"
    if a.facts.picture != b.facts.picture:
        return f"its picture is {a.facts.picture}, this one's {b.facts.picture}"
    if is_secondary(b.facts.image_type) and not is_secondary(a.facts.image_type):
        return "and is original"
    if off_usual_echo(better) + ECHO_STEP / 2 < off_usual_echo(worse):
        return f"its echo time is {a.facts.echo or 0:g} ms, this one's {b.facts.echo or 0:g} ms"
    if len(b.pictures) < len(a.pictures):
        return f"and has {len(a.pictures)} slices, this one {len(b.pictures)}"
    return "and was acquired later"


def shown_share(stack: Stack, other: Stack) -> float:
    """Return the share of a stack's slices with a middle that another stack shows in a slice about parallel to it."""
    if not stack.placed or not other.placed:
        return 0.0
    distance = min(max(other.step, THICKNESS[0]), THICKNESS[1])
    reach = np.array([slab(p.thickness, distance) / 2 for p in other.pictures])
    offsets = np.einsum("jkx,ijx->ijk", other.directions, stack.centres[:, None] - other.centres[None])
    inside = (np.abs(offsets[..., :2]) < other.sizes / 2).all(axis=-1) & (np.abs(offsets[..., 2]) <= reach)
    parallel = np.abs(stack.directions[:, 2] @ other.directions[:, 2].T) > np.cos(np.radians(SAME_ANGLE))
    return float((inside & parallel).any(axis=1).mean())


def slab(thickness: float | None, distance: float) -> float:
    """Return how many mm along its normal a slice stands for, half of the gaps to its neighbours with it.

    Slices twice as far apart as they are thick have room for others between them, those of another series.
    """
    if not thickness or thickness <= 0:
        return 0.96 * distance
    return float(np.clip(distance, SLAB[0] * thickness, SLAB[1] * thickness))
