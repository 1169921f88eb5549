"""The pictures of one series -> stacks: pictures of one kind and contrast that lie in one plane, each place once.

A SeriesInstanceUID does not promise that. Scanners put echoes, Dixon pictures, magnitude and phase, or three
planes of a localizer into one series; anonymisers give one UID to several series.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable

import numpy as np

from lumbar.reading.picture_header import PictureHeader
from lumbar.reading.picture_kind import USABLE
from lumbar.reading.series_facts import SeriesFacts, is_secondary
from lumbar.reading.stack import LEAST_STACK, Stack, stack_of
from lumbar.reading.tags import plane_of, tilt

LEAST_PART = 3  # pictures: with fewer, what differs is an oddity of a stack, not another one
STATION_SHIFT = 0.35  # of the field of view between two stations' centres; a stack's own slices shift less


def stacks_of(series: tuple, pictures: list[PictureHeader]) -> list[Stack]:
    """Part a series into stacks, in the order in which they are preferred.

    Args:
        series: The key that the pictures share.
        pictures: Those that are not left out for themselves.
    """
    groups = [pictures]
    for part in (by_echo, by_contrast, by_matrix, by_plane, by_frame_of_reference, by_station, by_pass):
        groups = [smaller for group in groups for smaller in part(group)]
    return sorted((stack_of(series, group) for group in groups), key=preference)


def preference(stack: Stack) -> tuple:
    """Sort stacks of one series: usable pictures first, late echoes first, then by instance number."""
    picture, first = stack.facts.picture, stack.pictures[0]
    order = USABLE.index(picture) if picture in USABLE else len(USABLE)
    return (
        order,
        is_secondary(stack.facts.image_type),
        -(stack.facts.echo or 0),
        first.instance,
        first.frame or 0,
    )


def parted(
    pictures: list[PictureHeader], key: Callable[[PictureHeader], Hashable]
) -> list[list[PictureHeader]]:
    """Part pictures by a key, in the order in which its values appear."""
    groups: dict[Hashable, list[PictureHeader]] = defaultdict(list)
    for picture in pictures:
        groups[key(picture)].append(picture)
    return list(groups.values())


def by_echo(pictures: list[PictureHeader]) -> list[list[PictureHeader]]:
    """Part by echo time in whole ms; pictures without one join the others if those agree."""
    times = {round(p.facts.echo) for p in pictures if p.facts.echo}
    return [pictures] if len(times) < 2 else parted(pictures, lambda p: p.facts.echo and round(p.facts.echo))


def by_contrast(pictures: list[PictureHeader]) -> list[list[PictureHeader]]:
    """Part by the kind of picture, and originals from pictures made of them later."""
    return parted(pictures, lambda p: (p.facts.picture, is_secondary(p.facts.image_type)))


def by_matrix(pictures: list[PictureHeader]) -> list[list[PictureHeader]]:
    """Part by rows and columns, unless a few slices of a stack differ from the others."""
    return in_numbers(pictures, parted(pictures, lambda p: p.shape))


def by_frame_of_reference(pictures: list[PictureHeader]) -> list[list[PictureHeader]]:
    """Part by FrameOfReferenceUID, unless it is another one in nearly every picture."""
    return in_numbers(pictures, parted(pictures, lambda p: p.frame_of_reference))


def in_numbers(pictures: list[PictureHeader], parts: list[list[PictureHeader]]) -> list[list[PictureHeader]]:
    """Return the parts if each is large enough to be a stack of its own, else the pictures in one."""
    return parts if min(map(len, parts), default=0) >= LEAST_PART else [pictures]


def by_plane(pictures: list[PictureHeader]) -> list[list[PictureHeader]]:
    """Part by plane where each one's slices are a stack of their own; a few of each are a localizer's.

    A block that is tilted out of the others' plane by less than MAX_TILT stays with them.
    """
    groups = parted(pictures, lambda p: p.place.plane)
    planes = [(group[0].place.plane, group) for group in groups]
    found = {plane: list(group) for plane, group in planes if plane is not None and len(group) >= LEAST_STACK}
    wholes = set(found)
    if not found:
        return [pictures]
    for plane, group in planes:
        if plane not in wholes:  # a picture in no stack's plane is left out when the series is read
            found[nearest_plane(group[0], list(found))].extend(group)
    return list(found.values())


def nearest_plane(picture: PictureHeader, planes: list[str]) -> str:
    """Return the plane that a picture is tilted least out of; the first one where it has no orientation."""
    orientation = picture.place.orientation
    return planes[0] if orientation is None else min(planes, key=lambda plane: tilt(orientation, plane))


def by_station(pictures: list[PictureHeader]) -> list[list[PictureHeader]]:
    """Part sagittal and coronal pictures into stations along the spine."""
    stack = Stack((), tuple(pictures), SeriesFacts())
    if not stack.placed or plane_of(pictures[0].place.orientation) == "axial":
        return [pictures]
    order = np.argsort(stack.centres[:, 2], kind="stable")
    gaps = np.diff(stack.centres[order, 2]) > STATION_SHIFT * stack.sizes[:, 1].mean()
    below = np.concatenate([[0], np.cumsum(gaps)])
    stations = {id(pictures[index]): int(station) for index, station in zip(order, below, strict=True)}
    return parted(pictures, lambda p: stations[id(p)])


def by_pass(pictures: list[PictureHeader]) -> list[list[PictureHeader]]:
    """Part pictures so that no part shows a place twice: by acquisition, time or echo number, else by order."""
    if not shares_places(pictures):
        return [pictures]
    for index in range(len(pictures[0].passes)):
        parts = parted(pictures, lambda p, index=index: p.passes[index])
        if len(parts) > 1 and not any(map(shares_places, parts)):
            return parts
    times: Counter[Hashable] = Counter()
    turns: dict[int, list[PictureHeader]] = defaultdict(list)
    for picture in sorted(pictures, key=lambda p: (p.instance, p.frame or 0)):
        turns[times[place_of(picture)]].append(picture)
        times[place_of(picture)] += picture.place.position is not None
    return list(turns.values())


def shares_places(pictures: list[PictureHeader]) -> bool:
    """Return whether two pictures lie at one place."""
    places = [place_of(p) for p in pictures if p.place.position is not None]
    return len(set(places)) < len(places)


def place_of(picture: PictureHeader) -> Hashable:
    """Return a picture's place to a tenth of a mm and about a degree."""
    position, orientation = picture.place.position, picture.place.orientation
    return position and (
        tuple(round(v, 1) for v in position),
        orientation and tuple(round(v, 2) for v in orientation),
    )
