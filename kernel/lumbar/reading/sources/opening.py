"""A path or a URL -> the source of its studies."""

from pathlib import Path

from lumbar.reading.references import StudyRef, refuse_absent
from lumbar.reading.sources.local_folder import LocalFolder, LocalTables, has_tables
from lumbar.reading.sources.locations import data_location
from lumbar.reading.sources.remote import open_remote
from lumbar.reading.sources.study_source import StudySource

__all__ = ["StudyRef", "StudySource", "open_source"]


def open_source(text: str | Path, split: str | None = None) -> StudySource:
    """Return the source that lists the studies of what ``--data`` names.

    Args:
        text: A folder, a .zip, or a URL: ``s3://...`` or another of fsspec, ``dicomweb+https://HOST/ROOT``.
        split: "test" or "train" of the competition's folder; None takes test if it is there.

    Raises:
        DataNotFoundError: There is nothing, the URL carries credentials, or a package is missing.
    """
    location = data_location(text)
    if isinstance(location, str):
        return open_remote(location, split)
    refuse_absent(location)
    location = location.resolve()
    if split is not None or has_tables(location):
        return LocalTables(location, split)
    return LocalFolder(location)
