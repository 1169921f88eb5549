"""A .zip -> a temporary folder: no path leads out of it, its size is bounded, it goes when the run ends."""

import atexit
import logging
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from lumbar.faults import DataNotFoundError

logger = logging.getLogger(__name__)

MAX_BYTES = 2**35  # unpacked: some 300 studies
MAX_MEMBERS = 2**20
PIECE = 2**20  # bytes copied at once


def unpack(path: Path) -> Path:
    """Unpack a .zip into a new temporary folder, removed when the process ends; return the folder.

    Links and hidden files are left out; the files' modes and times are not taken over.

    :raises DataNotFoundError: it is no .zip, is damaged or encrypted, a name leads out of the folder, or it is
        over MAX_BYTES, MAX_MEMBERS or the room on the disk.
    """
    folder = Path(tempfile.mkdtemp(prefix="lumbar-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if is_wanted(member)]
            check_size(path, members, shutil.disk_usage(folder).free)
            for member in members:
                target = folder / inside(path, member.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                # zipfile gives no more bytes than a member declares, and those are within the bounds.
                with archive.open(member) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, PIECE)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        message = (
            f"{path}: {error}; expected a folder, or a whole .zip without a password; unpack it yourself"
        )
        raise DataNotFoundError(message) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    logger.info("%s: %d files unpacked to %s", path, len(members), folder)
    return folder


def is_wanted(member: zipfile.ZipInfo) -> bool:
    """Tell whether a member is a file that may hold data: no folder, link, hidden file or macOS's shadow."""
    mode = member.external_attr >> 16
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    hidden = not parts or parts[0] == "__MACOSX" or (parts[-1].startswith(".") and parts[-1] != "..")
    return not member.is_dir() and not stat.S_ISLNK(mode) and not hidden


def check_size(path: Path, members: list[zipfile.ZipInfo], free: int) -> None:
    size = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or size > min(MAX_BYTES, free):
        message = f"got {len(members)} files of {size} bytes, expected at most {MAX_MEMBERS} of {min(MAX_BYTES, free)}"
        raise DataNotFoundError(f"{path}: {message}; unpack it yourself and pass the folder")


def inside(path: Path, name: str) -> PurePosixPath:
    """Return a member's path below the folder; DataNotFoundError where it would lead out of it."""
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or ":" in relative.parts[0]:
        raise DataNotFoundError(f"{path}: got a member {name!r}, expected paths below the folder; refused")
    return relative
