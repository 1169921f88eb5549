"""The time limit: how many members the studies that remain can afford.

The run measures the seconds per study of each detector, each classifier and everything else. Before each study it
chooses the largest ensemble with which all remaining studies finish. Members are dropped, never studies:
classifiers first, from the manifest's last (least valuable) on, then detectors. When even one of each is too
slow for all, studies get one of each as long as there is time, and the rest gets the prior.
"""

import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

RESERVE_SHARE = 0.02  # of the limit, kept for the unexpected and the last write
RESERVE_LEAST = 4.0  # seconds
LAST_WRITE_SHARE = 0.5  # of the reserve, that a study in hand may use up: then the last write begins
PATIENCE_SHARE = 0.25  # of the reserve, for whoever holds the lock; the last quarter is for the write itself
WINDOW = 16  # measurements that count: a change of pace is believed after about as many studies
FAIR_SHARES = 3  # of the time left a study; a study that took as many gets no further member
UNIT_SECONDS = {"h": 3600, "m": 60, "s": 1, "": 1}


@dataclass(frozen=True)
class Plan:
    """How many detectors and classifiers, from the manifest's first on, grade a study."""

    detectors: int
    classifiers: int


NO_MEMBERS = Plan(0, 0)


class Budget:
    """The clock of a run.

    Attributes:
        limit: Seconds from ``started`` on, or None.
        started: On the clock.
        clock: In seconds; a test may control it.
        consumers: How many grade studies side by side.
        measured: Seconds per study by cost, the last ``WINDOW`` of them.
    """

    def __init__(
        self,
        limit: float | None,
        started: float,
        clock: Callable[[], float] = time.monotonic,
        consumers: int = 1,
    ):
        self.limit = limit
        self.started = started
        self.clock = clock
        self.measured: dict[str, deque[float]] = {}
        self.consumers = consumers
        self.lock = threading.Lock()  # consumers learn and plan side by side

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

    def seconds_to_last_write(self) -> float:
        """Return the seconds until the run must write all finished studies, even if a member hangs."""
        return self.left() + LAST_WRITE_SHARE * self.reserve()

    def patience(self) -> float:
        """Return the seconds that the last write waits for a write that is going on."""
        return PATIENCE_SHARE * self.reserve()

    def learn(self, cost: str, seconds: float) -> None:
        """Take a measurement: ``detector NAME``, ``classifier NAME`` a detector, or ``other`` a study."""
        with self.lock:
            self.measured.setdefault(cost, deque(maxlen=WINDOW)).append(seconds)

    def learn_all(self, costs: Iterable[dict[str, float]]) -> None:
        """Take the measurements of several studies, each by the name of its cost."""
        for of_study in costs:
            for cost, seconds in of_study.items():
                self.learn(cost, seconds)

    def cost(self, name: str) -> float:
        """Return the seconds per study of one cost: the mean of its measurements without the largest.

        The largest measurement is dropped, because it includes a warm-up or a reader that hung. A member that never
        ran costs 0 until it has.
        """
        with self.lock:
            values = sorted(self.measured.get(name, ()))
        usual = values[:-1] or values
        return sum(usual) / len(usual) if usual else 0.0

    def plan(self, studies_left: int, detectors: list[str], classifiers: list[str]) -> Plan:
        """Return the largest plan that lets all remaining studies finish, by the measurements so far.

        Where none does, the smallest if there is time for one study by it; else ``NO_MEMBERS``.
        """
        left, turns = self.left(), math.ceil(studies_left / self.consumers)
        plans = [Plan(len(detectors), n) for n in range(len(classifiers), 0, -1)] or [Plan(len(detectors), 0)]
        plans += [Plan(n, plans[-1].classifiers) for n in range(len(detectors) - 1, 0, -1)]
        for plan in plans:
            if self.seconds(plan, detectors, classifiers) * turns <= left:
                return plan
        fits = left > 0 and self.seconds(plans[-1], detectors, classifiers) <= left
        return plans[-1] if fits else NO_MEMBERS

    def deadline(self, studies_left: int, studies: int = 1) -> float:
        """Return when, on the clock, studies that begin now have used their share: no further member starts then.

        Args:
            studies_left: Of the whole run, those that begin now among them.
            studies: How many begin now and are graded side by side.
        """
        turns = max(1.0, studies_left / self.consumers)
        share = min(1.0, FAIR_SHARES * studies / turns)
        return self.clock() + share * self.left()

    def seconds(self, plan: Plan, detectors: list[str], classifiers: list[str]) -> float:
        """Return the seconds of one study by a plan."""
        stage1 = sum(self.cost(f"detector {name}") for name in detectors[: plan.detectors])
        stage2 = sum(self.cost(f"classifier {name}") for name in classifiers[: plan.classifiers])
        return self.cost("other") + stage1 + stage2 * plan.detectors


def parse_duration(text: str) -> float:
    """Return seconds from ``"8.5h"``, ``"90m"``, ``"30s"`` or plain seconds; ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([hms]?)", text.strip(), re.ASCII)
    if not match or float(match[1]) <= 0:
        raise ValueError(f"got duration {text!r}, expected such as 8.5h, 90m, 30s")
    return float(match[1]) * UNIT_SECONDS[match[2]]
