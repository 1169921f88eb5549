"""Object stores, by fsspec: one study is one top-level prefix, or one .zip object.

Credentials come from the environment or the files that the store's library reads, never from the URL.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lumbar.faults import DataNotFoundError, DicomError, MissingPackageError
from lumbar.reading.references import StudyRef
from lumbar.reading.sources.retries import retried
from lumbar.reading.sources.study_source import required
from lumbar.reading.study_groups import plain_id
from lumbar.reading.zip_archive import inside, unpack

logger = logging.getLogger(__name__)

TABLES = "_series_descriptions.csv"


@dataclass(frozen=True)
class ObjectStore:
    """The studies under a URL such as ``s3://BUCKET/PREFIX``; a URL that ends in .zip is one study."""

    url: str

    def tasks(self) -> Iterator[str]:
        """Yield the names of the top-level prefixes and .zip objects, sorted."""
        if is_zip(self.url):
            yield ""
            return
        store, root = open_store(self.url)
        try:
            entries = retried(self.url, lambda: store.ls(root, detail=True), lambda e: lasting(self.url, e))
        except DicomError as error:
            raise DataNotFoundError(str(error)) from error
        names = sorted((PurePosixPath(one["name"]).name, one["type"] == "directory") for one in entries)
        if table := next((name for name, folder in names if name.endswith(TABLES) and not folder), None):
            images = table.removesuffix(TABLES) + "_images"
            message = f"{self.url}: got the competition's folder, expected a prefix with a prefix per study"
            raise DataNotFoundError(
                f"{message}; pass {self.url}/{images}, or copy it here and pass the folder"
            )
        studies = [name for name, folder in names if folder or is_zip(name)]
        if not studies:
            message = f"{self.url}: got no prefix and no .zip, expected one per study"
            raise DataNotFoundError(f"{message}; pass the prefix above the studies")
        if others := [name for name, folder in names if not folder and not is_zip(name)]:
            text = "%s: %d objects belong to no study's prefix, ignored; the first: %s"
            logger.warning(text, self.url, len(others), others[0])
        yield from studies

    def references(self, task: str) -> Iterator[StudyRef]:
        """Yield the study of a prefix or .zip; its name is the study's id."""
        location = f"{self.url}/{task}" if task else self.url
        store, path = open_store(location)

        def sizes() -> list[int]:
            return [one["size"] for one in objects_of(store, path).values()]

        try:
            found = retried(location, sizes, lambda error: lasting(location, error))
        except DicomError as error:
            raise DataNotFoundError(str(error)) from error
        name = PurePosixPath(path).name
        study_id = plain_id(name[:-4] if is_zip(name) else name, ())
        yield StudyRef(study_id, location=location, files=len(found), bytes=sum(found))


def fetch_objects(location: str, folder: Path) -> Path:
    """Write a study's objects into a folder, with their paths below its prefix; unpack a .zip.

    Returns:
        The folder with the files.

    Raises:
        DicomError: ``study_gone``, ``not_fetched`` or ``no_room``.
    """
    store, path = open_store(location)
    retried(location, lambda: copy(store, path, folder), lambda error: lasting(location, error))
    if not is_zip(location):
        return folder
    try:
        return unpack(folder / PurePosixPath(path).name)
    except DataNotFoundError as error:
        raise DicomError("bad_archive", str(error)) from error


def copy(store, path: str, folder: Path) -> None:
    """Copy the objects of a study, several at a time where the store can."""
    objects = objects_of(store, path)
    if not objects:
        raise FileNotFoundError(path)
    size, room = sum(one["size"] for one in objects.values()), shutil.disk_usage(folder).free
    if size > room:
        message = f"{path}: got {size} bytes, expected at most the {room} that {folder} has room for"
        raise DicomError("no_room", f"{message}; set TMPDIR to another folder")
    above = PurePosixPath(path)
    targets = []
    for name in objects:
        below = name.removeprefix(path).lstrip("/") or above.name
        target = folder / inside(folder, below)
        target.parent.mkdir(parents=True, exist_ok=True)
        targets.append(str(target))
    store.get(list(objects), targets)


def objects_of(store, path: str) -> dict[str, dict]:
    """Return the objects under a prefix, or a single one, by name, each with its size."""
    return {name: one for name, one in store.find(path, detail=True).items() if one["type"] == "file"}


def open_store(url: str):
    """Return fsspec's file system of a URL, and the path in it.

    Raises:
        MissingPackageError: fsspec or the store's library is not installed.
        DataNotFoundError: fsspec knows no such store.
    """
    fsspec = required("fsspec", "fsspec", f"{url.partition(':')[0]}://")
    try:
        return fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:  # its message names the library
        name = "s3fs" if url.startswith("s3") else "that library"
        raise MissingPackageError(f"{url}: {error}; pip install {name}") from error
    except ValueError as error:
        raise DataNotFoundError(f"{url}: {error}; expected s3://, dicomweb+https:// or a folder") from error


def lasting(url: str, error: Exception) -> DicomError | None:
    """Return the error for a failure that no other try mends; None for those of the network and busy stores."""
    if isinstance(error, FileNotFoundError):
        return DicomError("study_gone", f"{url}: there is no such object; check the URL, or list it again")
    if isinstance(error, PermissionError) or type(error).__name__ == "NoCredentialsError":
        message = f"{url}: {type(error).__name__}: {error}"
        return DicomError("not_fetched", f"{message}; set the store's credentials in the environment")
    if isinstance(error, DataNotFoundError):  # a name that leads out of the folder
        return DicomError("not_fetched", str(error))
    return None


def is_zip(name: str) -> bool:
    """Return whether a name is a .zip's."""
    return name.lower().endswith(".zip")
