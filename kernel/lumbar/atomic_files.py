"""Files that are whole or not there: written beside their place, then moved into it."""

import os
import re
import tempfile
from pathlib import Path


def write_atomically(path: Path, text: str) -> Path:
    """Write text (UTF-8) so that a reader, or a kill, meets the old file or the new one, never half of one.

    Raises OSError when the disk is full or the folder can't be written; an older file then stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    return path


def remove_leftovers(path: Path) -> None:
    """Remove what a kill in the middle of ``write_atomically(path, ...)`` left beside it.

    Only for a run that holds the lock of its journal: another one may be writing.
    """
    beside = re.compile(re.escape(f".{path.name}.") + "[a-z0-9_]{8}")  # as tempfile names them
    for file in path.parent.iterdir():
        if beside.fullmatch(file.name) and not file.is_symlink():
            file.unlink(missing_ok=True)
