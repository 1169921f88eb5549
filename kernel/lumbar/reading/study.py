"""The competition's folder, or any folder of DICOM -> studies and their series; a study -> its volumes."""

import logging
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from lumbar.faults import DicomError, Fault
from lumbar.reading.competition_tables import (
    DataNotFoundError,
    read_descriptions,
    read_sample,
    studies_of_rows,
)
from lumbar.reading.dicom_folder import scan_folder
from lumbar.reading.listing import Competition, SeriesRef, StudyRef
from lumbar.reading.series import Series, read_series
from lumbar.reading.volume import Volume, build_volume
from lumbar.reading.zip_archive import unpack
from lumbar.sites import DESCRIPTIONS

__all__ = [
    "Competition",
    "DataNotFoundError",
    "SeriesRef",
    "Study",
    "StudyRef",
    "find_competition",
    "read_study",
]

logger = logging.getLogger(__name__)

KAGGLE_INPUT = Path("/kaggle/input")
SEARCH_DEPTH = 4  # /kaggle/input/competitions/<slug>/file, and what a data set's owner may nest
SPLITS = ("test", "train")


@dataclass
class Study:
    """What could be read of a study; a description without a usable series is absent from ``volumes``."""

    study_id: str
    volumes: dict[str, Volume] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def find_competition(
    root: Path | None = None, split: str | None = None, series_map: Path | None = None
) -> Competition:
    """Find the competition's files and list its studies; without its tables, what the DICOM headers say.

    :param root: the folder with ``<split>_series_descriptions.csv`` and ``<split>_images``, or any folder of
        DICOM files, or a .zip of either; None looks under ``/kaggle/input``, whatever the mount's style.
    :param split: "test" or "train"; None takes test if it is there (under ``/kaggle/input``: always test).
    :param series_map: a table like the competition's, whose descriptions overrule all others.
    :raises DataNotFoundError: nothing found, or a file is not what it should be.
    """
    if root is None:
        root = search_folder(KAGGLE_INPUT, table_name(split or "test"))
    root = Path(root)
    if root.is_file():
        folder = unpack(root)
        inside = sorted(path.parent for path in folder.glob("*/*_series_descriptions.csv"))
        found = find_competition(inside[0] if inside else folder, split, series_map)
        return replace(found, root=root, images=root)  # the same at every run, unlike where it was unpacked
    overrules = read_overrules(series_map) if series_map else {}
    # Not whether they can be read: a damaged table must not be taken for no table.
    tables = [root / table_name(name) for name in SPLITS] + [root / "sample_submission.csv"]
    if root.is_dir() and split is None and not any(path.exists() for path in tables):
        studies, decisions = scan_folder(root, overrules)
        return Competition(root, "plain", root, studies, None, decisions)
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


def list_tables(root: Path, split: str | None) -> Competition:
    """List the studies of a competition's folder by its tables, as ``find_competition`` does."""
    wanted = (split,) if split else SPLITS
    found = [name for name in wanted if (root / table_name(name)).is_file()]
    if not found:
        names = " or ".join(map(table_name, wanted))
        raise DataNotFoundError(
            f"{root}: got no {names}, expected the competition's folder; pass it with --data"
        )
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
    return Competition(root, split, images, studies, sample_ids)


def table_name(split: str) -> str:
    """Return the file name of a split's table of series."""
    return f"{split}_series_descriptions.csv"


def search_folder(top: Path, name: str) -> Path:
    """Return the first folder, in sorted order, that holds a file of that name, at most SEARCH_DEPTH down.

    :raises DataNotFoundError: there is none.
    """
    found = []
    for folder, subfolders, files in os.walk(top, followlinks=True):
        depth = len(Path(folder).relative_to(top).parts)
        # The images are thousands of folders; the table lies beside them, never below.
        subfolders[:] = [s for s in subfolders if not s.endswith("_images") and depth < SEARCH_DEPTH]
        if name in files:
            found.append(Path(folder))
    if not found:
        message = f"{top}: got no {name} up to {SEARCH_DEPTH} folders down"
        raise DataNotFoundError(f"{message}; attach the competition's data, or pass its folder with --data")
    if len(found) > 1:
        logger.warning("%s: %s is in %d folders; taken: %s", top, name, len(found), min(found))
    return min(found)


def _note_unlisted(images: Path, studies: dict) -> None:
    """Say which studies have images but no row in the table: they are not scored."""
    unlisted = [path.name for path in images.iterdir() if path.name not in studies]
    if unlisted:
        logger.info(
            "%s: %d folders are not in the table, ignored; first: %s", images, len(unlisted), min(unlisted)
        )


def read_study(ref: StudyRef) -> Study:
    """Read a study's series and join them by description.

    Nothing in the files raises: what can't be used, or is odd, is in ``faults``.
    """
    study = Study(ref.study_id, faults=list(ref.faults))
    if not ref.series and not ref.faults:
        message = f"study {ref.study_id}: got no series in the table, expected at least one"
        study.faults.append(Fault(ref.study_id, "no_series", message))
    for series in ref.series:
        if series.description not in DESCRIPTIONS:
            where = f"study {ref.study_id}, series {series.series_id}"
            message = (
                f"{where}: got description {series.description!r}, expected one of {', '.join(DESCRIPTIONS)}"
            )
            study.faults.append(Fault(str(series.folder), "unknown_description", message))
            logger.warning("%s", message)
    for description in DESCRIPTIONS:
        usable = _read_usable(study, [s for s in ref.series if s.description == description])
        if not usable:
            continue
        volume = build_volume(usable, description)
        study.volumes[description] = volume
        if volume.order_key != "ImagePositionPatient":
            message = (
                f"study {ref.study_id}, {description}: got slices without ImagePositionPatient; ordered by"
                f" {volume.order_key}, which does not tell left from right or head from feet"
            )
            study.faults.append(Fault(f"study {ref.study_id}", "no_position", message))
            logger.warning("%s", message)
        if shared := same_positions(volume):
            message = (
                f"study {ref.study_id}, {description}: got {shared} of {len(volume)} slices at another's"
                " ImagePositionPatient; all are kept, in the order of their series and instance numbers"
            )
            study.faults.append(Fault(f"study {ref.study_id}", "same_position", message))
            logger.info("%s", message)
    return study


def same_positions(volume: Volume) -> int:
    """Count the slices of a volume that do not have their ImagePositionPatient for themselves."""
    positions = Counter(header.position for header in volume.headers if header.position is not None)
    return sum(count for count in positions.values() if count > 1)


def _read_usable(study: Study, refs: list[SeriesRef]) -> list[Series]:
    """Read the series of one description; put the faults of all, usable or not, into the study."""
    usable = []
    for ref in refs:
        try:
            series = read_series(ref.folder, ref.description, ref.files, ref.series_id)
        except DicomError as error:
            logger.warning("study %s, series %s left out: %s", study.study_id, ref.series_id, error)
            study.faults += [Fault(str(ref.folder), error.reason, str(error)), *error.faults]
            continue
        study.faults += series.faults
        usable.append(series)
    return usable
