"""Which slices of a volume to segment next: best first, until no other can win."""

import numpy as np

from lumbar.grids import CROP_OFFSETS
from lumbar.networks.heatmap import peaks_to_points


class SliceSearch:
    """The search for the points of one volume.

    Attributes:
        weight: (class, S) float32, the prior of each slice, 0..1, a factor of the heatmap.
        bound: (class, S) float32, the most that the heatmap can reach on each slice.
        value: (class, S) float32, the heatmap's largest value on each slice; 0 where it was not segmented.
        place: (class, S, 2), the row and column of that value.
        done: (S,) bool, slices that need no segmenting any more.
    """

    def __init__(
        self, bound: np.ndarray, present: np.ndarray, dynamic: bool, weight: np.ndarray | None = None
    ):
        """Begin a search.

        Args:
            bound: (class, S) float32, the pointer's probabilities.
            present: (S,) bool, false on zero slices, where the heatmap is 0.
            dynamic: Whether the slices of the crops are needed as well.
            weight: The prior of each slice, None for none.
        """
        self.weight = np.ones_like(bound) if weight is None else weight
        self.bound = np.where(present, bound * self.weight, 0)
        self.value = np.zeros(bound.shape, np.float32)
        self.place = np.zeros((*bound.shape, 2), np.int64)
        self.present = present
        self.done = ~present
        self.dynamic = dynamic

    def wanted(self) -> np.ndarray:
        """Return the slices to segment next, ascending; none when the points are decided."""
        return slices_to_segment(self.bound, self.value, self.done, self.dynamic)

    def take(self, slices: np.ndarray, value: np.ndarray, place: np.ndarray) -> None:
        """Take the largest values on slices before the prior, (class, n, 1), and their places, (class, n, 1, 2)."""
        self.value[:, slices] = value[..., 0] * self.weight[:, slices]
        self.place[:, slices] = place[:, :, 0]
        self.done[slices] = True

    def points(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Return points (class, 5, 3) and values (class, 5) of ``peaks_to_points``."""
        return peaks_to_points(self.value, self.place, len(self.done), kind)

    def largest(self) -> None:
        """Return None: each point is where its heatmap is largest."""

    @property
    def segmented(self) -> int:
        """The number of slices that were segmented."""
        return int((self.done & self.present).sum())


def slices_to_segment(bound: np.ndarray, value: np.ndarray, done: np.ndarray, dynamic: bool) -> np.ndarray:
    """Return which slices to segment next, ascending; none when the points are decided.

    Each class requests its most promising slice that could still win. A slice with an equal bound can win only before
    the best one so far. As large batches cost less per slice, a class also requests all others that are likely to be
    needed. A dynamic detector needs the slices of its crops: those around the most promising slice, or around the best
    one of a class that is decided.

    Args:
        bound: (class, S), the most that a slice's heatmap can reach.
        value: (class, S), its largest value where ``done``, else 0.
        done: (S,) bool, slices that need no segmenting any more.
        dynamic: Whether the slices of the crops are needed as well.
    """
    best = value.argmax(axis=1)
    record = value[np.arange(len(value)), best][:, None]
    earlier = np.arange(len(done)) < best[:, None]
    hopeful = ~done & ((bound > record) | ((bound == record) & earlier & (record > 0)))
    promise = np.where(hopeful, bound, -1)
    top = promise.max(axis=1, keepdims=True)
    asked = (hopeful & (bound >= top * still_expected(bound, value, best))).any(axis=0)
    if dynamic:
        middle = np.where(hopeful.any(axis=1), promise.argmax(axis=1), best)
        asked[np.clip(middle[:, None] + np.array(CROP_OFFSETS), 0, len(done) - 1)] = True
    return np.flatnonzero(asked & ~done)


def still_expected(bound: np.ndarray, value: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return for each class, (class, 1), the share of its bound that a slice is expected to reach.

    It is half way between the share of the best slice and 1. Before any slice was segmented it is 1.
    """
    rows = np.arange(len(value))
    share = value[rows, best] / np.maximum(bound[rows, best], np.finfo(np.float32).tiny)
    return np.where(share > 0, (1 + share) / 2, 1)[:, None]
