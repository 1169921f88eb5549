"""The competition's folder -> the list of studies and their series; a study -> its volumes."""

import logging
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lumbar.dicom import read_series
from lumbar.faults import DicomError, Fault
from lumbar.sites import DESCRIPTIONS, SITE_NAMES
from lumbar.volume import Volume, build_volume

logger = logging.getLogger(__name__)

KAGGLE_INPUT = Path("/kaggle/input")
SEARCH_DEPTH = 4  # /kaggle/input/competitions/<slug>/file and what an owner may nest
COLUMNS = ("study_id", "series_id", "series_description")
IDENTIFIER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")  # one plain part of a path, never ".."


class DataNotFoundError(Exception):
    """The competition's files are not where they were looked for, or are not what they should be."""


@dataclass(frozen=True)
class SeriesRef:
    """Where a series is; ``description`` is one of the three, or as spelled in the CSV where unknown."""

    series_id: str
    folder: Path
    description: str


@dataclass(frozen=True)
class StudyRef:
    """A study to read: its series in the order of the CSV's rows."""

    study_id: str
    series: tuple[SeriesRef, ...]


@dataclass(frozen=True)
class Competition:
    """The competition's folder: ``studies`` in the CSV's order, those that only the sample names last;
    ``sample_ids`` the row ids of ``sample_submission.csv`` in its order, None where there is none."""

    root: Path
    split: str
    images: Path
    studies: tuple[StudyRef, ...]
    sample_ids: tuple[str, ...] | None


@dataclass
class Study:
    """What could be read of a study; a description without a usable series is absent from ``volumes``."""

    study_id: str
    volumes: dict[str, Volume] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def find_competition(root: Path | None = None, split: str | None = None) -> Competition:
    """Find the competition's files and list its studies.

    :param root: the folder with ``<split>_series_descriptions.csv``; None looks under ``/kaggle/input``
        for the test split, whatever the mount's style.
    :param split: "test" or "train"; None takes test if it is there.
    :raises DataNotFoundError: nothing found, or a file is not what it should be.
    """
    root = (
        Path(root)
        if root is not None
        else _search(KAGGLE_INPUT, f"{split or 'test'}_series_descriptions.csv")
    )
    splits = (split,) if split else ("test", "train")
    found = [name for name in splits if (root / f"{name}_series_descriptions.csv").is_file()]
    if not found:
        raise DataNotFoundError(
            f"{root}: got none of {', '.join(f'{name}_series_descriptions.csv' for name in splits)}, expected the"
            " competition's folder; pass it with --data"
        )
    split = found[0]
    images = root / f"{split}_images"
    rows = read_descriptions(root / f"{split}_series_descriptions.csv")
    sample_ids = read_sample(root / "sample_submission.csv") if split == "test" else None
    series: dict[str, list[SeriesRef]] = {study_id: [] for study_id in rows["study_id"].unique()}
    for study_id, series_id, text in rows.itertuples(index=False, name=None):
        series[study_id].append(SeriesRef(series_id, images / study_id / series_id, match_description(text)))
    for study_id in sample_studies(sample_ids or ()):
        if study_id not in series:
            logger.warning("study %s is in the sample submission but has no series in the CSV", study_id)
            series[study_id] = []
    _note_unlisted(images, series)
    studies = tuple(StudyRef(study_id, tuple(refs)) for study_id, refs in series.items())
    logger.info("%s: %d studies of the %s split", root, len(studies), split)
    return Competition(root, split, images, studies, sample_ids)


