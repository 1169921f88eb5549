"""The competition's label tables: grades, coordinates, folds, and the faults found in them, by name.

Source: data, the competition's files.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold

from lumbar.reading.competition_tables import read_csv
from lumbar.sites import GROUPS, LEVELS, MISSING, SEVERITY_LABELS, SITE_NAMES
from lumbar.table_columns import COORDINATE_COLUMNS, GRADE_COLUMNS
from training.errors import LabelError

log = logging.getLogger(__name__)

GRADES_FILE = "train.csv"
COORDINATES_FILE = "train_label_coordinates.csv"
LABELLED_POINT_COLUMNS = (
    "study_id",
    "series_id",
    "instance_number",
    "site",
    "x",
    "y",
    "unit",
)  # as read here


@dataclass(frozen=True)
class Grades:
    """The grades of a table.

    Attributes:
        study_ids: The n studies, in the table's order.
        labels: (n, 25) int8 severities 0..2, -1 where missing.
    """

    study_ids: tuple[str, ...]
    labels: np.ndarray

    def of(self, study_ids: list[str] | tuple[str, ...]) -> np.ndarray:
        """Return the labels (len(study_ids), 25) of some studies; a study without a row is all missing."""
        row = {study: i for i, study in enumerate(self.study_ids)}
        none = np.full(len(SITE_NAMES), MISSING, np.int8)
        return np.stack([self.labels[row[s]] if s in row else none for s in study_ids])


@dataclass(frozen=True)
class LabelFault:
    """One label that can't be used.

    Attributes:
        reason: A short stable slug.
        where: Study, series, slice and site, or file.
        message: The value found and the value expected.
    """

    reason: str
    where: str
    message: str


def read_table(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV with ids and names as text; raises LabelError when the file or a column is missing."""
    if not file.is_file():
        raise LabelError(
            f"{file}: no such file, expected a table with {columns[0]}, ...; check --data and the paths"
        )
    table = read_csv(file, dtype=dict.fromkeys(("study_id", "series_id", "detector", "classifier"), str))
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise LabelError(f"{file}: got no column {missing}, expected {list(columns)}; correct the table")
    return table


def read_grades(file: Path) -> Grades:
    """Read ``train.csv``; an empty cell is a missing label. Raises LabelError for any other text."""
    table = read_table(file, GRADE_COLUMNS)
    if table["study_id"].duplicated().any():
        twice = table["study_id"][table["study_id"].duplicated()].iloc[0]
        raise LabelError(f"{file}: got study {twice} twice, expected one row a study; remove one")
    severity = {label: np.int8(i) for i, label in enumerate(SEVERITY_LABELS)}
    labels = np.full((len(table), len(SITE_NAMES)), MISSING, np.int8)
    for column, name in enumerate(SITE_NAMES):
        for row, text in enumerate(table[name]):
            if isinstance(text, str) and text.strip():
                if text not in severity:
                    study = table["study_id"].iloc[row]
                    raise LabelError(
                        f"{file}: study {study}, {name}: got {text!r}, expected {SEVERITY_LABELS}"
                    )
                labels[row, column] = severity[text]
    return Grades(tuple(table["study_id"]), labels)


def read_coordinates(file: Path) -> tuple[pd.DataFrame, list[LabelFault]]:
    """Read ``train_label_coordinates.csv`` into a table of ``LABELLED_POINT_COLUMNS``, x and y in native pixels.

    site is the index of ``SITES``. Rows of an unknown condition or level, without numbers, or that repeat
    a site of a study are left out and returned as faults.
    """
    table = read_table(file, COORDINATE_COLUMNS)
    groups = [str(text).strip().lower().replace(" ", "_") for text in table["condition"]]
    return coordinate_table(table.assign(group=groups, unit="pixel"), file)


def coordinate_table(table: pd.DataFrame, file: Path) -> tuple[pd.DataFrame, list[LabelFault]]:
    """Check rows of study_id, series_id, instance_number, group, level, x, y, unit and name their sites."""
    rows, faults, seen = [], [], set()
    numbers = table[["instance_number", "x", "y"]].apply(pd.to_numeric, errors="coerce")  # text: NaN
    for row, (instance, x, y) in zip(table.itertuples(index=False), numbers.to_numpy(), strict=True):
        level = level_name(row.level)
        where = f"{file.name}: study {row.study_id}, series {row.series_id}, slice {row.instance_number}"
        if row.group not in GROUPS or level not in LEVELS:
            faults.append(LabelFault("unknown_site", where, f"got {row.group!r} at {row.level!r}"))
            continue
        site = GROUPS.index(row.group) * len(LEVELS) + LEVELS.index(level)
        where = f"{where}, {SITE_NAMES[site]}"
        if not np.isfinite([instance, x, y]).all():
            faults.append(LabelFault("not_a_number", where, f"got x {row.x}, y {row.y}"))
        elif (row.study_id, site) in seen:
            faults.append(
                LabelFault("repeated", where, "expected one point a site of a study; kept the first")
            )
        else:
            seen.add((row.study_id, site))
            rows.append((row.study_id, row.series_id, int(instance), site, float(x), float(y), row.unit))
    return pd.DataFrame(rows, columns=list(LABELLED_POINT_COLUMNS)), faults


def level_name(text: object) -> str:
    """Return a level as ``LEVELS`` spells it, of "L4/L5" and the like; other text comes back changed alike."""
    return str(text).strip().lower().replace("/", "_")


def study_folds(study_ids: tuple[str, ...], count: int, seed: int) -> dict[str, int]:
    """Return the fold in which each study is validated: ``KFold(count, shuffle=True, random_state=seed)``.

    With fewer studies than folds each study has its own. Source: solution, stage 1 (5 folds, seed 42).
    """
    count = min(count, len(study_ids))
    if count < 2:
        raise LabelError(f"folds: got {len(study_ids)} studies, expected at least 2; give more data")
    folds = {}
    for fold, (_, validation) in enumerate(KFold(count, shuffle=True, random_state=seed).split(study_ids)):
        folds.update({study_ids[i]: fold for i in validation})
    return folds


def report_faults(faults: list[LabelFault], strict: bool) -> None:
    """Log how many labels of each kind are left out, and name them.

    Raises LabelError instead when ``strict`` and there is any.
    """
    if not faults:
        return
    counts = ", ".join(
        f"{count} {reason}" for reason, count in Counter(f.reason for f in faults).most_common()
    )
    lines = [f"  {fault.reason}: {fault.where}: {fault.message}" for fault in faults]
    summary = f"labels: {len(faults)} can't be used ({counts})"
    if strict:
        raise LabelError("\n".join([f"{summary}; correct them, or leave out --strict", *lines[:20]]))
    log.warning("%s; they are left out:\n%s", summary, "\n".join(lines[:50]))
    if len(lines) > 50:
        log.warning("  ... and %d more, all in faults.csv of the run", len(lines) - 50)
