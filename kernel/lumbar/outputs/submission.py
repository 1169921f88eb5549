"""Probabilities -> ``submission.csv``: checked rows, written whole; the prior where nothing is known.

The columns are ``row_id,normal_mild,moderate,severe`` and a row's id is ``{study_id}_{site}``
(the competition's evaluation page). Row ids are written as the sample has them, quoted where CSV needs it: a
changed one would void the submission. Only ids that can name folders (``tables.IDENTIFIER``) get anywhere else.
"""

import csv
import logging
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lumbar.atomic_files import write_atomically
from lumbar.sites import SEVERITIES, SITE_NAMES
from lumbar.table_columns import SUBMISSION_COLUMNS

logger = logging.getLogger(__name__)

SUM_TOLERANCE = 1e-6
NAMES = frozenset(SITE_NAMES)
SITE_WORDS = sorted({name.count("_") + 1 for name in SITE_NAMES})  # 5 and 6
SHOWN = 5  # row ids in a log line


class SubmissionError(Exception):
    """Rows that the competition would refuse."""


class Submission:
    """The rows to be submitted: the prior of every row at first, replaced as studies are graded.

    row_ids: the sample's, in its order; or those of ``study_rows``. prior: (25, 3).
    """

    def __init__(self, row_ids: Iterable[str], prior: np.ndarray):
        given = tuple(row_ids)
        self.row_ids = tuple(dict.fromkeys(given))
        if len(self.row_ids) < len(given):
            logger.warning(
                "sample: %d row ids are repeated; each is kept once", len(given) - len(self.row_ids)
            )
        self.position = {row_id: number for number, row_id in enumerate(self.row_ids)}
        site_prior = dict(zip(SITE_NAMES, prior, strict=True))
        thirds = np.full(len(SEVERITIES), 1 / len(SEVERITIES))
        odd = [row_id for row_id in self.row_ids if site_of(row_id) is None]
        if odd:
            logger.warning(
                "%d row ids end in none of the 25 sites, submitted as three thirds: %s", len(odd), odd[:SHOWN]
            )
        rows = [site_prior.get(site_of(row_id) or "", thirds) for row_id in self.row_ids]
        self.rows = np.array(rows).reshape(-1, len(SEVERITIES))

    def set_study(self, study_id: str, probabilities: np.ndarray) -> None:
        """Take a study's probabilities.

        Sites that the sample does not list are not written. A site that was not graded keeps the prior.

        Args:
            probabilities: (25, 3), NaN in all three columns of a site that was not graded.

        Raises:
            SubmissionError: A value is infinite or outside 0..1, a row is NaN in part, or its sum is not 1.
        """
        if probabilities.shape != (len(SITE_NAMES), len(SEVERITIES)):
            raise SubmissionError(f"study {study_id}: got shape {probabilities.shape}, expected 25 x 3")
        graded = np.asarray(~np.isnan(probabilities).all(axis=1))
        check_probabilities(probabilities[graded], f"study {study_id}")
        for row_id, row, has_grade in zip(study_rows(study_id), probabilities, graded.tolist(), strict=True):
            if has_grade and row_id in self.position:
                self.rows[self.position[row_id]] = row

    def write(self, path: Path) -> None:
        """Check all rows, write the file atomically, read it back and compare."""
        check_probabilities(self.rows, str(path))
        lines = [",".join(SUBMISSION_COLUMNS)]
        lines += [
            f"{quoted(row_id)},{a:.9f},{b:.9f},{c:.9f}"
            for row_id, (a, b, c) in zip(self.row_ids, self.rows.tolist(), strict=True)
        ]
        write_atomically(path, "\n".join(lines) + "\n")
        row_ids, rows = read_submission(path)
        if row_ids != self.row_ids or not np.allclose(rows, self.rows, atol=1e-8):
            raise SubmissionError(f"{path}: reads back differently from the rows written; check the disk")


def study_rows(study_id: str) -> list[str]:
    """Return the 25 row ids of a study, in the order of ``SITES``."""
    return [f"{study_id}_{site}" for site in SITE_NAMES]


def quoted(text: str) -> str:
    """Return a CSV field (RFC 4180); the csv module leaves a lone carriage return bare."""
    return '"' + text.replace('"', '""') + '"' if re.search('[,"\r\n]', text) else text


def site_of(row_id: str) -> str | None:
    """Return the name of the site that a row id ends in, None if it ends in none."""
    words = row_id.split("_")
    ends = ("_".join(words[-count:]) for count in SITE_WORDS if len(words) > count)
    return next((end for end in ends if end in NAMES), None)


def check_probabilities(rows: np.ndarray, where: str) -> None:
    if not np.isfinite(rows).all() or (rows < 0).any() or (rows > 1).any():
        raise SubmissionError(f"{where}: got a probability that is NaN, infinite or outside 0..1")
    if rows.size and np.abs(rows.sum(axis=-1) - 1).max() > SUM_TOLERANCE:
        raise SubmissionError(f"{where}: got rows that do not sum to 1")


def read_submission(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the row ids and the probabilities (n, 3) of a submission file; SubmissionError if it is not one."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = list(csv.reader(file)) or [[]]
            rows = np.array([[float(value) for value in line[1:]] for line in lines])
            rows = rows.reshape(len(lines), len(SEVERITIES))
    except (ValueError, csv.Error) as error:
        raise SubmissionError(
            f"{path}: got a row that is not an id and {len(SEVERITIES)} numbers ({error})"
        ) from error
    if tuple(header) != SUBMISSION_COLUMNS:
        raise SubmissionError(f"{path}: got columns {header}, expected {list(SUBMISSION_COLUMNS)}")
    return tuple(line[0] for line in lines), rows
