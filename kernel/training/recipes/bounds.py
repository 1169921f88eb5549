"""Numbers of a recipe that have a smallest and a largest value."""

from dataclasses import dataclass
from math import inf
from typing import Annotated


@dataclass(frozen=True)
class Bounds:
    """The smallest and the largest number that a field may have, both included."""

    low: float
    high: float


Chance = Annotated[float, Bounds(0, 1)]
Share = Annotated[float, Bounds(0, 1)]
Positive = Annotated[float, Bounds(1e-12, inf)]
NotNegative = Annotated[float, Bounds(0, inf)]
Count = Annotated[int, Bounds(1, inf)]
CountOrZero = Annotated[int, Bounds(0, inf)]
Decay = Annotated[float, Bounds(0, 0.999999)]
