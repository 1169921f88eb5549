"""The healthy studies in a folder of their own, to be run, stopped and run again."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.faults.checks import check_log, rows_of, study_lines
from tests.faults.kernels import Outcome
from tests.faults.study_runs import Stage
from tests.faults.study_set import HEALTHY

EXIT_USAGE, EXIT_FALLBACKS, EXIT_DATA, EXIT_INTERRUPT, EXIT_TERMINATED = 2, 3, 5, 130, 143
ANY_SHARE = ("--max-fallback-share", 1)
Check = Callable[[Stage, np.random.Generator], None]


class Case:
    """A competition of the healthy studies, a bundle, a fresh folder for the kernel's files."""

    def __init__(self, stage: Stage, wide: bool = False, more: tuple[str, ...] = ()):
        self.stage = stage
        self.competition = stage.competition("process")
        for study_id in more:
            self.competition.add(study_id, 0)
        self.out = stage.folder / "process-out"
        shutil.rmtree(self.out, ignore_errors=True)
        bundle = stage.wide if wide else stage.small
        self.arguments = ["--data", self.competition.write_tables(), "--bundle", bundle, "--workers", 1]

    def run(self, status: int = 0, more: tuple = (), patches: dict | None = None) -> Outcome:
        """Run the kernel; unless its readers matter, it reads by itself, which starts sooner."""
        patches = {"few_processes": []} | (patches or {})
        if patches.keys() & {"bad_readers", "little_memory", "no_further_threads"}:
            del patches["few_processes"]
        outcome = self.stage.starter.run([*self.arguments, *more], self.out, patches)
        check_log(outcome.log)
        assert outcome.status == status, f"status {outcome.status}, not {status}\n{outcome.log[-2500:]}"
        known = ("not graded", "not read")  # logged with their tracebacks, and survived
        assert "Traceback" not in outcome.log or any(k in outcome.log for k in known), outcome.log[-2500:]
        return outcome

    def rows(self) -> dict[str, str]:
        return rows_of(self.out / "submission.csv", self.competition.row_ids())

    def finished(self) -> dict[str, str]:
        """Return the rows after checking that all is as if nothing had happened."""
        rows = self.rows()
        self.stage.check_healthy(rows)
        left = [path.name for path in self.out.iterdir()]
        assert sorted(left) == ["run.json", "submission.csv"], left
        return rows

    @property
    def journal(self) -> Path:
        return self.out / "submission.csv.journal"

    def stop(self, number: int = signal.SIGTERM, status: int = EXIT_TERMINATED) -> None:
        """Stop a kernel at its second study: the file is valid, the journal holds the first."""
        self.run(status, patches={"signalled": [int(number), 1]})
        rows = self.rows()
        done = [n for n in range(HEALTHY) if study_lines(rows, f"healthy-{n}") == self.stage.healthy[n]]
        assert len(done) == 1 and self.journal.exists(), f"{len(done)} studies done, not the first alone"
