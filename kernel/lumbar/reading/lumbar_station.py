"""The stacks of a study -> those of the lumbar spine; other stations of a whole spine are left out."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lumbar.reading.candidate import Candidate, left_out
from lumbar.reading.stack import stack_of
from lumbar.reading.stacks import STATION_SHIFT
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2

LARGEST_VIEW = 420.0  # mm, of a side; the competition's are up to 340
BEYOND = 15.0  # mm that an axial slice's centre may lie above or below the sagittal pictures


def whole_spines_apart(candidates: list[Candidate]) -> Iterator[Candidate]:
    """Leave out series with the field of view of a whole spine or a belly, where there is one of a lumbar spine."""
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
    """Group sagittal stacks with middles that are nearer than STATION_SHIFT of their field of view."""
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
    """Keep the axial slices with centres between two heights in mm."""
    inside = (candidate.stack.centres[:, 2] >= lowest) & (candidate.stack.centres[:, 2] <= highest)
    if inside.all():
        return candidate
    if not inside.any():
        return left_out(candidate, "other_station", "it lies above or below the sagittal pictures")
    pictures = [p for p, kept in zip(candidate.stack.pictures, inside, strict=True) if kept]
    why = f"{candidate.kind.why}; {(~inside).sum()} slices above or below the sagittal pictures are left out"
    return replace(
        candidate,
        stack=stack_of(candidate.stack.series, pictures),
        kind=replace(candidate.kind, why=why),
    )
