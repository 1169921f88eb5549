"""A process that reads studies, and the pipe to it.

A worker reads one study and holds it until the parent takes it. Volumes lie in memory that both map
(``shared_study``). Pickles of the rest travel only through the pipe between a worker and its parent. Nothing of a file
is ever unpickled.
"""

import contextlib
import logging
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path

from lumbar.reading.references import StudyRef
from lumbar.reading.sources.spool import remove_abandoned
from lumbar.reading.study import Study
from lumbar.run.shared_study import SharedStudy, socket_of

logger = logging.getLogger(__name__)

SECONDS_TO_START = 120.0  # for a process to import its modules from a cold disk
SECONDS_PER_STUDY = 600.0  # at most, however many series its table claims
SERIES_OF_A_STUDY = 20  # of one that its reader fetches and lists: so it has SECONDS_PER_STUDY
SECONDS_TO_ANSWER = 60.0  # between two parts of an answer; handing a study over takes below 1
SECONDS_TO_DIE = 5.0  # after a kill; a process that waits for a broken disk can take forever


@dataclass(frozen=True)
class Unreadable:
    """A study that no worker brought back.

    Attributes:
        reason: ``reader_died``, ``reader_hung``, ``reader_error`` or ``out_of_memory``.
        message: Exit status, seconds or the error's text.
    """

    reason: str
    message: str


@dataclass
class Job:
    """A study to be read, how often it was tried, and when its worker has to be done with it."""

    study: StudyRef
    tries: int = 0
    seconds: float = 0.0
    deadline: float = 0.0


class Worker:
    """One reader process and the pipe to it."""

    def __init__(self, context: SpawnContext, read: Callable, memory: int):
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, read, memory), daemon=True)
        try:
            self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()
        limit_waits(self.connection)
        self.job: Job | None = None
        self.started = False

    def alive(self) -> bool:
        return self.process.is_alive() or self.job is not None

    def start(self, job: Job, seconds_per_series: float) -> None:
        job.tries += 1
        series = len(job.study.series) or (SERIES_OF_A_STUDY if job.study.location else 1)
        job.seconds = min(seconds_per_series * series, SECONDS_PER_STUDY)
        job.deadline = time.monotonic() + job.seconds + (0 if self.started else SECONDS_TO_START)
        self.job = job
        with contextlib.suppress(OSError):  # it died or stopped while idle, which ``finish`` finds out too
            self.connection.send(job.study)

    def finish(self) -> tuple[Job, SharedStudy | Unreadable] | None:
        """Take the answer; a worker that died or hangs is stopped, and that is the answer.

        None if the worker only reports that it has started: its study's time counts from now on.
        """
        job, self.job = self.job, None
        if job is None:  # an idle worker has no answer
            return None
        if not self.connection.poll():
            self.stop()
            return job, Unreadable("reader_hung", f"no answer in {job.seconds:.0f} s")
        try:
            answer = self.connection.recv()
            if isinstance(answer, tuple):
                answer = SharedStudy.receive(answer, self.connection)
        except MemoryError:
            self.stop()  # with the rest of the answer still in its pipe
            return job, Unreadable("out_of_memory", "the study does not fit into memory")
        except (EOFError, OSError):  # the latter also for half an answer, see ``limit_waits``
            self.stop()
            return job, Unreadable("reader_died", f"exit status {self.process.exitcode}")
        if answer is not None:
            return job, answer
        self.started, self.job = True, job
        job.deadline = time.monotonic() + job.seconds
        return None

    def stop(self) -> None:
        self.process.kill()
        self.process.join(SECONDS_TO_DIE)
        self.connection.close()
        remove_abandoned()


def limit_waits(connection: Connection) -> None:
    """Let the system end a wait for the other end of a pipe after ``SECONDS_TO_ANSWER``, with an OSError.

    A worker that stops amid an answer would otherwise be waited for forever. The system's limit needs neither a
    thread nor memory: Python waits forever for a thread to start when memory is short.
    """
    # C's timeval: seconds and microseconds.
    limit = struct.pack("ll", *divmod(int(SECONDS_TO_ANSWER * 1e6), 10**6))
    with socket_of(connection) as channel:
        for wait in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            channel.setsockopt(socket.SOL_SOCKET, wait, limit)


def serve(connection: Connection, read: Callable[[StudyRef], Study], memory: int) -> None:
    """Read the studies that the parent sends, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    limit_memory(memory)
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        connection.send(None)
        while True:
            study = connection.recv()
            answer = attempt(read, study)
            if isinstance(answer, SharedStudy):
                with answer:
                    answer.send(connection)
            else:
                connection.send(answer)


def attempt(read: Callable[[StudyRef], Study], study: StudyRef) -> SharedStudy | Unreadable:
    """Read a study; whatever its files provoke makes it unreadable, with the error's text."""
    try:
        return SharedStudy.of(read(study))
    except Exception as error:
        logger.exception("study %s: not read", study.study_id)
        memory = isinstance(error, MemoryError) or "Insufficient memory" in str(
            error
        )  # the latter is OpenCV's
        reason = "out_of_memory" if memory else "reader_error"
        return Unreadable(reason, f"{type(error).__name__}: {error}")


def limit_memory(memory: int) -> None:
    """Let a study that is too big fail in its worker, and let the system kill workers before the parent."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    with contextlib.suppress(OSError, ValueError):  # a stricter limit was set from outside
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    with contextlib.suppress(OSError):  # only Linux has it
        Path("/proc/self/oom_score_adj").write_text("500")
