"""Reader processes that die, hang, stop and fail; every study comes back once, whatever they do."""

import multiprocessing
import os
import signal
import struct
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import pytest

from lumbar.reading.references import SeriesRef, StudyRef
from lumbar.reading.study import Study
from lumbar.run import read_ahead as readers
from lumbar.run import reader_process
from lumbar.run.read_ahead import read_ahead
from lumbar.run.reader_process import Job, Unreadable, Worker, limit_waits
from lumbar.run.shared_study import SharedStudy

LITTLE = 2.0  # seconds a series before a reader counts as hung


def ref(study_id: str) -> StudyRef:
    return StudyRef(study_id, (SeriesRef("1", Path("nowhere"), "Axial T2"),))


def act(study: StudyRef, marks: Path) -> Study:
    """Act as the study's id names, ``once`` only the first time; else return it."""
    kind = study.study_id.split("-")[0]
    mark = marks / study.study_id
    again = mark.exists()
    mark.touch()
    if "once" in study.study_id and again:
        return Study(study.study_id)
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exits":
        os._exit(7)
    if kind == "hangs":
        time.sleep(3600)
    if kind == "raises":
        raise RuntimeError("on purpose")
    if kind == "memory":
        raise MemoryError
    return Study(study.study_id)


def read(tmp_path: Path, ids: list[str], workers: int = 2) -> dict[str, object]:
    studies = [ref(study_id) for study_id in ids]
    answers = list(read_ahead(studies, workers, partial(act, marks=tmp_path), LITTLE))
    assert sorted(one.study_id for one, _ in answers) == sorted(ids)
    return {one.study_id: opened(answer) for one, answer in answers}


def opened(answer: SharedStudy | Unreadable) -> Study | Unreadable:
    if isinstance(answer, Unreadable):
        return answer
    with answer:
        return answer.open()


def test_every_study_comes_back_once_whatever_readers_do(tmp_path):
    """Deaths, hangs and errors among healthy studies; those that happen once are made good."""
    healthy = [f"healthy-{n}" for n in range(6)]
    once = ["dies-once", "exits-once", "hangs-once"]
    bad = {"dies-1": "reader_died", "exits-1": "reader_died", "hangs-1": "reader_hung"}
    bad |= {"raises-1": "reader_error", "memory-1": "out_of_memory"}
    answers = read(tmp_path, [*bad, *healthy, *once])
    for study_id in (*healthy, *once):
        assert answers[study_id] == Study(study_id)
    for study_id, reason in bad.items():
        assert isinstance(answers[study_id], Unreadable), study_id
        assert answers[study_id].reason == reason
    assert "RuntimeError: on purpose" in answers["raises-1"].message


def test_reading_runs_ahead_and_no_further(tmp_path):
    """While one study is worked on, each worker reads one more, and only one."""
    studies = [ref(f"healthy-{n}") for n in range(8)]
    answers = read_ahead(studies, 1, partial(act, marks=tmp_path))
    next(answers)
    end = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == 2
    answers.close()


def test_no_more_workers_than_studies(tmp_path, monkeypatch):
    hired = []
    worker = readers.Worker
    monkeypatch.setattr(readers, "Worker", lambda *args: hired.append(worker(*args)) or hired[-1])
    assert len(read(tmp_path, ["healthy-1"], workers=5)) == 1
    assert len(hired) == 1
    assert not hired[0].process.is_alive()


def test_without_studies_nothing_starts(tmp_path):
    assert read(tmp_path, []) == {}


def test_half_an_answer_is_not_waited_for(monkeypatch):
    """The wait for a worker that stops in the middle of its answer ends, and the worker with it."""
    monkeypatch.setattr(reader_process, "SECONDS_TO_ANSWER", 0.2)
    ours, theirs = multiprocessing.Pipe()
    os.write(theirs.fileno(), struct.pack("!i", 1000) + b"the beginning")
    _, answer = stopped_worker(ours, Job(ref("1"))).finish()
    assert answer == Unreadable("reader_died", "exit status -9")


def stopped_worker(connection: Connection, job: Job | None) -> Worker:
    """Return a worker that does nothing, at the other end of a pipe."""
    worker = Worker.__new__(Worker)
    worker.process = SimpleNamespace(kill=lambda: None, join=lambda _: None, exitcode=-9)
    worker.connection, worker.job, worker.started = connection, job, True
    limit_waits(connection)
    return worker


def test_a_worker_that_stopped_while_idle_is_not_waited_for(monkeypatch):
    """It takes no study from its pipe, which is soon full."""
    monkeypatch.setattr(reader_process, "SECONDS_TO_ANSWER", 0.2)
    ours, theirs = multiprocessing.Pipe()
    worker = stopped_worker(ours, None)
    worker.start(Job(ref("1" * 10**7)), LITTLE)
    assert worker.finish()[1] == Unreadable("reader_hung", f"no answer in {LITTLE:.0f} s")
    theirs.close()


@pytest.mark.parametrize("error", [OSError, MemoryError])
def test_if_a_further_process_is_refused_the_others_go_on(tmp_path, monkeypatch, caplog, error):
    worker, refused = readers.Worker, []

    def hire(*arguments):
        if refused:
            raise error("on purpose")
        refused.append(1)
        return worker(*arguments)

    monkeypatch.setattr(readers, "Worker", hire)
    assert len(read(tmp_path, ["healthy-1", "healthy-2"])) == 2
    assert "1 readers go on" in caplog.text


def test_where_no_process_starts_studies_are_read_here(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(readers, "Worker", refuse)
    answers = read(tmp_path, ["healthy-1", "raises-1"])
    assert answers["healthy-1"] == Study("healthy-1")
    assert answers["raises-1"].reason == "reader_error"
    assert "read in this process" in caplog.text


@pytest.mark.parametrize("workers", [1, 4])
def test_a_reader_has_a_share_of_the_memory(workers):
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert readers.worker_memory(workers) == max(readers.LEAST_MEMORY, physical // (workers + 1))
