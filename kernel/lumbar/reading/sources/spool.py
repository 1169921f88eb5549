"""Temporary folders of fetched studies: each goes with the block that made it, or after the death of its process.

A process holds a lock on its folder, which the system releases however the process ends. ``remove_abandoned`` removes
the folders of nobody.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "lumbar-spool-"
LOCK = ".lock"  # hidden: no listing of a study's files shows it
SECONDS_TO_LOCK = 60.0  # a folder that has no lock for so long is nobody's


@contextlib.contextmanager
def spool() -> Iterator[Path]:
    """Yield a new temporary folder (under TMPDIR); it is removed at the end of the block."""
    folder, lock = locked_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def locked_folder() -> tuple[Path, int]:
    """Return a new folder and the descriptor of its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        with contextlib.suppress(FileNotFoundError):  # removed as abandoned before it had its lock
            lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / LOCK).exists():
                return folder, lock
            os.close(lock)


def remove_abandoned() -> None:
    """Remove the spools of this machine that no process holds."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            try:
                lock = os.open(folder / LOCK, os.O_RDWR)
            except FileNotFoundError:
                if time.time() - folder.stat().st_mtime > SECONDS_TO_LOCK:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
