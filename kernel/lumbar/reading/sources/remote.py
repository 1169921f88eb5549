"""A URL -> its source, and the few studies of a run."""

from dataclasses import replace

from lumbar.faults import DataNotFoundError
from lumbar.reading.references import Dataset, StudyRef
from lumbar.reading.sources.dicomweb import DicomWeb
from lumbar.reading.sources.locations import DICOMWEB, checked_url
from lumbar.reading.sources.object_store import ObjectStore
from lumbar.reading.sources.study_source import StudySource, required

Overrules = dict[tuple[str, str], str]  # descriptions of a --series table by (study id, series id)


def open_remote(url: str, split: str | None = None) -> StudySource:
    """Return the source of a URL.

    Raises:
        DataNotFoundError: The URL carries credentials, a split was given, or a package is missing.
    """
    url = checked_url(url)
    if split is not None:
        raise DataNotFoundError(
            f"{url}: got --split {split}, expected none: a URL has no tables; leave it out"
        )
    if url.partition("://")[0] in DICOMWEB:
        required("dicomweb_client", "dicomweb-client", "a dicomweb+https:// source")
        return DicomWeb(url)
    required("fsspec", "fsspec", f"{url.partition(':')[0]}://")
    return ObjectStore(url)


def remote_dataset(url: str, split: str | None, overrules: Overrules) -> Dataset:
    """Return the studies of a URL, listed in this process; their files stay where they are until they are read.

    Raises:
        DataNotFoundError: As ``open_remote``, or there is no study.
    """
    source = open_remote(url, split)
    studies: dict[str, StudyRef] = {}
    for task in source.tasks():
        for ref in source.references(task):
            named = tuple(
                (series, text) for (study, series), text in overrules.items() if study == ref.study_id
            )
            studies.setdefault(ref.study_id, replace(ref, named=named))
    if not studies:
        raise DataNotFoundError(f"{source.url}: got no study, expected at least one; check --data")
    return Dataset(source.url, "plain", source.url, tuple(studies.values()), None)
