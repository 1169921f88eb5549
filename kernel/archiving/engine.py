"""The protocol of engines: workers that start, return rows and die."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from archiving.study_index import IndexedStudy
from archiving.study_rows import StudyRows


@dataclass(frozen=True)
class Ready:
    """A worker has loaded the bundle.

    Attributes:
        facts: Its part of the archive's identity, and the name of its host.
    """

    facts: dict


@dataclass(frozen=True)
class Died:
    """A worker is gone, or could not start."""

    why: str


Message = Ready | StudyRows | Died


class Engine(Protocol):
    """Starts workers and carries studies and rows. The driver alone decides who grades what.

    Attributes:
        workers: How many the driver should keep at work.
    """

    workers: int

    def hire(self) -> int:
        """Start a worker and return its number, which no other has had."""
        ...

    def give(self, worker: int, studies: Sequence[IndexedStudy]) -> None:
        """Send studies to a worker; if it is dead, a ``Died`` follows."""
        ...

    def messages(self, seconds: float) -> list[tuple[int, Message]]:
        """Return what came from workers; wait at most some seconds for the first."""
        ...

    def end(self, worker: int) -> None:
        """Kill a worker; no message of it follows."""
        ...

    def close(self) -> None:
        """Kill all workers."""
        ...
