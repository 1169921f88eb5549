"""Faults of the machine around a kernel: signals, disks, memory, readers, slow and failing members."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lumbar.journal import encode
from tests.faults.checks import check_log, fallback_of, reasons_of, rows_of, study_lines
from tests.faults.kernels import Outcome, run_command
from tests.faults.study_runs import PRIOR_LINE, Stage
from tests.faults.study_set import HEALTHY

EXIT_FALLBACKS, EXIT_DATA, EXIT_INTERRUPT, EXIT_TERMINATED = 3, 5, 130, 143
ANY_SHARE = ("--max-fallback-share", 1)
Check = Callable[[Stage, np.random.Generator], None]


class Case:
    """A competition of the healthy studies, a bundle, a fresh folder for what the kernel writes."""

    def __init__(self, stage: Stage, wide: bool = False, more: tuple[str, ...] = ()):
        self.stage = stage
        self.competition = stage.competition("process")
        for study_id in more:
            self.competition.add(study_id, 0)
        self.out = stage.folder / "process-out"
        shutil.rmtree(self.out, ignore_errors=True)
        bundle = stage.wide if wide else stage.small
        self.arguments = ["--data", self.competition.write_tables(), "--bundle", bundle, "--workers", 1]

    def run(self, status: int = 0, more: tuple = (), **options) -> Outcome:
        outcome = self.stage.nursery.run([*self.arguments, *more], self.out, **options)
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

    def stopped(self, number: int, seconds: float, status: int) -> None:
        """Stop a kernel while it grades its second study: the file is valid, the journal holds the first."""
        outcome = self.run(status, sabotage={"hanging_member": [1]}, stop=(number, seconds))
        self.rows()
        assert self.journal.exists(), outcome.log


def killed_and_resumed(stage: Stage, rng: np.random.Generator) -> None:
    """kill -9 at any moment; the same command again gives the same file."""
    case = Case(stage)
    outcome = stage.nursery.run(case.arguments, case.out, stop=(signal.SIGKILL, rng.uniform(0, 6)))
    assert outcome.status in (0, -signal.SIGKILL), outcome.log
    if case.out.joinpath("submission.csv").exists():
        case.rows()
    if outcome.status:
        case.run()
    case.finished()


def stopped_by(number: int, status: int) -> Check:
    """Return a check that a signal at any moment ends the kernel as is the convention, its file valid."""

    def check(stage: Stage, rng: np.random.Generator) -> None:
        case = Case(stage)
        stop = (number, rng.uniform(0, 6))
        outcome = stage.nursery.run(case.arguments, case.out, sabotage={"slow_members": [3.0]}, stop=stop)
        early = outcome.status == -number and not case.out.joinpath("submission.csv").exists()
        assert early or outcome.status in (status, 0), f"status {outcome.status}\n{outcome.log[-2000:]}"
        if case.out.joinpath("submission.csv").exists():
            case.rows()
        case.run()
        case.finished()

    return check


def resumed(stage: Stage, rng: np.random.Generator) -> None:
    """A study in the journal is not computed again: a member that would fail now is not asked."""
    case = Case(stage)
    case.stopped(signal.SIGTERM, 12, EXIT_TERMINATED)
    first = case.rows()
    done = [n for n in range(HEALTHY) if study_lines(first, f"healthy-{n}") == stage.healthy[n]]
    assert len(done) == 1, f"{len(done)} studies done; not the first alone"
    outcome = case.run(sabotage={"hanging_member": [HEALTHY - 1]})
    assert "1 studies were finished before" in outcome.log, outcome.log
    assert outcome.run["studies"] == HEALTHY
    case.finished()


def journal_is(change: Callable[[bytes], bytes], says: str) -> Check:
    """Return a check of a journal that was changed; ``says`` empty: it is used all the same."""

    def check(stage: Stage, rng: np.random.Generator) -> None:
        case = Case(stage)
        case.stopped(signal.SIGTERM, 12, EXIT_TERMINATED)
        case.journal.write_bytes(change(case.journal.read_bytes()))
        before = case.rows()
        outcome = case.run(EXIT_DATA if says else 0)
        if not says:
            case.finished()
            return
        assert says in outcome.log, outcome.log
        assert case.rows() == before, "the refused run changed the file"
        case.journal.unlink()
        case.run()
        case.finished()

    return check


def journal_of_another_bundle(stage: Stage, rng: np.random.Generator) -> None:
    case = Case(stage)
    case.stopped(signal.SIGTERM, 12, EXIT_TERMINATED)
    before = case.rows()
    outcome = case.run(EXIT_DATA, ("--bundle", stage.wide))
    assert "belongs to a run with other bundle" in outcome.log, outcome.log
    assert case.rows() == before


def full_disk(size: int, status: int) -> Check:
    """Return a check with a disk of that many bytes: a tiny file system for root, else a bound on files."""

    def check(stage: Stage, rng: np.random.Generator) -> None:
        case = Case(stage, more=tuple(f"more-{n}" for n in range(3)))
        case.out.mkdir()
        with tiny_disk(case.out, size) as sabotage:
            outcome = case.run(status, sabotage=sabotage | {"write_often": []})
            if status == EXIT_DATA:
                assert "No space left" in outcome.log or "too large" in outcome.log, outcome.log
            if (case.out / "submission.csv").exists():
                case.rows()
            else:
                assert size <= 4096, "not even the prior was written"

    return check


@contextlib.contextmanager
def tiny_disk(folder: Path, size: int) -> Iterator[dict]:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0:
        try:
            yield {}
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    else:
        yield {"small_files": [size]}


def no_folder_to_write(stage: Stage, rng: np.random.Generator) -> None:
    case = Case(stage)
    case.out.mkdir()
    (case.out / "submission.csv").mkdir()
    case.run(EXIT_DATA)
    assert not list(case.out.glob(".submission*")), "something was left beside it"


def little_memory(stage: Stage, rng: np.random.Generator) -> None:
    """A study too big for the memory gets the prior, the others their rows."""
    case = Case(stage, more=("big",))
    folder = case.competition.studies[-1].folder / "1"
    first = min(folder.iterdir())
    for number in range(100, 900):
        os.link(first, folder / f"{number}.dcm")
    outcome = case.run(EXIT_FALLBACKS, sabotage={"little_memory": [420]})
    assert fallback_of(outcome.run, "big") == "prior"
    assert reasons_of(outcome.run, "big") == {"out_of_memory"}, outcome.run["faults"]
    stage.check_healthy(case.rows())


def readers(kind: str, reason: str) -> Check:
    """Return a check of readers that fail on a study, always and once."""

    def check(stage: Stage, rng: np.random.Generator) -> None:
        marks = stage.folder / "marks"
        shutil.rmtree(marks, ignore_errors=True)
        marks.mkdir()
        case = Case(stage, more=(f"{kind}-1", f"{kind}_once-1"))
        outcome = case.run(0, ANY_SHARE, sabotage={"bad_readers": [str(marks)]})
        assert reasons_of(outcome.run, f"{kind}-1") == {reason}, outcome.run["faults"]
        rows = case.finished()
        assert set(study_lines(rows, f"{kind}-1")) == {PRIOR_LINE}
        if reason in ("reader_died", "reader_hung"):
            assert study_lines(rows, f"{kind}_once-1") == stage.healthy[0]
            assert not fallback_of(outcome.run, f"{kind}_once-1")

    return check


def no_processes(stage: Stage, rng: np.random.Generator) -> None:
    case = Case(stage)
    outcome = case.run(sabotage={"few_processes": []})
    assert "read in this process" in outcome.log
    case.finished()


def journal_locked(stage: Stage, rng: np.random.Generator) -> None:
    """A second run with the same --out is refused while the first one lives."""
    import fcntl

    case = Case(stage)
    case.stopped(signal.SIGTERM, 12, EXIT_TERMINATED)
    with case.journal.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another run" in case.run(EXIT_DATA).log
    case.run()
    case.finished()


def closed(redirect: str) -> Check:
    """Return a check that standard streams that can't be written change nothing; by the command line."""

    def check(stage: Stage, rng: np.random.Generator) -> None:
        case = Case(stage)
        outcome = run_command(case.arguments, case.out, redirect=redirect)
        assert outcome.status == 0, f"status {outcome.status}\n{outcome.log[-2000:]}"
        case.finished()

    return check


