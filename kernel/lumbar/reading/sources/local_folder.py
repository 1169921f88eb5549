"""A local folder -> its studies by top-level folder, or by pages of the competition's table."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lumbar.faults import DataNotFoundError, DicomError
from lumbar.reading.listing import SPLITS, list_tables, table_name
from lumbar.reading.references import Dataset, StudyRef
from lumbar.reading.sources.fetching import LOOSE, listed
from lumbar.reading.zip_archive import is_archive

PAGE = 1000  # studies of a task of the competition's table


@dataclass(frozen=True)
class LocalFolder:
    """Any folder of DICOM, or a .zip: a task is a folder or .zip at its top, "." the files beside them.

    One process lists a task, because reading all headers takes 1.3 ms per file. A study's files lie in one task.
    """

    root: Path

    @property
    def url(self) -> str:
        return str(self.root)

    def tasks(self) -> Iterator[str]:
        if self.root.is_file():
            yield ""
            return
        with os.scandir(self.root) as entries:
            shown = [
                entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"
            ]
        tops = sorted(entry.name for entry in shown if entry.is_dir() or is_archive(Path(entry.path)))
        yield from tops
        if len(tops) < len(shown):
            yield LOOSE

    def references(self, task: str) -> Iterator[StudyRef]:
        location = f"{self.root}{os.sep}{task}" if task else str(self.root)  # a Path would drop the "."
        try:
            with listed(location, ()) as dataset:
                for study in dataset.studies:
                    sizes = [path.stat().st_size for series in study.series for path in series.files or ()]
                    yield StudyRef(study.study_id, location=location, files=len(sizes), bytes=sum(sizes))
        except DicomError as error:
            if error.reason == "other_studies":  # no DICOM: nobody misses a study there
                return
            raise DataNotFoundError(str(error)) from error


@dataclass(frozen=True)
class LocalTables:
    """The competition's folder: a task is a page of its table."""

    root: Path
    split: str | None

    @property
    def url(self) -> str:
        return str(self.root)

    def tasks(self) -> Iterator[str]:
        yield from map(str, range(0, len(tables(self.root, self.split).studies), PAGE))

    def references(self, task: str) -> Iterator[StudyRef]:
        first = int(task)
        yield from tables(self.root, self.split).studies[first : first + PAGE]


@lru_cache(maxsize=1)
def tables(root: Path, split: str | None) -> Dataset:
    """Return the studies of the competition's folder, read once per process."""
    return list_tables(root, split)


def has_tables(root: Path) -> bool:
    """Return whether a folder is the competition's."""
    names = [*map(table_name, SPLITS), "sample_submission.csv"]
    return any((root / name).exists() for name in names)
