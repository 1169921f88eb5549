"""Faults of the machine around a kernel: disks, memory, readers, standard streams, the network."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.faults.cases import ANY_SHARE, EXIT_DATA, EXIT_FALLBACKS, EXIT_USAGE, Case, Check
from tests.faults.checks import fallback_of, reasons_of, study_lines
from tests.faults.kernels import run_command
from tests.faults.study_runs import PRIOR_LINE, Stage

ENOUGH_MEMORY = 450  # MiB, for a healthy study; torch 2.14 needs over 300
TOO_MANY_SLICES = 1900  # 475 MiB; a series has at most ``MAX_FRAMES``


def full_disk(size: int, status: int) -> Check:
    """Return a check with a disk of that many bytes: a tiny file system for root, else a bound on files."""

    def check(stage: Stage, rng: np.random.Generator) -> None:
        case = Case(stage, more=tuple(f"more-{n}" for n in range(3)))
        case.out.mkdir()
        with tiny_disk(case.out, size) as patches:
            outcome = case.run(status, patches=patches | {"write_often": []})
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
    case.run(EXIT_USAGE)
    assert not list(case.out.glob(".submission*")), "something was left beside it"


def little_memory(stage: Stage, rng: np.random.Generator) -> None:
    """A study too big for the memory gets the prior, the others their rows.

    Its first large array alone, 1,900 slices of ``DETECTOR_GRID`` in float32, exceeds the memory left. If it fitted, a
    small allocation could be the first to fail, and there oneDNN of torch 2.8 crashes.
    """
    case = Case(stage, more=("big",))
    folder = case.competition.studies[-1].folder / "1"
    first = min(folder.iterdir())
    for number in range(100, 100 + TOO_MANY_SLICES):
        os.link(first, folder / f"{number}.dcm")
    outcome = case.run(EXIT_FALLBACKS, patches={"little_memory": [ENOUGH_MEMORY]})
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
        outcome = case.run(0, ANY_SHARE, patches={"bad_readers": [str(marks)]})
        assert reasons_of(outcome.run, f"{kind}-1") == {reason}, outcome.run["faults"]
        rows = case.finished()
        assert set(study_lines(rows, f"{kind}-1")) == {PRIOR_LINE}
        if reason in ("reader_died", "reader_hung"):
            assert study_lines(rows, f"{kind}_once-1") == stage.healthy[0]
            assert not fallback_of(outcome.run, f"{kind}_once-1")

    return check


def no_processes(stage: Stage, rng: np.random.Generator) -> None:
    case = Case(stage)
    outcome = case.run()
    assert "read in this process" in outcome.log
    case.finished()


def no_further_threads(stage: Stage, rng: np.random.Generator) -> None:
    case = Case(stage)
    case.run(patches={"no_further_threads": []})
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


MACHINE_FAULTS: dict[str, Check] = {
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
    "no further thread": no_further_threads,
    "standard error closed": closed("2>&-"),
    "pipe whose reader left": closed("2>&1 | true; exit ${PIPESTATUS[0]}"),
    "no network": no_network,
}
