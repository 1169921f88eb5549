"""Worker processes that read studies ahead of the networks, and survive what a file can do to them.

Each worker reads one study and holds it until it is asked for, so memory does not grow with the number of
studies. A worker that dies or hangs is replaced and its study read once more; then it counts as unreadable.
"""

import contextlib
import logging
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from lumbar.studies import Study, StudyRef, read_study

logger = logging.getLogger(__name__)

SECONDS_PER_SERIES = 30.0  # a healthy one takes below 1
TRIES = 2


@dataclass(frozen=True)
class Unreadable:
    """A study that no worker brought back. reason: ``reader_died``, ``reader_hung`` or ``reader_error``."""

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

    def __init__(self, context: multiprocessing.context.BaseContext, read: Callable[[StudyRef], Study]):
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, read), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None

    def alive(self) -> bool:
        return self.process.is_alive() or self.job is not None

    def start(self, job: Job, seconds_per_series: float) -> None:
        job.tries += 1
        job.seconds = seconds_per_series * max(1, len(job.study.series))
        job.deadline = time.monotonic() + job.seconds
        self.job = job
        with contextlib.suppress(BrokenPipeError):  # it died while idle: ``finish`` meets the broken pipe too
            self.connection.send(job.study)

    def finish(self) -> tuple[Job, Study | Unreadable]:
        """Take the answer; a worker that died or hangs is stopped, and that is the answer."""
        job, self.job = self.job, None
        if not self.connection.poll():
            self.stop()
            return job, Unreadable("reader_hung", f"no answer in {job.seconds:.0f} s")
        try:
            return job, self.connection.recv()
        except (EOFError, OSError):
            self.stop()
            return job, Unreadable("reader_died", f"exit status {self.process.exitcode}")

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def serve(connection: Connection, read: Callable[[StudyRef], Study]) -> None:
    """Read studies as they are asked for, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            study = connection.recv()
        except EOFError:
            return
        try:
            answer = read(study)
        except (
            Exception
        ) as error:  # whatever a foreign file provoked: the study counts as unreadable, with this text
            answer = Unreadable("reader_error", f"{type(error).__name__}: {error}")
        connection.send(answer)


def read_ahead(
    studies: Iterable[StudyRef],
    workers: int,
    read: Callable[[StudyRef], Study] = read_study,
    seconds_per_series: float = SECONDS_PER_SERIES,
) -> Iterator[tuple[StudyRef, Study | Unreadable]]:
    """Yield every study once, read or unreadable, in the order in which they become ready.

    workers: processes, each with at most one study in memory. seconds_per_series: after that many for each
    series of a study its worker counts as hung.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy CUDA's and OpenMP's state
    waiting = deque(Job(study) for study in studies)
    pool: list[Worker] = []
    try:
        while waiting or any(worker.job for worker in pool):
            pool = [worker for worker in pool if worker.alive()]
            while waiting and len(pool) < workers:
                pool.append(Worker(context, read))
            for worker in pool:
                if worker.job is None and waiting:
                    worker.start(waiting.popleft(), seconds_per_series)
            for worker in first_ready(pool):
                job, answer = worker.finish()
                died_or_hung = isinstance(answer, Unreadable) and answer.reason != "reader_error"
                if died_or_hung and job.tries < TRIES:
                    logger.warning(
                        "study %s: %s, %s; tried once more", job.study.study_id, answer.reason, answer.message
                    )
                    waiting.append(job)
                else:
                    yield job.study, answer
    finally:
        for worker in pool:
            worker.stop()


def first_ready(pool: list[Worker]) -> list[Worker]:
    """Wait until workers have an answer, died or are past their deadline, and return those."""
    busy = {worker.connection: worker for worker in pool if worker.job}
    patience = min(worker.job.deadline for worker in busy.values()) - time.monotonic()
    ready = wait(list(busy), timeout=max(0.0, patience))
    if ready:
        return [busy[connection] for connection in ready]
    return [worker for worker in busy.values() if time.monotonic() >= worker.job.deadline]
