"""Finished studies on disk, so that the same command after a kill goes on where it stopped.

One line a study, appended and flushed: a CRC-32 and the JSON it covers. The first line names the run
(bundle, data, precision, options); a journal of another run is refused, a torn last line is ignored.
"""

import contextlib
import json
import logging
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from lumbar.atomic_files import lock_file
from lumbar.grading.study_record import RecordError, StudyRecord

logger = logging.getLogger(__name__)


class JournalError(Exception):
    """A journal, or another file of a run, that does not belong to this run, is in use, or is damaged in the middle."""


class Journal:
    """Append-only records of finished studies; the file is locked while this object is open.

    Args:
        run: The facts that must be equal for records to be reused.
        studies: The ids that a record may have.

    Raises:
        JournalError: The file is another run's or another version's, in use, or damaged before its last line.
    """

    def __init__(self, path: Path, run: dict, studies: set[str]):
        self.path = path
        self.studies = studies
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: the rest of a failed write would stay in a buffer and follow the next one into the file.
        self.file = path.open("r+b" if path.is_file() else "w+b", buffering=0)
        try:
            self.lock()
            self.size = self.check(run)
        except BaseException:
            self.file.close()
            raise
        self.complete = True
        self.file.truncate(self.size)
        if not self.size:
            self.write({"run": run})

    def lock(self) -> None:
        try:
            lock_file(self.file)
        except BlockingIOError as error:
            message = f"{self.path}: another run is writing it; wait for it, or give another --out"
            raise JournalError(message) from error

    def check(self, run: dict) -> int:
        """Return the bytes of the whole lines; JournalError if they are not this run's."""
        size, damaged, changed = 0, None, []
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if damaged:
                    raise JournalError(
                        f"{self.path}: line {damaged} is damaged; delete the file to start anew"
                    )
                content = decode(line)
                if content is None:
                    damaged = number  # the last line may be torn: a kill in the middle of a write
                    continue
                if number == 1 and isinstance(found := content.get("run"), dict):
                    changed = sorted(
                        key for key in run.keys() | found.keys() if run.get(key) != found.get(key)
                    )
                else:
                    self.check_record(number, content, changed)
                size += len(line)
        return 0 if changed else size  # another run's that holds no study yet is no loss

    def check_record(self, number: int, content: dict, changed: list[str]) -> None:
        """Raise JournalError if a line holds no record of this version, of this run and of its studies.

        Args:
            number: Of the line, from 1.
            changed: What of the run is not as the journal's first line has it.
        """
        remedy = "delete it to start anew, or give another --out"
        try:
            record = StudyRecord.from_json(content)
        except RecordError as error:
            message = f"{self.path}: line {number} is no record that this version reads: {error}"
            raise JournalError(f"{message}; {remedy}") from error
        if changed:
            message = f"{self.path}: belongs to a run with other {', '.join(changed)}"
            raise JournalError(f"{message}; {remedy}")
        if number == 1 or record.study_id not in self.studies:
            message = f"{self.path}: line {number} is no record of a study of this run"
            raise JournalError(f"{message}; {remedy}")

    def append(self, record: StudyRecord) -> None:
        """Add a record, whole or not at all.

        On a write error the record is lost, the run continues, and one error is logged. The file then ends where
        it did, and ``complete`` is false.
        """
        self.write(record.to_json())

    def write(self, content: dict) -> None:
        """Add a line as ``append`` does."""
        line = encode(content)
        try:
            with memoryview(line) as rest:
                self.file.seek(self.size)
                while rest:
                    rest = rest[self.file.write(rest) :]
            os.fsync(self.file.fileno())
            self.size += len(line)
        except OSError as error:
            if self.complete:
                logger.error(
                    "%s: %s; after a kill, studies without a record are graded again", self.path, error
                )
            self.complete = False
            with contextlib.suppress(OSError):  # a torn last line is ignored at the next start too
                self.file.truncate(self.size)

    def records(self) -> Iterator[StudyRecord]:
        """Yield the studies' records from the file, one in memory at a time."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                content = decode(line)
                if number and content is not None:
                    yield StudyRecord.from_json(content)

    def close(self) -> None:
        self.file.close()

    def discard(self) -> None:
        """Remove the journal: the run has ended and its results are written."""
        self.path.unlink(missing_ok=True)
        self.close()


def encode(content: dict) -> bytes:
    body = json.dumps(content, allow_nan=False, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode(line: bytes) -> dict | None:
    """Return the content of a line with its newline; None if the line is torn or damaged."""
    checksum, _, body = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
