"""The studies that wait for a worker: those of the index, those to try alone, and those to fetch once more."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from archiving.archive_folder import ArchiveError
from archiving.death_ledger import DeathLedger
from archiving.study_index import IndexedStudy
from archiving.study_rows import StudyRows, ungraded_rows

logger = logging.getLogger(__name__)

TRANSIENT = "not_fetched"  # a fault of the source, not of the study
MOST_UNFETCHED = 50  # in a row: the source is down
REASON_DIED, REASON_HUNG = "worker_died", "worker_hung"


class StudyQueue:
    """The studies of one run, in the order in which workers get them.

    Args:
        pending: Studies to grade, read as they are given out.
        ledger: Of deaths, also of earlier runs.
        chunk: Studies that a worker gets at a time.
        tries: Of a study over which workers die, and of one that is not fetched.
        give_up: Takes a study after its last try, and the rows that it gets then.
    """

    def __init__(
        self,
        pending: Iterator[IndexedStudy],
        ledger: DeathLedger,
        chunk: int,
        tries: int,
        give_up: Callable[[IndexedStudy, StudyRows], None],
    ):
        self.pending = pending
        self.ledger = ledger
        self.chunk = chunk
        self.tries = tries
        self.give_up = give_up
        self.exhausted = False
        self.alone: deque[IndexedStudy] = deque()
        self.again: deque[IndexedStudy] = deque()  # not fetched: tried once more in the end
        self.fetches: dict[str, int] = {}
        self.unfetched = 0  # in a row

    @property
    def empty(self) -> bool:
        """Whether no study waits."""
        return self.exhausted and not self.alone and not self.again

    def next_for(self, idle: bool) -> list[IndexedStudy]:
        """Return the next studies for one worker; while a study is to go alone, only an idle worker gets one."""
        if self.alone:
            return [self.alone.popleft()] if idle else []
        return self.next_chunk()

    def next_chunk(self) -> list[IndexedStudy]:
        """Return the next studies; those with a death behind them are put aside, to go alone."""
        while not self.exhausted:
            chunk = list(islice(self.pending, self.chunk))
            self.exhausted = len(chunk) < self.chunk
            suspects = [study for study in chunk if self.ledger.tries[study.study_id]]
            for study in suspects:
                self.try_alone(study, "died in an earlier run", REASON_DIED)
            if fine := [study for study in chunk if study not in suspects]:
                return fine
        return [self.again.popleft() for _ in range(min(len(self.again), self.chunk))]

    def put_back(self, lost: list[IndexedStudy], worker: str, why: str, reason: str) -> None:
        """Take the studies that a worker had in hand when it died; one alone is the one to blame."""
        if len(lost) == 1:
            self.ledger.add(lost[0].study_id, worker, why)
        for study in lost:
            self.try_alone(study, why, reason)

    def try_alone(self, study: IndexedStudy, why: str, reason: str) -> None:
        """Let a study go alone, or give it up after its last try."""
        deaths = self.ledger.tries[study.study_id]
        if deaths < self.tries:
            self.alone.append(study)
            return
        message = f"{deaths} workers ended with this study in hand; the last: {why}"
        logger.error("study %s: %s; it gets the prior", study.study_id, message)
        self.give_up(study, ungraded_rows(study.study_id, reason, message))

    def fetched(self, study: IndexedStudy, rows: StudyRows) -> bool:
        """Return whether rows are a study's last; False: it was not fetched and is tried again in the end.

        Raises:
            ArchiveError: So many studies in a row were not fetched that their source must be down.
        """
        messages = [fault["message"] for fault in rows.study["faults"] if fault["reason"] == TRANSIENT]
        if not messages:
            self.unfetched = 0
            return True
        self.unfetched += 1
        if self.unfetched >= MOST_UNFETCHED:
            message = f"the last {self.unfetched} studies could not be fetched. The last one: {messages[-1]}"
            raise ArchiveError(f"{message}; check the source, and run the same command again")
        tries = self.fetches[study.study_id] = self.fetches.get(study.study_id, 0) + 1
        if tries < self.tries:
            self.again.append(study)
        return tries >= self.tries
