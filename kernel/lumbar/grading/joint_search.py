"""Which slices to segment for a joint choice of the five levels, until no other slice can change it.

Each site's candidates are the peaks of its heatmap on the slices, and the best chain of them (``level_chain``) is
chosen. A slice that is not segmented yet can give no more than the pointer's probability there, and a chain no more
than the prior of its slices alone. So the best chain of slices through it bounds every chain of peaks on it. Slices
are segmented until no bound exceeds the best chain of the peaks that are known.

A point is the site's largest peak within ``NEAR`` of the chain's, on its slice and the two beside it. So a site keeps
its largest peak where the chain confirms it.
"""

import numpy as np

from lumbar.grading.level_chain import best_chain, best_through, build_chain
from lumbar.grading.level_prior import lateral_side_bounds, lateral_step_bounds, side_scores, step_scores
from lumbar.grids import CROP_OFFSETS

TINY = np.finfo(np.float32).tiny  # of a heatmap: its logarithm is the least score of a peak
NEVER = -1e6  # a score below that of any chain
BESIDE = (-1, 0, 1)  # slices of a point, relative to the chain's
ROUNDING = 1e-6  # of scores, which are summed in different orders
NEAR = 8.0  # pixels of the detector grid, a quarter of a level


class JointSearch:
    """The search for the points of one sagittal volume, all levels and sides of which are chosen together.

    Attributes:
        bound: (class, S) float32, the most that the heatmap can reach on each slice.
        frame: (S, 3, 3), of ``place_frame``.
        value: (class, S, peak) float32, the heatmap at the peaks of each slice; 0 where it was not segmented.
        place: (class, S, peak, 2), their rows and columns.
        done: (S,) bool, slices that need no segmenting any more.
    """

    def __init__(self, bound: np.ndarray, present: np.ndarray, dynamic: bool, frame: np.ndarray, peaks: int):
        """Begin a search; ``peaks`` is the number of peaks per slice, the other arguments are as in ``SliceSearch``."""
        self.bound = np.where(present, bound, 0)
        self.frame, self.present, self.dynamic = frame, present, dynamic
        self.value = np.zeros((*bound.shape, peaks), np.float32)
        self.place = np.zeros((*bound.shape, peaks, 2), np.int64)
        self.done = ~present
        self.best = -np.inf  # the score of the best chain of peaks
        self.chosen = np.zeros((0, 2), np.int64)  # its slice and peak, of each class

    @property
    def segmented(self) -> int:
        """The number of slices that were segmented."""
        return int((self.done & self.present).sum())

    def wanted(self) -> np.ndarray:
        """Return the slices to segment next, ascending; none when the points are decided.

        First those of the best chain of slices, then the more promising half of those that could change it, then those
        that could hold the points themselves.
        """
        if self.done.all():
            return np.flatnonzero(~self.done)
        classes, lateral = len(self.bound), self.frame[:, 0, 0]
        reach = np.where(self.present, log(np.where(self.done, self.value[..., 0], self.bound)), NEVER)
        chain = build_chain(list(reach), [lateral] * classes, lateral_step_bounds, lateral_side_bounds)
        hope = np.where(self.done, -np.inf, best_through(chain)[:classes]).max(axis=0)
        asked = hope > self.best + ROUNDING
        if len(self.chosen):
            asked &= hope >= (self.best + hope.max()) / 2
            if not asked.any():
                asked = self.beside()
            middle = self.settled()[:, 0]
        else:
            middle = np.array(best_chain(chain)[1][:classes])
            asked = np.isin(np.arange(len(hope)), middle)
        if self.dynamic:
            asked[np.clip(np.add.outer(middle, CROP_OFFSETS), 0, len(hope) - 1)] = True
        return np.flatnonzero(asked & ~self.done)

    def beside(self) -> np.ndarray:
        """Return the slices, (S,) bool, that may hold a larger peak than the chain's on the slices beside it."""
        rows, (slice_, peak) = np.arange(len(self.bound)), self.chosen.T
        beside = self.slices_at(slice_, BESIDE)
        larger = self.bound[rows[:, None], beside] >= self.value[rows, slice_, peak][:, None]
        return np.isin(np.arange(len(self.done)), beside[larger])

    def settled(self) -> np.ndarray:
        """Return the slice and the peak of each point, (class, 2), among the peaks that are known."""
        rows, (slice_, peak) = np.arange(len(self.bound)), self.chosen.T
        beside = self.slices_at(slice_, BESIDE)
        value, _ = self.peaks_near(self.place[rows, slice_, peak], beside)
        at, last = value.reshape(len(rows), -1).argmax(axis=1), value.shape[-1]
        return np.column_stack([beside[rows, at // last], at % last])

    def slices_at(self, slice_: np.ndarray, offsets: tuple[int, ...]) -> np.ndarray:
        """Return the slices (class, offset) around those of the classes, within the volume."""
        return np.clip(np.add.outer(slice_, offsets), 0, len(self.done) - 1)

    def peaks_near(self, place: np.ndarray, slices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each class's peaks on slices (class, n): values (class, n, peak), places (class, n, peak, 2).

        Values are -1 of peaks farther than ``NEAR`` from the class's place, (class, 2), and on slices without peaks.
        """
        rows = np.arange(len(place))[:, None]
        places = self.place[rows, slices]
        off = np.linalg.norm(places - place[:, None, None], axis=-1)
        there = (off <= NEAR) & (self.done & self.present)[slices][..., None]
        return np.where(there, self.value[rows, slices], -1), places

    def take(self, slices: np.ndarray, value: np.ndarray, place: np.ndarray) -> None:
        """Take the peaks on slices, largest first, (class, n, peak), and their places, (class, n, peak, 2)."""
        self.value[:, slices], self.place[:, slices] = value, place
        self.done[slices] = True
        self.choose()

    def choose(self) -> None:
        """Choose the best chain of all peaks that are known."""
        there = (self.value > 0) & self.done[:, None]
        there[..., 0] = self.done & self.present  # the best one counts even where its value rounds to 0
        found = [np.argwhere(own) for own in there]  # of each class, (candidate, 2): slice and peak
        scores = [log(self.value[number, own]) for number, own in enumerate(there)]
        # No score of the prior exceeds 0, so a peak that falls short by more than the best chain does is in none.
        tops = [np.array([own.argmax()]) for own in scores]
        best, _ = self.score(found, scores, tops)
        short = sum(own.max() for own in scores) - max(best, self.best) + ROUNDING
        kept = [np.flatnonzero(own >= own.max() - short) for own in scores]
        self.best, path = self.score(found, scores, kept)
        self.chosen = np.array([own[keep[at]] for own, keep, at in zip(found, kept, path, strict=True)])

    def score(
        self, found: list[np.ndarray], scores: list[np.ndarray], kept: list[np.ndarray]
    ) -> tuple[float, list[int]]:
        """Return the best chain of the candidates that are kept: its score, and their indices among these."""
        places = []
        for place, own, keep in zip(self.place, found, kept, strict=True):
            slices, peaks = own[keep].T
            pixels = np.insert(place[slices, peaks].astype(float), 0, 1, axis=1)
            places.append(np.einsum("nij,nj->ni", self.frame[slices], pixels))
        some = [own[keep] for own, keep in zip(scores, kept, strict=True)]
        best, path = best_chain(build_chain(some, places, step_scores, side_scores))
        return best, path[: len(scores)]

    def largest(self) -> np.ndarray:
        """Return where each class's heatmap is largest on the segmented slices: (class, 3) slice, row, column."""
        rows, slice_ = np.arange(len(self.value)), self.value[..., 0].argmax(axis=1)
        return np.column_stack([slice_, self.place[rows, slice_, 0]])

    def points(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Return points (class, 5, 3) and values (class, 5), as ``peaks_to_points`` does.

        On the other slices of a dynamic detector's crop the place is that of the largest peak near the point. Where
        there is none, it is the point's own place, with the value 0.
        """
        rows = np.arange(len(self.bound))
        slice_, peak = self.settled().T if len(self.chosen) else np.zeros((2, len(rows)), np.int64)
        wanted = slice_[:, None] + np.array(CROP_OFFSETS)
        place, value = self.place[rows, slice_, peak], self.value[rows, slice_, peak]
        places = np.repeat(place[:, None], len(CROP_OFFSETS), axis=1)
        values = np.repeat(value[:, None], len(CROP_OFFSETS), axis=1)
        if kind == "dynamic":
            read = self.slices_at(slice_, CROP_OFFSETS)
            near, own = self.peaks_near(place, read)
            at = near.argmax(axis=-1)[..., None]
            largest, own_slice = np.take_along_axis(near, at, axis=-1)[..., 0], read == slice_[:, None]
            values = np.where(own_slice, values, largest.clip(0))
            moved = ~own_slice & (largest > 0)
            places = np.where(
                moved[..., None], np.take_along_axis(own, at[..., None], axis=2)[:, :, 0], places
            )
        return np.concatenate([wanted[..., None], places], axis=-1).astype(np.int64), values


def log(values: np.ndarray) -> np.ndarray:
    """Return the logarithm of heatmap values as float64, at least that of ``TINY``."""
    return np.log(np.maximum(values, TINY).astype(np.float64))