def no_network(stage: Stage, rng: np.random.Generator) -> None:
    """In a network namespace without even a loopback; elsewhere every run refuses sockets anyhow."""
    case = Case(stage)
    prefix = ("unshare", "-n")
    possible = subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    outcome = run_command(case.arguments, case.out, prefix if possible else ())
    assert outcome.status == 0, outcome.log[-2000:]
    case.finished()


PROCESS_FAULTS: dict[str, Check] = {
    "kill -9 and resume": killed_and_resumed,
    "SIGTERM": stopped_by(signal.SIGTERM, EXIT_TERMINATED),
    "Ctrl-C": stopped_by(signal.SIGINT, EXIT_INTERRUPT),
    "a study in the journal": resumed,
    "journal: torn last line": journal_is(lambda raw: raw[:-7], ""),
    "journal: rubbish at the end": journal_is(lambda raw: raw + b"\0" * 500, ""),
    "journal: damaged in the middle": journal_is(
        lambda raw: raw[:20] + b"#" + raw[21:], "is damaged; delete the file"
    ),
    "journal: a stranger's record": journal_is(
        lambda raw: raw + encode({"study_id": "stranger"}), "no record of a study of this run"
    ),
    "journal: another bundle": journal_of_another_bundle,
    "journal: in use": journal_locked,
    "disk full from the start": full_disk(4096, EXIT_DATA),
    "disk full at the end": full_disk(28672, EXIT_DATA),
    "nowhere to write": no_folder_to_write,
    "little memory": little_memory,
    "reader killed": readers("dies", "reader_died"),
    "reader aborts": readers("aborts", "reader_died"),
    "reader hangs": readers("hangs", "reader_hung"),
    "reader stopped": readers("stops", "reader_hung"),
    "reader raises": readers("raises", "reader_error"),
    "reader devours memory": readers("devours", "out_of_memory"),
    "no reader process": no_processes,
    "standard error closed": closed("2>&-"),
    "pipe whose reader left": closed("2>&1 | true; exit ${PIPESTATUS[0]}"),
    "no network": no_network,
}
