"""Several stacks of one description -> those that are read: the lumbar station, and one picture of each place.

The competition's studies have one series of a place. Stacks beside one another are joined as the competition's
are: blocks of one disc each, halves of an interrupted acquisition, a straight stack and an oblique one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lumbar.reading.picture_header import is_secondary
from lumbar.reading.picture_kind import USABLE
from lumbar.reading.series_kind import SeriesKind
from lumbar.reading.stack import Stack, stack_of
from lumbar.reading.stacks import STATION_SHIFT
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2

USUAL_ECHO = {SAGITTAL_T1: 10.0, SAGITTAL_T2: 100.0, AXIAL_T2: 100.0}  # ms, of spin echo at 1.5 and 3 T
ECHO_STEP = 25.0  # ms: a smaller difference decides nothing
COMPLETE_COUNT, COMPLETE_DEPTH = 0.6, 0.8  # of the largest stack's slices and depth: below it was broken off
SAME_ANGLE = 15.0  # degrees between slices that show one place
SLAB = (1.25, 1.7)  # of the slice thickness: the most that a slice stands for, with its gap
THICKNESS = (1.0, 6.0)  # mm, for slices that don't say it: their distance, within these
SAME_SHARE = 0.5  # of a stack's slices that another one shows as well
LARGEST_VIEW = 420.0  # mm, of a side; the competition's are up to 340
BEYOND = 15.0  # mm that an axial slice's centre may lie beyond what the sagittal series show


@dataclass
class Candidate:
    """A stack and what it is taken for.

    Attributes:
        named: ``--series`` says so.
        doubt: Why it is to be looked at although it is read, "" where there is no doubt.
    """

    stack_id: str
    stack: Stack
    kind: SeriesKind
    named: bool
    doubt: str = ""


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


def left_out(candidate: Candidate, reason: str, why: str) -> Candidate:
    """Return the candidate without its description."""
    return replace(candidate, kind=SeriesKind(None, reason, f"{candidate.kind.why}; {why}"))


def whole_spines_apart(candidates: list[Candidate]) -> Iterator[Candidate]:
    """Leave out series whose field of view is a whole spine's or a belly's where there is one of a lumbar spine."""
    views = {
        c.stack_id: float(c.stack.sizes.max()) for c in candidates if c.kind.description and c.stack.placed
    }
    usual = {c.kind.description for c in candidates if views.get(c.stack_id, np.inf) <= LARGEST_VIEW}
    for candidate in candidates:
        view = views.get(candidate.stack_id, 0.0)
        if view > LARGEST_VIEW and candidate.kind.description in usual and not candidate.named:
            yield left_out(candidate, "other_station", f"its field of view is {view:.0f} mm")
        else:
            yield candidate


def lumbar_station(candidates: list[Candidate]) -> Iterator[Candidate]:
    """Leave out sagittal stacks of other stations of the spine, and axial slices outside the station that stays."""
    sagittal = [c for c in candidates if c.kind.description in (SAGITTAL_T1, SAGITTAL_T2) and c.stack.placed]
    axial = [c for c in candidates if c.kind.description == AXIAL_T2 and c.stack.placed]
    stations = group_stations(sagittal)
    lumbar = max(stations, key=lambda station: station_rank(station, axial), default=[])
    kept = {c.stack_id for c in lumbar}
    others = {c.stack_id for station in stations for c in station} - kept
    heights = np.array([c.stack.heights for c in lumbar])
    for candidate in candidates:
        if candidate.stack_id in others and not candidate.named:
            middle = candidate.stack.centres[:, 2].mean() - heights.mean()
            why = f"its middle is {middle:+.0f} mm above that of the station that is read"
            yield left_out(candidate, "other_station", why)
        elif lumbar and candidate in axial and not candidate.named:
            yield within(candidate, heights[:, 0].min() - BEYOND, heights[:, 1].max() + BEYOND)
        else:
            yield candidate


def group_stations(sagittal: list[Candidate]) -> list[list[Candidate]]:
    """Group sagittal stacks whose middles are nearer than STATION_SHIFT of their field of view."""
    stations: list[list[Candidate]] = []
    last = np.inf
    for one in sorted(sagittal, key=lambda c: c.stack.centres[:, 2].mean()):
        middle = one.stack.centres[:, 2].mean()
        if middle - last < STATION_SHIFT * one.stack.sizes[:, 1].mean() and stations:
            stations[-1].append(one)
        else:
            stations.append([one])
        last = middle
    return stations


def station_rank(station: list[Candidate], axial: list[Candidate]) -> tuple:
    """Sort stations: named lumbar by text, with axial slices, with both weightings, the lowest one."""
    low = np.mean([c.stack.heights[0] for c in station])
    high = np.mean([c.stack.heights[1] for c in station])
    margin = (high - low) / 8  # stations overlap at their ends
    centres = [z for c in axial for z in c.stack.centres[:, 2]]
    crossed = sum(low + margin < z < high - margin for z in centres)
    named = any(c.named or c.kind.names_lumbar for c in station)
    weightings = len({c.kind.description for c in station})
    return named, crossed >= max(3, len(centres) / 4), weightings, -low


def within(candidate: Candidate, lowest: float, highest: float) -> Candidate:
    """Keep the axial slices whose centre is between two heights in mm."""
    inside = (candidate.stack.centres[:, 2] >= lowest) & (candidate.stack.centres[:, 2] <= highest)
    if inside.all():
        return candidate
    if not inside.any():
        return left_out(candidate, "other_station", "it lies outside of what the sagittal series show")
    pictures = [p for p, kept in zip(candidate.stack.pictures, inside, strict=True) if kept]
    why = f"{candidate.kind.why}; {(~inside).sum()} slices outside of what the sagittal series show are left out"
    return replace(
        candidate,
        stack=stack_of(candidate.stack.series, pictures),
        kind=replace(candidate.kind, why=why),
    )


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
    """Tell whether two stacks show one place; two series that ``--series`` names are both wanted."""
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
        echo = abs(
            (facts.echo or USUAL_ECHO[candidate.kind.description]) - USUAL_ECHO[candidate.kind.description]
        )
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


def preference(better: Candidate, worse: Candidate) -> str:
    """Say why one of two stacks of a place is read."""
    a, b = better.stack, worse.stack
    if better.named and not worse.named:
        return "and --series names it"
    if a.facts.picture != b.facts.picture:
        return f"its picture is {a.facts.picture}, this one's {b.facts.picture}"
    if is_secondary(b.facts.image_type) and not is_secondary(a.facts.image_type):
        return "and is original"
    usual = USUAL_ECHO[better.kind.description]
    if abs((a.facts.echo or usual) - usual) + ECHO_STEP / 2 < abs((b.facts.echo or usual) - usual):
        return f"its echo time is {a.facts.echo:g} ms, this one's {b.facts.echo:g} ms"
    if len(b.pictures) < len(a.pictures):
        return f"and has {len(a.pictures)} slices, this one {len(b.pictures)}"
    return "and was acquired later"


def shown_share(stack: Stack, other: Stack) -> float:
    """Return the share of a stack's slices whose middle another stack shows in a slice of about their direction."""
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
