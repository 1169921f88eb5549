"""A .zip, with those inside it -> a temporary folder: no path leads out, its size is bounded, it goes at the end."""

import atexit
import contextlib
import hashlib
import logging
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path, PurePosixPath

from lumbar.faults import DataNotFoundError

logger = logging.getLogger(__name__)

MAX_BYTES = 2**35  # unpacked: some 300 studies
MAX_MEMBERS = 2**20
MAX_DEPTH = 3  # archives in archives
LONGEST_NAME = 200  # bytes of a file's name; most file systems take 255
PIECE = 2**20  # bytes copied at once
PLACE: ContextVar[Path | None] = ContextVar("place", default=None)  # to unpack into; None: a temporary folder
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


def unpack(path: Path) -> Path:
    """Unpack a .zip, and each .zip in it to a folder of its name, into a new temporary folder; return the folder.

    Links and hidden files are left out; the files' modes and times are not taken over. The folder is removed when
    the process ends. An inner archive that can't be unpacked stays a file.

    Raises:
        DataNotFoundError: It is no .zip, is damaged or encrypted, a name leads out of the folder, or it is over
            MAX_BYTES, MAX_MEMBERS or the room on the disk.
    """
    folder = new_folder()
    try:
        left = unpack_into(path, folder / path.name, MAX_BYTES)
        unpack_inner(folder / path.name, path, left)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder / path.name


def unpack_all(paths: Iterable[Path], root: Path) -> tuple[Path | None, list[tuple[Path, str]]]:
    """Unpack archives of one folder into a new temporary one, each to a folder of its name, at its place.

    Returns:
        The temporary folder, which stands for ``root``, None where nothing was unpacked; the archives that can't be
        unpacked, and why.
    """
    folder, left, failed, done = new_folder(), MAX_BYTES, [], 0
    for path in paths:
        target = folder / path.relative_to(root)
        try:
            left = unpack_inner(target, path, unpack_into(path, target, left))
            done += 1
        except DataNotFoundError as error:
            logger.warning("%s", error)
            failed.append((path, str(error)))
            shutil.rmtree(target, ignore_errors=True)
    return folder if done else None, failed


@contextlib.contextmanager
def unpacking_into(place: Path) -> Iterator[None]:
    """Unpack into a folder inside a ``with`` block; whoever made the folder removes it."""
    token = PLACE.set(place)
    try:
        yield
    finally:
        PLACE.reset(token)


def new_folder() -> Path:
    """Return a new temporary folder that is removed when the process ends, or with ``unpacking_into``'s folder."""
    if (place := PLACE.get()) is not None:
        return Path(tempfile.mkdtemp(prefix="unpacked-", dir=place))
    folder = Path(tempfile.mkdtemp(prefix="lumbar-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def unpack_inner(folder: Path, outer: Path, left: int, depth: int = 1) -> int:
    """Unpack the archives under a folder, each in its own place; return how many bytes more may be unpacked."""
    for inner in sorted(p for p in folder.rglob("*") if is_archive(p)) if depth < MAX_DEPTH else ():
        packed = inner.rename(inner.with_name(f".{inner.name}"))
        try:
            left = unpack_inner(inner, outer, unpack_into(packed, inner, left), depth + 1)
            packed.unlink()
        except DataNotFoundError as error:
            logger.warning("%s: %s in it can't be unpacked: %s", outer, inner.relative_to(folder), error)
            shutil.rmtree(inner, ignore_errors=True)
            packed.rename(inner)
    return left


def is_archive(path: Path) -> bool:
    """Return whether a file calls itself a .zip."""
    return path.suffix.lower() == ".zip" and path.is_file()


def unpack_into(path: Path, folder: Path, limit: int) -> int:
    """Unpack one archive into a new folder; return how many of ``limit`` bytes are left.

    Raises:
        DataNotFoundError: As ``unpack`` does.
    """
    try:
        folder.mkdir(parents=True)
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if is_wanted(member)]
            check_size(path, members, min(limit, shutil.disk_usage(folder).free))
            for member in members:
                target = free_name(folder / inside(path, member.filename))
                target.parent.mkdir(parents=True, exist_ok=True)
                # zipfile gives no more bytes than a member declares, and those are within the bounds.
                with archive.open(member) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, PIECE)
    except DAMAGE as error:
        message = (
            f"{path}: {error}; expected a folder, or a whole .zip without a password. Unpack it yourself"
        )
        raise DataNotFoundError(message) from error
    logger.info("%s: %d files unpacked to %s", path, len(members), folder)
    return limit - sum(member.file_size for member in members)


def is_wanted(member: zipfile.ZipInfo) -> bool:
    """Return whether a member is a file that may hold data: no folder, link, hidden file or macOS's shadow."""
    mode = member.external_attr >> 16
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    hidden = not parts or parts[0] == "__MACOSX" or (parts[-1].startswith(".") and parts[-1] != "..")
    return not member.is_dir() and not stat.S_ISLNK(mode) and not hidden


def check_size(path: Path, members: list[zipfile.ZipInfo], limit: int) -> None:
    """Raise DataNotFoundError for an archive of too many members or bytes."""
    size = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or size > limit:
        message = f"got {len(members)} files of {size} bytes, expected at most {MAX_MEMBERS} of {limit}"
        raise DataNotFoundError(f"{path}: {message}; unpack it yourself and pass the folder")


def inside(path: Path, name: str) -> PurePosixPath:
    """Return a member's path below the folder, overlong names shortened.

    Raises:
        DataNotFoundError: It would lead out of the folder.
    """
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or ":" in relative.parts[0]:
        raise DataNotFoundError(f"{path}: got a member {name!r}, expected paths below the folder; refused")
    return PurePosixPath(*map(short_name, relative.parts))


def short_name(name: str) -> str:
    """Return a name that a file system takes: the start of a long one, and a hash that separates it from others."""
    encoded = name.encode()
    if len(encoded) <= LONGEST_NAME:
        return name
    mark = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[: LONGEST_NAME - 30].decode(errors='ignore')}-{mark}{Path(name).suffix[:12]}"


def free_name(path: Path) -> Path:
    """Return a path for a member; a repeated name gets a number, because archives may repeat names."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
