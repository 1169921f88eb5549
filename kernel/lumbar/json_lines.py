"""A file of JSON lines that only grows: each line outlives a kill, and a line that a kill tore counts for nothing."""

import json
import os
from pathlib import Path

from lumbar.faults import DataNotFoundError


class JsonLines:
    """The entries of a file, and the place to append more; one process appends at a time.

    Attributes:
        entries: Of the file as it was opened.
    """

    def __init__(self, path: Path):
        """Read the file, if there is one.

        Raises:
            DataNotFoundError: A line is damaged that is not the last one.
        """
        self.path = path
        content = path.read_bytes() if path.is_file() else b""
        *lines, torn = content.split(b"\n")
        self.entries: list[dict] = []
        self.whole = len(content) - len(torn)  # bytes
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                if not isinstance(entry, dict):
                    raise TypeError("no object")
                self.entries.append(entry)
            except (ValueError, TypeError) as error:
                message = f"{path}: line {number} is damaged, expected a JSON object"
                raise DataNotFoundError(
                    f"{message}; delete the line: its event then counts as none"
                ) from error

    def append(self, entry: dict) -> None:
        """Add an entry, durably, after the last whole line.

        Raises:
            OSError: The file can't be written.
        """
        line = json.dumps(entry).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            file.truncate(self.whole)
            file.write(line)
            os.fsync(file.fileno())
        self.whole += len(line)
