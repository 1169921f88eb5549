"""The most likely chain of places down the five levels: left and right sites chosen together, exactly.

Every site has candidates with scores, the logarithm of a likelihood. A chain takes one candidate per site. Its score is
the sum of its candidates' scores, of the scores of its steps and of the scores of its levels. A step goes from a level
to the next on one side, and a level's score is that of its two sides together. A description without sides has one
neutral candidate on the right.

The states of a level are its pairs of candidates. A step of one side does not depend on the other, so n candidates cost
n**3 operations per level, not n**4.

Source: Viterbi's algorithm; its two directions together give the best chain through each candidate.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lumbar.sites import LEVELS

# Places of candidates (n, ...) and (m, ...) -> how well they fit, (n, m).
Fit = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Chain(NamedTuple):
    """The scores of all chains.

    Attributes:
        pairs: Of each level, (left, right): both candidates' scores, and the score of the two together.
        left: Of each step, (upper, lower): the score of two candidates of the left side at neighbouring levels.
        right: The same of the right side.
    """

    pairs: list[np.ndarray]
    left: list[np.ndarray]
    right: list[np.ndarray]

    def upwards(self) -> "Chain":
        """Return the same chain from the last level to the first."""
        left, right = ([step.T for step in steps[::-1]] for steps in (self.left, self.right))
        return Chain(self.pairs[::-1], left, right)


def build_chain(
    scores: Sequence[np.ndarray], places: Sequence[np.ndarray], step_fit: Fit, side_fit: Fit
) -> Chain:
    """Return the chain of a description's classes.

    Args:
        scores: Of each class, (candidate,): 5 classes without sides, or 10, left before right.
        places: Of each class, (candidate, ...).
        step_fit: Of the places at a level and at the one below.
        side_fit: Of the places on the left and on the right.
    """
    levels = len(LEVELS)
    sides = [places[first : first + levels] for first in range(0, len(places), levels)]
    steps = [[step_fit(upper, lower) for upper, lower in pairwise(side)] for side in sides]
    if len(sides) == 1:
        return Chain([score[:, None] for score in scores], steps[0], [np.zeros((1, 1))] * (levels - 1))
    pairs = [
        left[:, None] + right + side_fit(*both)
        for left, right, both in zip(scores[:levels], scores[levels:], zip(*sides, strict=True), strict=True)
    ]
    return Chain(pairs, *steps)


def best_to(chain: Chain) -> list[np.ndarray]:
    """Return, for each level, the score of the best chain from the first level to each pair, (left, right)."""
    scores = [chain.pairs[0]]
    for pairs, left, right in zip(chain.pairs[1:], chain.left, chain.right, strict=True):
        stepped = (scores[-1][:, None, :] + left[:, :, None]).max(axis=0)  # (lower left, upper right)
        scores.append((stepped[:, :, None] + right[None]).max(axis=1) + pairs)
    return scores


def best_chain(chain: Chain) -> tuple[float, list[int]]:
    """Return the best chain: its score, and its candidates' indices, the left ones before the right ones."""
    scores = best_to(chain)
    path = [argmax_pair(scores[-1])]
    for before, left, right in zip(scores[-2::-1], chain.left[::-1], chain.right[::-1], strict=True):
        lower_left, lower_right = path[-1]
        path.append(argmax_pair(before + left[:, lower_left, None] + right[:, lower_right]))
    return float(scores[-1].max()), [index for side in zip(*path[::-1], strict=True) for index in side]


def best_through(chain: Chain) -> list[np.ndarray]:
    """Return the score of the best chain through each candidate, (candidate,) of each class, left before right."""
    both = zip(best_to(chain), best_to(chain.upwards())[::-1], chain.pairs, strict=True)
    through = [down + up - pairs for down, up, pairs in both]
    return [pairs.max(axis=axis) for axis in (1, 0) for pairs in through]


def argmax_pair(scores: np.ndarray) -> tuple[int, int]:
    """Return where scores (left, right) are largest, the first of equals."""
    left, right = np.unravel_index(scores.argmax(), scores.shape)
    return int(left), int(right)
