"""The studies that readers are to read, also while more of them come."""

import threading
from collections.abc import Iterable

from lumbar.reading.references import StudyRef


class StudyInbox:
    """A queue of studies to read; safe to fill from another thread."""

    def __init__(self, studies: Iterable[StudyRef] = ()):
        self.studies = list(studies)
        self.changed = threading.Condition()
        self.closed = False

    def put(self, studies: Iterable[StudyRef]) -> None:
        """Add studies."""
        with self.changed:
            self.studies += studies
            self.changed.notify_all()

    def close(self) -> None:
        """Announce that no study comes any more."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def take(self, seconds: float) -> list[StudyRef]:
        """Return all studies that came; if there are none, wait for one at most some seconds."""
        with self.changed:
            self.changed.wait_for(lambda: self.studies or self.closed, seconds)
            taken, self.studies = self.studies, []
        return taken

    @property
    def ended(self) -> bool:
        """Whether no study is left and none comes any more."""
        with self.changed:
            return self.closed and not self.studies
