"""Series that a text places in another part of the body -> those that are read all the same, as their pictures fit.

A text alone never costs a description that the study lacks: it may be copied, or a protocol's default. A series stays
left out if its own text and one of its study agree on another part.
"""

from dataclasses import replace

import numpy as np

from lumbar.reading.body_region import region_of
from lumbar.reading.candidate import Candidate
from lumbar.reading.lumbar_station import BEYOND
from lumbar.reading.series_kind import kind_of
from lumbar.reading.stacks import STATION_SHIFT
from lumbar.sites import AXIAL_T2, DESCRIPTIONS

# mm that series of a lumbar spine show at least; those of the competition show more.
LEAST_HEIGHT, LEAST_WIDTH, LEAST_AXIAL_HEIGHT = 180.0, 40.0, 70.0


def placed_elsewhere(candidates: list[Candidate]) -> list[Candidate]:
    """Read series that a text places elsewhere, for a description that is missing without them.

    Beside series that are read they must lie where those lie. A study without any must show, in all three
    descriptions, as much as series of a lumbar spine do.
    """
    read = [c for c in candidates if c.kind.description]
    missing = set(DESCRIPTIONS) - {c.kind.description for c in read}
    doubtful = {
        c.stack_id: replace(c, kind=kind, doubt=f"{region.why()}; read, because its pictures fit")
        for c in candidates
        if c.kind.reason == "other_body_part"
        and not c.named
        and not (region := region_of(c.stack.facts)).sure
        and (kind := kind_of(c.stack.facts, anywhere=True)).description in missing
    }
    fitting = [c for c in doubtful.values() if lies_beside(c, read)] if read else [*doubtful.values()]
    if not read and not is_whole(fitting):
        return candidates
    taken = {c.stack_id: c for c in fitting}
    return [taken.get(c.stack_id, c) for c in candidates]


def lies_beside(one: Candidate, others: list[Candidate]) -> bool:
    """Return whether a series lies where others of its study lie."""
    placed = [c.stack for c in others if c.stack.placed]
    if not one.stack.placed or not placed:
        return False
    low, high = np.array([stack.heights for stack in placed]).mean(axis=0)
    middle = one.stack.centres[:, 2].mean()
    if one.kind.description == AXIAL_T2:
        return low - BEYOND <= middle <= high + BEYOND
    return abs(middle - (low + high) / 2) < STATION_SHIFT * one.stack.sizes[:, 1].mean()


def is_whole(candidates: list[Candidate]) -> bool:
    """Return whether series show, in all three descriptions, as much as those of a lumbar spine."""
    stacks = {d: [c.stack for c in candidates if c.kind.description == d] for d in DESCRIPTIONS}
    if not all(stacks.values()) or not all(stack.placed for of in stacks.values() for stack in of):
        return False
    for description, of in stacks.items():
        if description == AXIAL_T2:
            heights = np.concatenate([stack.centres[:, 2] for stack in of])
            if np.ptp(heights) < LEAST_AXIAL_HEIGHT:
                return False
        elif not any(np.ptp(s.heights) >= LEAST_HEIGHT and s.depth + s.step >= LEAST_WIDTH for s in of):
            return False
    return True