def _search(top: Path, name: str) -> Path:
    """Return the folder of the first file of that name, breadth by name, at most SEARCH_DEPTH folders down."""
    found = []
    for folder, subfolders, files in os.walk(top):
        depth = len(Path(folder).relative_to(top).parts)
        # images are thousands of folders; the CSV lies beside them, never below
        subfolders[:] = (
            sorted(s for s in subfolders if not s.endswith("_images")) if depth < SEARCH_DEPTH else []
        )
        if name in files:
            found.append(Path(folder))
    if not found:
        raise DataNotFoundError(
            f"{top}: got no {name} up to {SEARCH_DEPTH} folders down; attach the competition, or pass --data"
        )
    found.sort()
    if len(found) > 1:
        logger.warning("%s found in %d folders, taken: %s", name, len(found), found[0])
    return found[0]


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read columns of a CSV as stripped text; a BOM, CRLF, other and reordered columns are fine.

    :raises DataNotFoundError: it can't be read, or lacks a column.
    """
    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
        )
    except (OSError, ValueError) as error:  # pandas' parser and encoding errors are ValueErrors
        raise DataNotFoundError(
            f"{path}: {error}; expected a CSV with the columns {', '.join(columns)}"
        ) from error
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataNotFoundError(f"{path}: got the columns {list(table.columns)}, expected also {missing}")
    return table[list(columns)].apply(lambda column: column.str.strip())


def read_descriptions(path: Path) -> pd.DataFrame:
    """Read study_id, series_id, series_description as text; unsafe ids and repeated rows dropped, and said."""
    table = read_table(path, COLUMNS)
    safe = table["study_id"].str.fullmatch(IDENTIFIER.pattern) & table["series_id"].str.fullmatch(
        IDENTIFIER.pattern
    )
    for study_id, series_id in (
        table.loc[~safe, ["study_id", "series_id"]].head(5).itertuples(index=False, name=None)
    ):
        logger.warning("%s: ids %r, %r can not name folders: row ignored", path, study_id, series_id)
    table = table[safe]
    repeated = table.duplicated(["study_id", "series_id"])
    if repeated.any():
        logger.warning("%s: %d repeated rows ignored, the first of each kept", path, repeated.sum())
    return table[~repeated]


def read_sample(path: Path) -> tuple[str, ...] | None:
    """Return the sample submission's row ids in order; None where there is no sample.

    :raises DataNotFoundError: it has no column row_id.
    """
    if not path.is_file():
        return None
    return tuple(read_table(path, ("row_id",))["row_id"])


def sample_studies(row_ids: tuple[str, ...]) -> list[str]:
    """Return the studies of ``{study_id}_{group}_{level}`` row ids, each once, in order."""
    tails = tuple(f"_{name}" for name in SITE_NAMES)
    found = {}
    for row_id in row_ids:
        tail = next((tail for tail in tails if row_id.endswith(tail)), None)
        study_id = row_id.removesuffix(tail) if tail else ""
        if IDENTIFIER.fullmatch(study_id):
            found[study_id] = None
        else:
            logger.warning("sample submission: row id %r names no study and site", row_id)
    return list(found)


def match_description(text: str) -> str:
    """Return the one of the three descriptions that a text spells, else the text as it is.

    Case, spaces and punctuation do not count, nor whether "STIR" is said: "SAG T2", "sagittal t2 / stir".
    """
    letters = re.sub(r"[^a-z0-9]", "", text.lower())
    return _SPELLINGS.get(letters, text)


_SPELLINGS = {
    re.sub(r"[^a-z0-9]", "", f"{plane}{rest}".lower()): description
    for description in DESCRIPTIONS
    for plane in {"sagittal": ("sagittal", "sag"), "axial": ("axial", "ax", "transverse", "tra")}[
        description.split()[0].lower()
    ]
    for rest in {"Sagittal T2/STIR": ("t2stir", "t2", "stir", "stirt2")}.get(
        description, (description.split()[1],)
    )
}


def _note_unlisted(images: Path, studies: dict) -> None:
    """Say which folders have no row in the CSV: they are not scored."""
    try:
        unlisted = [entry.name for entry in os.scandir(images) if entry.name not in studies]
    except OSError as error:
        logger.warning("%s: %s: every study is without images", images, error.strerror)
        return
    if unlisted:
        logger.info(
            "%s: %d studies are not in the CSV, ignored (first: %s)", images, len(unlisted), min(unlisted)
        )


def read_study(ref: StudyRef) -> Study:
    """Read a study's series and join them by description.

    Nothing in the files raises: what can't be used is in ``faults``.
    """
    study = Study(ref.study_id)
    usable: dict[str, list] = {}
    for series in ref.series:
        where = f"study {ref.study_id}, series {series.series_id}"
        if series.description not in DESCRIPTIONS:
            message = (
                f"{where}: got description {series.description!r}, expected one of {', '.join(DESCRIPTIONS)}"
            )
            study.faults.append(Fault(series.series_id, "unknown_description", message))
            continue
        try:
            read = read_series(series.folder, series.description)
        except DicomError as error:
            study.faults.append(Fault(str(series.folder), error.reason, str(error)))
            continue
        study.faults += read.faults
        usable.setdefault(series.description, []).append(read)
    for description, series in usable.items():
        volume = build_volume(series, description)
        if volume.order_key != "ImagePositionPatient":
            logger.warning(
                "study %s, %s: ordered by %s, as not every slice has a position: left and right may be swapped",
                ref.study_id,
                description,
                volume.order_key,
            )
        study.volumes[description] = volume
    counts = Counter(fault.reason for fault in study.faults)
    if counts:
        logger.warning(
            "study %s: %s", ref.study_id, ", ".join(f"{n} x {reason}" for reason, n in counts.items())
        )
    return study
