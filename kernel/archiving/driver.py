"""The driver: gives studies to workers, takes their rows, and finds the study over which workers die.

Each worker has at most two chunks in hand, so that its readers never wait for the driver. When a worker dies, all that
it had in hand is graded alone, one study per worker. A death with one study in hand is that study's. After so
many tries the study gets the prior (study_queue.py).
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from archiving.archive_folder import ArchiveError
from archiving.death_ledger import DeathLedger
from archiving.engine import Died, Engine, Ready
from archiving.parts import PartWriter
from archiving.study_index import IndexedStudy
from archiving.study_queue import REASON_DIED, REASON_HUNG, StudyQueue
from archiving.study_rows import StudyRows
from lumbar.grading.fallbacks import PRIOR

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_LINES = 60.0  # of the log
MOST_FAILED_STARTS = 5  # in a row
SECONDS_TO_NEXT_START = 2.0  # after one that failed; doubles with each


@dataclass(frozen=True)
class DriverSettings:
    """How studies are given out.

    Attributes:
        chunk: Studies that a worker gets at a time.
        tries: After so many deaths of workers a study gets the prior.
        study_seconds: A worker that gives no rows for so long is killed.
    """

    chunk: int = 16
    tries: int = 3
    study_seconds: float = 1800.0


@dataclass
class Hired:
    """A worker and the studies that it has in hand.

    Attributes:
        heard: When it last gave rows or was given studies, on the clock of ``time.monotonic``.
    """

    host: str = ""
    ready: bool = False
    heard: float = 0.0
    in_hand: dict[str, IndexedStudy] = field(default_factory=dict)


class Driver:
    """One run over the studies that are pending.

    Args:
        engine: Of workers.
        pending: Studies to grade, read as they are given out.
        total: How many there are.
        ledger: Of deaths, also of earlier runs.
        settings: How studies are given out.
        open_parts: Takes the facts of the first worker and returns the writer; later ones' facts must be equal.
    """

    def __init__(
        self,
        engine: Engine,
        pending: Iterator[IndexedStudy],
        total: int,
        ledger: DeathLedger,
        settings: DriverSettings,
        open_parts: Callable[[dict], PartWriter],
    ):
        self.engine = engine
        self.total = total
        self.ledger = ledger
        self.settings = settings
        self.queue = StudyQueue(pending, ledger, settings.chunk, settings.tries, self.commit)
        self.open_parts = open_parts
        self.parts: PartWriter | None = None
        self.workers: dict[int, Hired] = {}
        self.failed_starts = 0
        self.next_start = 0.0
        self.done = self.failed = 0
        self.started = self.told = time.monotonic()

    def run(self) -> None:
        """Grade all studies. On any error and on an interrupt, rows that have come are committed first.

        Raises:
            ArchiveError: No worker starts, a worker does not fit the archive, or the source is down.
            OSError: A part can't be written.
        """
        full = False
        try:
            while not self.finished():
                self.hire()
                self.give_out()
                for worker, message in self.engine.messages(SECONDS_BETWEEN_LOOKS):
                    self.take(worker, message)
                self.end_silent()
                if self.parts:
                    self.parts.flush_if_due()
                self.log_progress()
        except OSError:
            full = True
            raise
        finally:
            try:
                if self.parts and not full:
                    self.parts.flush()
            finally:
                self.engine.close()

    def finished(self) -> bool:
        return self.queue.empty and not any(hired.in_hand for hired in self.workers.values())

    def hire(self) -> None:
        """Keep as many workers as the engine has room for, while there is work for another."""
        wanted = not self.queue.empty or not self.workers
        while wanted and len(self.workers) < self.engine.workers and time.monotonic() >= self.next_start:
            self.workers[self.engine.hire()] = Hired()

    def give_out(self) -> None:
        """Refill the workers."""
        for worker, hired in self.workers.items():
            if not hired.ready or len(hired.in_hand) > self.settings.chunk:
                continue
            if studies := self.queue.next_for(idle=not hired.in_hand):
                if not hired.in_hand:
                    hired.heard = time.monotonic()
                hired.in_hand |= {study.study_id: study for study in studies}
                self.engine.give(worker, studies)

    def take(self, worker: int, message: Ready | StudyRows | Died) -> None:
        """Handle a worker's message."""
        hired = self.workers.get(worker)
        if hired is None:  # of one that was ended
            return
        if isinstance(message, Died):
            self.bury(worker, message.why)
        elif isinstance(message, Ready):
            facts = dict(message.facts)
            hired.host = facts.pop("host", "")
            try:
                writer = self.open_parts(facts)
            except ArchiveError as error:
                raise ArchiveError(f"worker on {hired.host}: {error}") from error
            self.parts = self.parts or writer
            hired.ready, self.failed_starts, self.next_start = True, 0, 0.0
            hired.heard = time.monotonic()
            logger.info("worker %d is ready: %s", worker, hired.host)
        else:
            hired.heard = time.monotonic()
            study = hired.in_hand.pop(message.study_id, None)
            if study is not None and self.queue.fetched(study, message):
                self.commit(study, message)

    def commit(self, study: IndexedStudy, rows: StudyRows) -> None:
        """Put a study's rows among those to commit."""
        assert self.parts, "rows come after a worker is ready"
        self.parts.add(study.number, rows, self.ledger.tries[study.study_id])
        self.done += 1
        self.failed += rows.study["fallback"] == PRIOR

    def bury(self, worker: int, why: str, reason: str = REASON_DIED) -> None:
        """Give a dead worker's studies back."""
        hired = self.workers.pop(worker)
        self.engine.end(worker)
        lost = list(hired.in_hand.values())
        logger.warning("worker %d (%s): %s; %d studies in hand", worker, hired.host, why, len(lost))
        if not hired.ready:
            self.failed_starts += 1
            if self.failed_starts >= MOST_FAILED_STARTS and not any(w.ready for w in self.workers.values()):
                raise ArchiveError(f"no worker starts, {self.failed_starts} in a row failed; the last: {why}")
            pause = SECONDS_TO_NEXT_START * 2 ** min(self.failed_starts, 5)
            self.next_start = time.monotonic() + pause
        self.queue.put_back(lost, hired.host, why, reason)

    def end_silent(self) -> None:
        """Kill workers that have studies in hand and give no rows."""
        now = time.monotonic()
        for worker, hired in list(self.workers.items()):
            if hired.in_hand and now - hired.heard > self.settings.study_seconds:
                self.bury(worker, f"no rows in {self.settings.study_seconds:.0f} s", REASON_HUNG)

    def log_progress(self) -> None:
        """Log a line a minute."""
        now = time.monotonic()
        if now - self.told < SECONDS_BETWEEN_LINES:
            return
        self.told = now
        rate = self.done / (now - self.started)
        left = f"{(self.total - self.done) / rate / 3600:.1f} h left" if rate else "no study yet"
        ready = sum(hired.ready for hired in self.workers.values())
        logger.info(
            "%d of %d studies, %d without a grade, %d of %d workers, %.2f studies per second, %s",
            self.done,
            self.total,
            self.failed,
            ready,
            self.engine.workers,
            rate,
            left,
        )
