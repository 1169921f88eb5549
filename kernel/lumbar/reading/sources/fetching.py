"""A study at a location -> its files in a folder of this process, listed by their headers, removed afterwards."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lumbar.faults import DataNotFoundError, DicomError, Fault, MissingPackageError
from lumbar.reading.dicom_folder import scan_folder
from lumbar.reading.references import Dataset, StudyRef, shown, with_shown_paths
from lumbar.reading.sources.dicomweb import fetch_dicomweb
from lumbar.reading.sources.locations import DICOMWEB, URL
from lumbar.reading.sources.object_store import fetch_objects
from lumbar.reading.sources.spool import spool
from lumbar.reading.zip_archive import is_archive, unpack, unpacking_into

LOOSE = "."  # the files right in a folder, without its subfolders and archives
SHOWN = 10  # studies in a message


@contextlib.contextmanager
def local_study(ref: StudyRef) -> Iterator[StudyRef]:
    """Yield a reference with the files of a study, which lie here until the end of the block.

    A study without a location is yielded as it is. Files of other places are fetched into a temporary folder.

    Raises:
        DicomError: With one of ``SOURCE_REASONS``, or ``bad_archive``.
    """
    if not ref.location:
        yield ref
        return
    with listed(ref.location, ref.named) as dataset:
        study = study_at(ref, dataset)
        faults = [*ref.faults, *study.faults]
        if ref.files and URL.match(ref.location) and (held := fetched_files(dataset)) < ref.files:
            message = f"{ref.location}: got {held} of {ref.files} files; what came is graded"
            faults.append(Fault(ref.location, "not_fetched", message))
        yield replace(study, study_id=ref.study_id, faults=tuple(faults))


@contextlib.contextmanager
def listed(location: str, named: Sequence[tuple[str, str]]) -> Iterator[Dataset]:
    """Yield the studies at a location, by their headers, until the end of the block.

    Args:
        location: As in ``StudyRef``.
        named: Descriptions by series id that override all headers.
    """
    with spool() as place, unpacking_into(place):
        target = place / "study"
        target.mkdir()
        folder = fetched(location, target)
        names = () if str(folder) == location else ((str(folder), location),)
        try:
            found = scan_folder(folder, {})
            if named:
                overrules = {
                    (study.study_id, series): text for study in found.studies for series, text in named
                }
                found = scan_folder(folder, overrules)
        except DataNotFoundError as error:
            raise DicomError("other_studies", shown(str(error), names)) from error
        yield with_shown_paths(found, names)


def fetched(location: str, target: Path) -> Path:
    """Return the folder that the files at a location lie in: the location itself, or the target with copies."""
    if URL.match(location):
        try:
            if location.partition("://")[0] in DICOMWEB:
                fetch_dicomweb(location, target)
                return target
            return fetch_objects(location, target)
        except MissingPackageError as error:  # one machine of a cluster may lack it
            raise DicomError("not_fetched", f"{location}: {error}") from error
    path = Path(location)
    if not path.exists():
        raise DicomError("study_gone", f"{location}: no such folder or file any more; list it again")
    if is_archive(path):
        try:
            return unpack(path)
        except DataNotFoundError as error:
            raise DicomError("bad_archive", str(error)) from error
    if location.endswith(os.sep + LOOSE):
        for file in path.iterdir():
            if file.is_file() and not is_archive(file):
                (target / file.name).symlink_to(file.resolve())
        return target
    return path


def study_at(ref: StudyRef, dataset: Dataset) -> StudyRef:
    """Return the study of a reference among those at its location: of its id, or the only one.

    Raises:
        DicomError: ``other_studies``.
    """
    for study in dataset.studies:
        if study.study_id == ref.study_id:
            return study
    readable = [study for study in dataset.studies if study.series] or list(dataset.studies)
    if len(readable) == 1:
        return readable[0]
    names = ", ".join(study.study_id for study in readable[:SHOWN])
    message = f"{ref.location}: got {len(readable)} studies, expected {ref.study_id} alone: {names}"
    raise DicomError("other_studies", f"{message}; give each study a place of its own")


def fetched_files(dataset: Dataset) -> int:
    """Return the number of files that lie in the folder of a fetched study."""
    return sum(len(files) for _, _, files in os.walk(dataset.root))
