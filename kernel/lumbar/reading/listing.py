"""Any input -> the studies to read, listed by the competition's tables, by DICOM headers or by a remote source."""

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lumbar.faults import DataNotFoundError
from lumbar.reading.competition_tables import read_descriptions, read_sample, studies_of_rows
from lumbar.reading.dicom_folder import scan_folder
from lumbar.reading.references import Dataset, SeriesRef, StudyRef, refuse_absent, shown, with_shown_paths
from lumbar.reading.sources.locations import data_location
from lumbar.reading.sources.remote import remote_dataset
from lumbar.reading.zip_archive import unpack

logger = logging.getLogger(__name__)

KAGGLE_INPUT = Path("/kaggle/input")
SEARCH_DEPTH = 4  # /kaggle/input/competitions/<slug>/file, and the folders that a data set's owner may nest
SPLITS = ("test", "train")


def find_dataset(
    root: Path | str | None = None, split: str | None = None, series_map: Path | None = None
) -> Dataset:
    """Find the competition's files and list its studies; without its tables list them by DICOM headers.

    Args:
        root: The folder with ``<split>_series_descriptions.csv`` and ``<split>_images``, or any folder of DICOM
            files or volumes, or a .zip of either, or a URL (``reading.sources``). None searches ``/kaggle/input``,
            for both styles of mounts.
        split: "test" or "train"; None takes test if it is there (under ``/kaggle/input``: always test).
        series_map: A table like the competition's, with descriptions that override all others.

    Raises:
        DataNotFoundError: Nothing was found, or a file is not as expected.
    """
    if isinstance(root, str) and isinstance(url := data_location(root), str):
        return remote_dataset(url, split, read_overrules(series_map) if series_map else {})
    if root is None:
        root = search_folder(KAGGLE_INPUT, table_name(split or "test"))
    root = Path(root)
    refuse_absent(root)
    if root.is_file():
        folder = unpack(root)
        names = ((str(folder), str(root)),)
        try:
            found = find_dataset(table_folder(folder) or folder, split, series_map)
        except DataNotFoundError as error:
            raise DataNotFoundError(shown(str(error), names)) from error
        found = with_shown_paths(found, names)
        return replace(found, root=root, images=root)  # the same at every run, unlike where it was unpacked
    overrules = read_overrules(series_map) if series_map else {}
    # Not whether they can be read: a damaged table must not be taken for no table.
    tables = [root / table_name(name) for name in SPLITS] + [root / "sample_submission.csv"]
    if root.is_dir() and split is None and not any(path.exists() for path in tables):
        return scan_folder(root, overrules)
    found = list_tables(root, split)
    if series_map is None:
        return found
    for key in overrules.keys() - {
        (study.study_id, s.series_id) for study in found.studies for s in study.series
    }:
        logger.warning("%s: study %s, series %s is not in the data", series_map, *key)
    return replace(found, studies=tuple(overruled(study, overrules) for study in found.studies))


def read_overrules(path: Path) -> dict[tuple[str, str], str]:
    """Return the descriptions of a ``--series`` table by (study id, series id)."""
    table = read_descriptions(path)
    rows = zip(*(table[column].tolist() for column in table), strict=True)
    return {(study_id, series_id): text for study_id, series_id, text in rows}


def overruled(study: StudyRef, overrules: dict[tuple[str, str], str]) -> StudyRef:
    """Return the study with the descriptions that a ``--series`` table has for it."""
    told = [overrules.get((study.study_id, s.series_id), s.description) for s in study.series]
    series = tuple(replace(s, description=text) for s, text in zip(study.series, told, strict=True))
    return replace(study, series=series)


def list_tables(root: Path, split: str | None) -> Dataset:
    """List the studies of a competition's folder by its tables, as ``find_dataset`` does."""
    wanted = (split,) if split else SPLITS
    found = [name for name in wanted if (root / table_name(name)).is_file()]
    if not found:
        names = " or ".join(map(table_name, wanted))
        there = [name for name in SPLITS if (root / table_name(name)).is_file()]
        remedy = "expected the competition's folder; pass it with --data"
        if there:
            remedy = f"but {table_name(there[0])}; give --split {there[0]}, or leave --split out"
        elif split:
            remedy += ", or leave --split out for a folder of DICOM"
        raise DataNotFoundError(f"{root}: got no {names}, {remedy}")
    split = found[0]
    images = root / f"{split}_images"
    if not images.is_dir():
        raise DataNotFoundError(
            f"{images}: got no such folder, expected <study>/<series>/<instance>.dcm in it"
        )
    series: dict[str, list[SeriesRef]] = {}
    table = read_descriptions(root / table_name(split))
    for study_id, series_id, text in zip(*(table[column].tolist() for column in table), strict=True):
        refs = series.setdefault(study_id, [])
        folder = refs[0].folder.parent if refs else images / study_id
        refs.append(SeriesRef(series_id, folder / series_id, text))
    sample_ids = read_sample(root / "sample_submission.csv") if split == "test" else None
    asked = studies_of_rows(sample_ids or ())
    unasked = sorted(series.keys() - set(asked)) if sample_ids else []
    if unasked:
        text = "%d studies have no row in the sample submission, so none in the submission; the first: %s"
        logger.warning(text, len(unasked), unasked[0])
    for study_id in asked:
        if study_id not in series:
            logger.warning("study %s is in the sample submission but not in %s", study_id, table_name(split))
            series[study_id] = []
    _note_unlisted(images, series)
    studies = tuple(StudyRef(study_id, tuple(refs)) for study_id, refs in series.items())
    logger.info("%s: %d studies of the %s split", root, len(studies), split)
    return Dataset(root, split, images, studies, sample_ids)


def table_name(split: str) -> str:
    """Return the file name of a split's table of series."""
    return f"{split}_series_descriptions.csv"


def search_folder(top: Path, name: str) -> Path:
    """Return the first folder, in sorted order, that holds a file of that name, at most SEARCH_DEPTH down.

    Raises:
        DataNotFoundError: There is none.
    """
    found = [folder for folder, files in shallow_folders(top) if name in files]
    if not found:
        message = f"{top}: got no {name} up to {SEARCH_DEPTH} folders down"
        raise DataNotFoundError(f"{message}; attach the competition's data, or pass its folder with --data")
    if len(found) > 1:
        logger.warning("%s: %s is in %d folders; taken: %s", top, name, len(found), min(found))
    return min(found)


def table_folder(top: Path) -> Path | None:
    """Return the first folder under an unpacked archive that holds a table of series, None where there is none."""
    tables = {table_name(split) for split in SPLITS}
    return next((folder for folder, files in sorted(shallow_folders(top)) if tables & set(files)), None)


def shallow_folders(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the folders at most SEARCH_DEPTH down, with the names of their files, folders of images apart."""
    for folder, subfolders, files in os.walk(top, followlinks=True):
        depth = len(Path(folder).relative_to(top).parts)
        # The images are thousands of folders; the table lies beside them, never below.
        subfolders[:] = [s for s in subfolders if not s.endswith("_images") and depth < SEARCH_DEPTH]
        yield Path(folder), files


def _note_unlisted(images: Path, studies: dict) -> None:
    """Log the studies that have images but no row in the table: they are not scored."""
    unlisted = [path.name for path in images.iterdir() if path.name not in studies]
    if unlisted:
        logger.info(
            "%s: %d folders are not in the table, ignored; first: %s", images, len(unlisted), min(unlisted)
        )
