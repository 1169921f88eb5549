"""Finished studies on disk, so that the same command after a kill goes on where it stopped.

One line a study, appended and flushed: a CRC-32 and the JSON it covers. The first line names the run
(bundle, precision, options); a journal of another run is refused, a torn last line is ignored.
"""

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path


class JournalError(Exception):
    """A journal that does not belong to this run or is damaged in the middle."""


class Journal:
    """Append-only records of finished studies.

    run: what must be equal for records to be reused. ``finished`` holds the records found, by study id.
    Raises JournalError if the file is another run's, or damaged before its last line.
    """

    def __init__(self, path: Path, run: dict):
        self.path = path
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
        records = [decode(line) for line in lines[:-1]]  # what follows the last newline is torn, or empty
        if None in records[:-1]:
            raise JournalError(
                f"{path}: line {records.index(None) + 1} is damaged; delete the file to start anew"
            )
        whole = [record for record in records if record is not None]
        if whole and whole[0] != {"run": run}:
            found = whole[0].get("run", {})
            changed = sorted(k for k in run.keys() | found.keys() if run.get(k) != found.get(k))
            raise JournalError(
                f"{path}: belongs to a run with other {', '.join(changed)}; "
                "delete it to start anew, or give another --out"
            )
        self.finished = {record["study_id"]: record for record in whole[1:]}
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = sum(len(line) + 1 for line in lines[: len(whole)])
        self.file = path.open("r+b" if path.is_file() else "w+b")
        self.file.truncate(kept)
        self.file.seek(kept)
        if not whole:
            self.append({"run": run})

    def append(self, record: dict) -> None:
        self.file.write(encode(record))
        self.file.flush()
        os.fsync(self.file.fileno())

    def close(self) -> None:
        self.file.close()

    def discard(self) -> None:
        """Remove the journal: the run has ended and its results are written."""
        self.close()
        self.path.unlink()


def read_records(path: Path) -> Iterator[dict]:
    """Yield the studies' records of a journal that this process wrote, one at a time."""
    with path.open("rb") as file:
        next(file)  # the run
        for line in file:
            yield decode(line.rstrip(b"\n"))


def encode(record: dict) -> bytes:
    body = json.dumps(record, allow_nan=False, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode(line: bytes) -> dict | None:
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    return json.loads(body)
