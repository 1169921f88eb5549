"""Faults of a kernel's process: kills, signals, and damage to its journal."""

import fcntl
import signal
from collections.abc import Callable

import numpy as np

from lumbar.grading.study_record import StudyRecord
from lumbar.run.journal import encode
from tests.faults.cases import EXIT_DATA, EXIT_INTERRUPT, EXIT_TERMINATED, Case, Check
from tests.faults.study_runs import Stage
from tests.faults.study_set import HEALTHY


def killed_and_resumed(stage: Stage, rng: np.random.Generator) -> None:
    """kill -9 at any moment; the same command again gives the same file."""
    case = Case(stage)
    outcome = stage.starter.run(case.arguments, case.out, stop=(signal.SIGKILL, rng.uniform(0, 6)))
    assert outcome.status in (0, -signal.SIGKILL), outcome.log
    if case.out.joinpath("submission.csv").exists():
        case.rows()
    if outcome.status:
        case.run()
    case.finished()


def stopped_by(number: int, status: int) -> Check:
    """Return a check that a signal ends the kernel as is the convention, its file valid: at any moment, and
    then in the middle of a study."""

    def check(stage: Stage, rng: np.random.Generator) -> None:
        case = Case(stage)
        outcome = stage.starter.run(case.arguments, case.out, stop=(number, rng.uniform(0, 6)))
        early = outcome.status == -number and not case.out.joinpath("submission.csv").exists()
        assert early or outcome.status in (status, 0), f"status {outcome.status}\n{outcome.log[-2000:]}"
        if case.out.joinpath("submission.csv").exists():
            case.rows()
        case = Case(stage)
        case.stop(number, status)
        case.run()
        case.finished()

    return check


def resumed(stage: Stage, rng: np.random.Generator) -> None:
    """A study in the journal is not computed again: a member that would fail at a third is not run."""
    case = Case(stage)
    case.stop()
    outcome = case.run(patches={"signalled": [int(signal.SIGKILL), HEALTHY - 1]})
    assert "1 studies were finished before" in outcome.log, outcome.log
    assert outcome.run["studies"] == HEALTHY
    case.finished()


def journal_is(change: Callable[[bytes], bytes], logged: str) -> Check:
    """Return a check of a journal that was changed; ``logged`` empty: it is used all the same."""

    def check(stage: Stage, rng: np.random.Generator) -> None:
        case = Case(stage)
        case.stop()
        case.journal.write_bytes(change(case.journal.read_bytes()))
        before = case.rows()
        outcome = case.run(EXIT_DATA if logged else 0)
        if not logged:
            case.finished()
            return
        assert logged in outcome.log, outcome.log
        assert case.rows() == before, "the refused run changed the file"

    return check


def journal_of_another_bundle(stage: Stage, rng: np.random.Generator) -> None:
    case = Case(stage)
    case.stop()
    before = case.rows()
    outcome = case.run(EXIT_DATA, ("--bundle", stage.wide))
    assert "belongs to a run with other bundle" in outcome.log, outcome.log
    assert case.rows() == before


def journal_locked(stage: Stage, rng: np.random.Generator) -> None:
    """A second run with the same --out is refused while the first one lives."""
    case = Case(stage)
    case.stop()
    with case.journal.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another run" in case.run(EXIT_DATA).log


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
        lambda raw: raw + encode(StudyRecord("stranger").to_json()), "no record of a study of this run"
    ),
    "journal: an older version's record": journal_is(
        lambda raw: raw + encode({"study_id": "stranger"}), "got a record of version 1, expected version"
    ),
    "journal: another bundle": journal_of_another_bundle,
    "journal: in use": journal_locked,
}
