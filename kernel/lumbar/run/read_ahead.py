"""Worker processes that read studies ahead of the networks, and are replaced if a file kills one.

Each worker reads one study and holds it until the parent takes it, so memory does not grow with the number of
studies. A worker that dies or hangs is replaced and its study read once more; then it counts as unreadable.
"""

import logging
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from multiprocessing.connection import wait

from lumbar.reading.references import StudyRef
from lumbar.reading.sources.spool import remove_abandoned
from lumbar.reading.study import Study, read_study
from lumbar.run.reader_process import Job, Unreadable, Worker, attempt
from lumbar.run.shared_study import SharedStudy
from lumbar.run.study_inbox import StudyInbox

logger = logging.getLogger(__name__)

SECONDS_PER_SERIES = 30.0  # a healthy one takes below 1
SECONDS_BETWEEN_LOOKS = 0.2  # whether nobody wants studies any more
TRIES = 2
RETRIED = ("reader_died", "reader_hung")  # another worker may succeed
MOST_READERS = 16  # more do not keep a card busier, and each takes up to 0.5 GB
READERS_BESIDE_CPU = 4  # where the networks compute on the same cores
LEAST_MEMORY = 4 * 2**30  # bytes of data for a worker, which starts with below 1 GiB


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
        except (OSError, MemoryError) as error:
            where = f"{len(pool)} readers go on" if pool else "read in this process"
            logger.warning("readers: no further process can be started (%r); %s", error, where)
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
