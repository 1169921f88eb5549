"""Files that are whole or absent: each is written beside its place and then moved into it. And locks on files."""

import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

NO_LOCKS_HERE = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}  # some network file systems


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a new file beside ``path``; move it to ``path`` when the block ends without an error.

    A reader, or a kill at any moment, finds the old file or the new one, never half of one. The file's folder is
    created. The yielded name keeps the suffix of ``path``, because some writers append one that is missing.

    Raises:
        OSError: The disk is full or the folder can't be written. The file beside is removed, ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(descriptor)
    beside = Path(name)
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write text (as UTF-8) or bytes with ``atomic_path`` and return the path."""
    with atomic_path(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def remove_leftovers(path: Path) -> None:
    """Remove the files that a kill inside ``atomic_path(path)`` left beside it.

    Only for a run that holds the lock of its journal: another run may be writing.
    """
    beside = re.compile(
        re.escape(f".{path.name}.") + "[a-z0-9_]{8}" + re.escape(path.suffix)
    )  # as mkstemp does
    for file in path.parent.iterdir():
        if beside.fullmatch(file.name) and not file.is_symlink():
            file.unlink(missing_ok=True)


def lock_file(file: IO) -> None:
    """Lock an open file until it is closed, where its file system has locks.

    Raises:
        BlockingIOError: Another process has locked it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in NO_LOCKS_HERE:
            raise
