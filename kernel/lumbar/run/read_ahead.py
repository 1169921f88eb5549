"""Worker processes that read studies ahead of the networks, and are replaced if a file kills one.

Each worker reads one study and holds it until the parent takes it, so memory does not grow with the number of
studies. A worker that dies or hangs is replaced and its study read once more; then it counts as unreadable.
Volumes lie in memory that both map (``shared_study``). Pickles of the rest travel only through the pipe between a
worker and its parent. Nothing of a file is ever unpickled.
"""

import contextlib
import logging
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from pathlib import Path

from lumbar.reading.references import StudyRef
from lumbar.reading.sources.spool import remove_abandoned
from lumbar.reading.study import Study, read_study
from lumbar.run.shared_study import SharedStudy
from lumbar.run.study_inbox import StudyInbox

logger = logging.getLogger(__name__)

SECONDS_PER_SERIES = 30.0  # a healthy one takes below 1
SECONDS_TO_START = 120.0  # for a process to import its modules from a cold disk
SECONDS_PER_STUDY = 600.0  # at most, however many series its table claims
SERIES_OF_A_STUDY = 20  # of one that its reader fetches and lists: so it has SECONDS_PER_STUDY
SECONDS_TO_ANSWER = 60.0  # to hand a study over, which takes below 1
SECONDS_TO_DIE = 5.0  # after a kill; a process that waits for a broken disk can take forever
SECONDS_BETWEEN_LOOKS = 0.2  # whether nobody wants studies any more
TRIES = 2
RETRIED = ("reader_died", "reader_hung")  # another worker may succeed
MOST_READERS = 16  # more do not keep a card busier, and each takes up to 0.5 GB
READERS_BESIDE_CPU = 4  # where the networks compute on the same cores
LEAST_MEMORY = 4 * 2**30  # bytes of data for a worker, which starts with below 1 GiB


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
        with contextlib.suppress(OSError):  # it died while idle: ``finish`` meets the broken pipe too
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
        # Half an answer would be waited for forever; once the worker is killed, the wait ends.
        watch = threading.Timer(SECONDS_TO_ANSWER, self.process.kill)
        watch.daemon = True
        watch.start()
        try:
            answer = self.connection.recv()
            if isinstance(answer, tuple):
                answer = SharedStudy.receive(answer, self.connection)
        except MemoryError:
            self.stop()  # with the rest of the answer still in its pipe
            return job, Unreadable("out_of_memory", "the study does not fit into memory")
        except (EOFError, OSError):
            self.stop()
            return job, Unreadable("reader_died", f"exit status {self.process.exitcode}")
        finally:
            watch.cancel()
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


def readers_for(consumers: int, on_cpu: bool) -> int:
    """Return how many readers keep consumers busy: beside cards all cores but one per card, beside a CPU a few."""
    cores = os.cpu_count() or 1
    return max(1, min(cores - consumers, READERS_BESIDE_CPU if on_cpu else MOST_READERS))


def worker_memory(workers: int) -> int:
    """Return the bytes of data for each worker: equal shares of the memory, one for the parent."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(LEAST_MEMORY, physical // (workers + 1))


def read_ahead(
    studies: Iterable[StudyRef] | StudyInbox,
    workers: int,
    read: Callable[[StudyRef], Study] = read_study,
    seconds_per_series: float = SECONDS_PER_SERIES,
    closed: Callable[[], bool] = lambda: False,
) -> Generator[tuple[StudyRef, SharedStudy | Unreadable], None, None]:
    """Yield every study once, read or unreadable, in the order in which they become ready.

    Where the system refuses every process, studies are read in this one.

    Args:
        studies: Studies to read; of an inbox also those that come while others are read, until it is closed.
        workers: Processes, at least 1, each with at most one study in memory.
        read: Reads one study in a worker.
        seconds_per_series: After so many seconds per series of its study a worker counts as hung.
        closed: Is called every ``SECONDS_BETWEEN_LOOKS``; when it is true, no more is read.
    """
    if not isinstance(studies, StudyInbox):
        studies = StudyInbox(studies)
        studies.close()
    waiting: deque[Job] = deque()
    pool: list[Worker] = []
    remove_abandoned()  # of runs before, on a machine that stopped
    try:
        while not closed():
            idle = not waiting and not any(worker.job for worker in pool)
            if idle and studies.ended:
                return
            waiting.extend(Job(study) for study in studies.take(SECONDS_BETWEEN_LOOKS if idle else 0))
            pool = [worker for worker in pool if worker.alive()]
            hire(pool, workers, len(waiting), read)
            if not pool and waiting:
                study = waiting.popleft().study
                yield study, attempt(read, study)
                continue
            assign(pool, waiting, seconds_per_series)
            worker = first_ready(pool)
            finished = worker.finish() if worker else None
            if finished is None:
                continue
            job, answer = finished
            if isinstance(answer, Unreadable) and answer.reason in RETRIED and job.tries < TRIES:
                logger.warning(
                    "study %s: %s, %s; tried once more", job.study.study_id, answer.reason, answer.message
                )
                waiting.append(job)
                continue
            assign(pool, waiting, seconds_per_series)  # it reads on while this answer is worked on
            yield job.study, answer
    finally:
        for worker in pool:
            worker.stop()


def hire(pool: list[Worker], workers: int, waiting: int, read: Callable[[StudyRef], Study]) -> None:
    """Start workers until there are enough for the studies that wait, or the system refuses."""
    context = multiprocessing.get_context("spawn")  # a fork would copy CUDA's and OpenMP's state
    idle = sum(worker.job is None for worker in pool)
    for _ in range(min(workers - len(pool), waiting - idle)):
        try:
            pool.append(Worker(context, read, worker_memory(workers)))
        except OSError as error:
            where = f"{len(pool)} readers go on" if pool else "read in this process"
            logger.warning("readers: no further process can be started (%s); %s", error, where)
            return


def assign(pool: list[Worker], waiting: deque[Job], seconds_per_series: float) -> None:
    """Give a study to each idle worker."""
    for worker in pool:
        if waiting and worker.job is None and worker.alive():
            worker.start(waiting.popleft(), seconds_per_series)


def first_ready(pool: list[Worker]) -> Worker | None:
    """Wait until a worker has an answer, died or is past its deadline, and return it; None: look again."""
    busy = [(worker, worker.job.deadline) for worker in pool if worker.job]
    if not busy:
        return None
    patience = min(deadline for _, deadline in busy) - time.monotonic()
    ready = wait(
        [worker.connection for worker, _ in busy], timeout=min(max(0.0, patience), SECONDS_BETWEEN_LOOKS)
    )
    if ready:
        return next(worker for worker, _ in busy if worker.connection is ready[0])
    return next((worker for worker, deadline in busy if time.monotonic() >= deadline), None)
