"""Which faults there are, and how many of each to inject in which runs."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tests.faults.bundle_faults import BUNDLE_FAULTS, run_bundle_fault
from tests.faults.machine_faults import MACHINE_FAULTS
from tests.faults.member_faults import MEMBER_FAULTS
from tests.faults.process_faults import PROCESS_FAULTS
from tests.faults.study_faults import STUDY_FAULTS
from tests.faults.study_runs import Stage, run_harmed
from tests.faults.table_faults import TABLE_FAULTS, run_table_fault

STUDIES_A_RUN = 100
STUDY_SHARE = 0.92  # of faults drawn at random: many fit into one run, the others need one each

RUN_FAULTS: dict[str, Callable[[Stage, np.random.Generator], None]] = {
    **{f"bundle: {n}": (lambda s, _, n=n: run_bundle_fault(s, n)) for n in BUNDLE_FAULTS},
    **{f"table: {n}": (lambda s, _, n=n: run_table_fault(s, n)) for n in TABLE_FAULTS},
    **{f"process: {n}": check for n, check in (PROCESS_FAULTS | MACHINE_FAULTS).items()},
    **{f"member: {n}": check for n, check in MEMBER_FAULTS.items()},
}


@dataclass
class Tally:
    """How often each fault was injected, and what went wrong."""

    injected: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    runs: int = 0
    begun: float = field(default_factory=time.monotonic)

    def table(self) -> str:
        failed = Counter(name for name, _ in self.wrong)
        lines = [f"{'fault':52} injected  passed"]
        lines += [f"{n:52} {count:8} {count - failed[n]:7}" for n, count in sorted(self.injected.items())]
        total, bad = sum(self.injected.values()), len(self.wrong)
        minutes = (time.monotonic() - self.begun) / 60
        kinds = len(self.injected)
        lines.append(
            f"{total} faults of {kinds} kinds in {self.runs} runs, {minutes:.1f} min: {bad} not as they should"
        )
        return "\n".join(lines)


def draw(count: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Draw study faults and faults of whole runs, each kind alike within its share."""
    studies = rng.random(count) < STUDY_SHARE
    study_names, run_names = list(STUDY_FAULTS), list(RUN_FAULTS)
    return (
        [study_names[i] for i in rng.integers(len(study_names), size=int(studies.sum()))],
        [run_names[i] for i in rng.integers(len(run_names), size=int((~studies).sum()))],
    )


def inject(
    stage: Stage, studies: list[str], runs: list[str], rng: np.random.Generator, minutes: float = 1e9
) -> Tally:
    """Inject all faults, those of studies in few runs; begin no further run after so many minutes."""
    tally = Tally()
    order = [studies[start : start + STUDIES_A_RUN] for start in range(0, len(studies), STUDIES_A_RUN)]
    for names in [*order, *runs]:
        if time.monotonic() - tally.begun > 60 * minutes:
            break
        tally.runs += 1
        if isinstance(names, str):
            tally.injected[names] += 1
            try:
                RUN_FAULTS[names](stage, rng)
            except AssertionError as error:
                tally.wrong.append((names, str(error)))
            continue
        tally.injected.update(f"study: {name}" for name in names)
        try:
            wrong = run_harmed(stage, names, rng, f"harmed-{tally.runs}")
        except AssertionError as error:
            wrong = dict.fromkeys(range(len(names)), str(error))
        tally.wrong += [(f"study: {names[number]}", message) for number, message in wrong.items()]
    return tally
