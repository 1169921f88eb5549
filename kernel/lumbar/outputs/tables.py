"""``points.csv`` and ``members.csv``: their columns, their rows, and the files.

| file | a row is | columns besides the study |
|---|---|---|
| points.csv | a detector's point of a site on one slice | ``FoundPoint``'s: slice of the volume, row, column |
| members.csv | what one detector and classifier say of a site | their names, the site, three probabilities |
"""

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lumbar.atomic_files import atomic_path
from lumbar.grading.study_record import FoundPoint, StudyRecord
from lumbar.sites import SEVERITIES, SITE_NAMES

POINTS_FILE, MEMBERS_FILE = "points.csv", "members.csv"
POINT_COLUMNS = ("study_id", *FoundPoint._fields)
MEMBER_KEYS = ("study_id", "detector", "classifier", "site")
MEMBER_COLUMNS = (*MEMBER_KEYS, *SEVERITIES)


def point_rows(record: StudyRecord) -> Iterator[tuple]:
    """Yield a study's rows of points.csv."""
    for point in record.points:
        yield (record.study_id, *point)


def member_rows(study_id: str, detector: str, classifier: str, probabilities: np.ndarray) -> Iterator[tuple]:
    """Yield a member's rows of members.csv for one study: none for a site that the member did not grade.

    Args:
        probabilities: (25, 3) in the order of ``SITES``; NaN at sites without a grade.
    """
    for site, row in zip(SITE_NAMES, probabilities, strict=True):
        if not np.isnan(row).any():
            yield (study_id, detector, classifier, site, *row.tolist())


@contextmanager
def open_table(file: Path, columns: tuple[str, ...]) -> Iterator:
    """Yield a CSV writer after the header is written; the file is in place when the block ends."""
    with atomic_path(file) as beside, beside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        yield writer


def dump_tables(records: Iterable[StudyRecord], folder: Path) -> None:
    """Write both tables, one study in memory at a time."""
    with (
        open_table(folder / POINTS_FILE, POINT_COLUMNS) as points,
        open_table(folder / MEMBERS_FILE, MEMBER_COLUMNS) as members,
    ):
        for record in records:
            points.writerows(point_rows(record))
            for (detector, classifier), probabilities in record.members.items():
                members.writerows(member_rows(record.study_id, detector, classifier, probabilities))
