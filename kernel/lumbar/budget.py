"""The time limit: how many members the studies that remain can afford.

The run measures what a detector, a classifier and everything else cost a study, and before each study
chooses the largest ensemble with which all remaining studies finish. Members are dropped, never studies:
classifiers first, from the manifest's last (least valuable) on, then detectors; if not even one of each is
affordable, the rest gets the prior.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

RESERVE_SHARE = 0.02  # of the limit, kept for the unexpected and the last write
RESERVE_LEAST = 2.0  # seconds


@dataclass(frozen=True)
class Plan:
    """How many detectors and classifiers, from the manifest's first on, grade a study; 0 and 0: the prior."""

    detectors: int
    classifiers: int


class Budget:
    """The clock of a run.

    limit: seconds from ``started`` on, or None. clock: seconds; a test may control it.
    """

    def __init__(self, limit: float | None, started: float, clock: Callable[[], float] = time.monotonic):
        self.limit = limit
        self.started = started
        self.clock = clock
        self.costs: dict[str, float] = {}  # mean seconds a study

    def elapsed(self) -> float:
        return self.clock() - self.started

    def left(self) -> float:
        """Return the seconds that may still be spent on studies; infinite without a limit."""
        if self.limit is None:
            return float("inf")
        return self.limit - self.reserve() - self.elapsed()

    def reserve(self) -> float:
        """Return the seconds before the limit that studies may not use."""
        return max(RESERVE_LEAST, RESERVE_SHARE * (self.limit or 0))

    def learn(self, cost: str, seconds: float) -> None:
        """Take a measurement: ``detector NAME``, ``classifier NAME`` a detector, or ``other`` a study."""
        known = self.costs.get(cost)
        self.costs[cost] = seconds if known is None else 0.8 * known + 0.2 * seconds

    def plan(self, studies_left: int, detectors: list[str], classifiers: list[str]) -> Plan:
        """Return the largest plan that lets all remaining studies finish, by what was measured so far."""
        plans = [Plan(len(detectors), n) for n in range(len(classifiers), 0, -1)] or [Plan(len(detectors), 0)]
        plans += [Plan(n, plans[-1].classifiers) for n in range(len(detectors) - 1, 0, -1)]
        for plan in plans:
            if self.seconds(plan, detectors, classifiers) * studies_left <= self.left():
                return plan
        return Plan(0, 0)

    def seconds(self, plan: Plan, detectors: list[str], classifiers: list[str]) -> float:
        """Return what a study costs by a plan; a member that never ran counts 0 until it has."""
        stage1 = sum(self.costs.get(f"detector {name}", 0) for name in detectors[: plan.detectors])
        stage2 = sum(self.costs.get(f"classifier {name}", 0) for name in classifiers[: plan.classifiers])
        return self.costs.get("other", 0) + stage1 + stage2 * plan.detectors


def parse_duration(text: str) -> float:
    """Return seconds from ``"8.5h"``, ``"90m"``, ``"30s"`` or plain seconds; ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([hms]?)", text.strip())
    if not match or float(match[1]) <= 0:
        raise ValueError(f"got duration {text!r}, expected such as 8.5h, 90m, 30s")
    return float(match[1]) * {"h": 3600, "m": 60, "s": 1, "": 1}[match[2]]
