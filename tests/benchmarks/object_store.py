"""The bytes of Ray's object store that were ever used, while a block runs."""

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS_BETWEEN_LOOKS = 0.2
BLOCK = 512  # bytes that st_blocks counts in


@dataclass
class StorePeak:
    """The peak of the store that this process started.

    Attributes:
        bytes: Of shared memory. The store gives nothing back, so that a look rarely misses a peak.
        looks: How often a store was there.
    """

    bytes: int = 0
    looks: int = 0


@contextmanager
def watched_store(running: bool = True) -> Iterator[StorePeak]:
    """Yield the peak, which grows inside the block.

    Args:
        running: False watches nothing, for engines without a store.
    """
    peak, ended = StorePeak(), threading.Event()
    watcher = threading.Thread(target=watch, args=(peak, ended))
    if running:
        watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        if running:
            watcher.join()


def watch(peak: StorePeak, ended: threading.Event) -> None:
    """Look at the store until the event."""
    while not ended.wait(SECONDS_BETWEEN_LOOKS):
        if found := store_files():
            peak.bytes = max(peak.bytes, sum(file.stat().st_blocks * BLOCK for file in found))
            peak.looks += 1


def store_files() -> list[Path]:
    """Return the open files of the stores of raylets that this process started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            name, _, rest = status.read_text().partition("(")[2].rpartition(")")
            if name == "raylet" and int(rest.split()[1]) == os.getpid():
                files = (status.parent / "fd").iterdir()
                found += [file for file in files if "/plasma" in str(file.readlink())]
    return found
