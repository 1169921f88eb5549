"""Studies that were read and wait: a thread has them read into the room there is, consumers take what waits."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from lumbar.reading.references import StudyRef
from lumbar.run.reader_process import SECONDS_TO_ANSWER, Unreadable
from lumbar.run.shared_study import SharedStudy

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 1.0  # at a queue without a notice of a change
SECONDS_TO_END = SECONDS_TO_ANSWER + 30.0  # for the reading, once nobody wants studies

Waiting = tuple[StudyRef, SharedStudy | Unreadable]


class WaitingStudies:
    """A queue between the readers and the consumers, which measures who waits for whom.

    Attributes:
        consumers: How many share what waits.
        seconds_without_studies: Seconds that consumers waited for a study, together, after the first one came.
        first_taken: When the first study was taken, on the clock of ``time.monotonic``; 0: not yet.
        seconds_without_room: Seconds that the readers waited for room, after the first study was taken.
    """

    def __init__(
        self,
        read: Callable[[Callable[[], bool]], Iterable[Waiting]],
        room: int,
        consumers: int = 1,
    ):
        """Begin to read.

        Args:
            read: Yields studies until the queue is closed. It is given a function that returns whether it is.
            room: Studies that may wait here; each reader holds one more.
            consumers: How many will take from here.
        """
        self.room = room
        self.consumers = consumers
        self.seconds_without_studies = self.seconds_without_room = 0.0
        self.waiting: deque[Waiting] = deque()
        self.changed = threading.Condition()
        self.first_taken = 0.0
        self.ended = self.closed = False
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.fill, args=(read,), name="reading", daemon=True)
        self.thread.start()

    def fill(self, read: Callable[[Callable[[], bool]], Iterable[Waiting]]) -> None:
        """Let studies be read, whenever there is room for one."""
        try:
            for study in read(lambda: self.closed):
                with self.changed:
                    started = time.monotonic()
                    self.changed.wait_for(lambda: len(self.waiting) < self.room or self.closed)
                    if self.first_taken:  # devices still start until then
                        self.seconds_without_room += time.monotonic() - max(started, self.first_taken)
                    self.waiting.append(study)
                    self.changed.notify_all()
        except BaseException as error:
            self.error = error
        self.ended = True  # before the notice, for which there may be no memory
        with self.changed:
            self.changed.notify_all()

    def take(self, most: int) -> list[Waiting]:
        """Wait for a study, and take it and others that wait; none: all are taken.

        A consumer takes its share of what waits, so that none is idle at the end.
        """
        with self.changed:
            started = time.monotonic()
            while not self.changed.wait_for(lambda: self.waiting or self.ended, SECONDS_BETWEEN_LOOKS):
                pass
            if self.first_taken:
                self.seconds_without_studies += time.monotonic() - started
            else:
                self.first_taken = time.monotonic()
            if self.error:
                raise self.error
            number = min(most, math.ceil(len(self.waiting) / self.consumers))
            taken = [self.waiting.popleft() for _ in range(number)]
            self.changed.notify_all()
        return taken

    def give_back(self, studies: Iterable[Waiting]) -> None:
        """Put studies back that were taken and not graded; they are the next ones."""
        with self.changed:
            self.waiting.extendleft(reversed(list(studies)))
            self.changed.notify_all()

    def any_left(self) -> bool:
        """Return whether a study waits or is still to be read."""
        return bool(self.waiting) or not self.ended

    def waits(self) -> dict[str, float]:
        """Return the seconds that a consumer waited for studies, and the readers for consumers."""
        return {
            "devices": self.seconds_without_studies / self.consumers,
            "readers": self.seconds_without_room,
        }

    def any_waits(self) -> bool:
        """Return whether a study can be taken without waiting."""
        return bool(self.waiting) or self.ended

    def close(self) -> None:
        """End the readers and drop what waits."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self.thread.join(SECONDS_TO_END)
        if self.thread.is_alive():
            logger.error("readers: they did not end within %.0f s; they end with the process", SECONDS_TO_END)
        for _, study in self.waiting:
            if isinstance(study, SharedStudy):
                study.close()
        self.waiting.clear()
