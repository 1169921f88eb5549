"""A stack: pictures of one series that belong together, and where they lie."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lumbar.reading.picture_header import PictureHeader
from lumbar.reading.scanner_words import named_planes, plain_letters
from lumbar.reading.series_facts import SeriesFacts, most_common_facts
from lumbar.reading.tags import MAX_TILT, PLANES

LEAST_STACK = 7  # slices of one plane in a series of several planes that are no localizer's
MOST_OF_FEW, MOST_OF_MANY = 0.7, 0.5  # of a stack's slices in one plane, below and from LEAST_STACK slices
SLAB_DEPTH = 45.0  # mm across an oblique block; a coronal series of the lumbar spine is deeper


@dataclass(frozen=True)
class Stack:
    """Pictures of one series that belong together; ``facts`` are those of most of them."""

    series: tuple
    pictures: tuple[PictureHeader, ...]
    facts: SeriesFacts

    @cached_property
    def placed(self) -> bool:
        """Whether every picture has its geometry."""
        return all(
            None not in (p.place.position, p.place.orientation, p.place.spacing) for p in self.pictures
        )

    @cached_property
    def directions(self) -> np.ndarray:
        """Directions of increasing column, increasing row, and across: (slice, 3, 3)."""
        cosines = np.array([p.place.orientation for p in self.pictures], float).reshape(-1, 2, 3)
        across = np.cross(cosines[:, 0], cosines[:, 1])
        return np.concatenate([cosines, across[:, None]], axis=1)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Width and height of the field of view in mm: (slice, 2)."""
        return self.spacings * np.array([p.shape[::-1] for p in self.pictures])

    @cached_property
    def spacings(self) -> np.ndarray:
        """Distance in mm between columns and between rows: (slice, 2)."""
        return np.array([p.place.spacing for p in self.pictures], float)[:, ::-1]

    @cached_property
    def centres(self) -> np.ndarray:
        """Centres of the pictures in mm, LPS: (slice, 3)."""
        corners = np.array([p.place.position for p in self.pictures], float)
        half = (self.sizes - self.spacings) / 2
        return corners + np.einsum("sk,skx->sx", half, self.directions[:, :2])

    @cached_property
    def heights(self) -> np.ndarray:
        """Lowest and highest patient z in mm that any picture shows: (2,)."""
        reach = np.abs(self.directions[:, :2, 2] * self.sizes / 2).sum(axis=1)
        return np.array([(self.centres[:, 2] - reach).min(), (self.centres[:, 2] + reach).max()])

    @cached_property
    def step(self) -> float:
        """Least distance in mm between two parallel slices; 0 of a single slice."""
        distances = self.distances_across
        near = distances[(distances > 0.1) & np.isfinite(distances)]
        return float(near.min()) if len(near) else 0.0

    @cached_property
    def distances_across(self) -> np.ndarray:
        """Distance in mm of each slice's centre from each other's plane, infinite unless they are parallel."""
        across = self.directions[:, 2]
        along = self.centres @ across.T
        distance = np.abs(along - np.diag(along))
        return np.where(np.abs(across @ across.T) > np.cos(np.radians(2)), distance, np.inf)

    @cached_property
    def depth(self) -> float:
        """Distance in mm between the outermost slices, along the normal of most."""
        across = np.median(
            self.directions[:, 2] * np.sign(self.directions[:, 2] @ self.directions[0, 2])[:, None], 0
        )
        return float(np.ptp(self.centres @ across))


def stack_of(series: tuple, pictures: list[PictureHeader]) -> Stack:
    """Return pictures as a stack with facts that name the plane."""
    stack = Stack(series, tuple(pictures), most_common_facts([p.facts for p in pictures]))
    return replace(stack, facts=replace(stack.facts, plane=plane_of_stack(stack)))


def plane_of_stack(stack: Stack) -> str | None:
    """Return the plane that a stack is to be read in: that of most slices, "mixed" where no plane has most.

    A block along L5/S1 may be nearest to coronal: it is axial by its text, or as it is thin. One limit, MAX_TILT,
    holds for it and for a block inside a series.
    """
    votes = Counter(p.place.plane for p in stack.pictures if p.place.plane)
    if not votes:
        return None
    plane, count = votes.most_common(1)[0]
    if count < votes.total() * (MOST_OF_MANY if count >= LEAST_STACK else MOST_OF_FEW):
        return "mixed"
    if plane != "coronal" or not stack.placed:
        return plane
    across = np.abs(stack.directions[:, 2]).mean(axis=0)
    tilts = np.degrees(np.arccos(np.clip(across / np.linalg.norm(across), 0, 1)))
    near = {name: tilt for name, tilt in zip(PLANES, tilts, strict=True) if tilt < MAX_TILT}
    named = [name for name in named_planes(plain_letters(stack.facts.text)) if name in near]
    if len(named) == 1:
        return named[0]
    thin = "axial" in near and not named and stack.depth + stack.step <= SLAB_DEPTH
    return "axial" if thin else plane
