"""The competition's CSV files -> checked text: ids that can name folders, descriptions as the site table has them."""

import io
import logging
import re
import warnings
from pathlib import Path
from typing import Any, cast

import pandas as pd

from lumbar.faults import DataNotFoundError
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SITE_NAMES
from lumbar.table_columns import DESCRIPTION_COLUMNS, SUBMISSION_COLUMNS

logger = logging.getLogger(__name__)

NUL_MARK = "\uffff"  # Unicode's noncharacter: no text holds it
IDENTIFIER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")  # one plain part of a path, never ".."
SHOWN = 5  # examples in a log line

PLANE_WORDS = {"sagittal": ("sagittal", "sag"), "axial": ("axial", "ax", "transverse", "tra")}
WEIGHTING_WORDS = {
    SAGITTAL_T2: ("t2stir", "stirt2", "t2", "t2w", "stir"),
    SAGITTAL_T1: ("t1", "t1w"),
    AXIAL_T2: ("t2", "t2w"),
}
SPELLINGS = {
    spelling: description
    for description, weightings in WEIGHTING_WORDS.items()
    for weighting in weightings
    for plane in PLANE_WORDS[description.split()[0].lower()]
    for spelling in (plane + weighting, weighting + plane)
}


def read_descriptions(path: Path) -> pd.DataFrame:
    """Read ``<split>_series_descriptions.csv`` as text, descriptions as in ``sites`` where they match.

    Rows with ids that can't name a folder, and repeated (study, series) rows, are dropped and logged.

    Returns:
        study_id, series_id, series_description in the file's order.

    Raises:
        DataNotFoundError: It can't be read, lacks a column, or has no usable row.
    """
    table = read_text_table(path, DESCRIPTION_COLUMNS)
    ids = [column_of(table, name) for name in ("study_id", "series_id")]
    safe = ids[0].str.fullmatch(IDENTIFIER.pattern) & ids[1].str.fullmatch(IDENTIFIER.pattern)
    if not safe.all():
        rows = zip(safe, *ids, strict=True)
        unsafe = [[study, series] for is_safe, study, series in rows if not is_safe][:SHOWN]
        logger.warning("%s: %d rows have ids that can not name folders: %s", path, (~safe).sum(), unsafe)
    repeated = safe & table.duplicated(["study_id", "series_id"])
    if repeated.any():
        logger.warning("%s: %d repeated rows ignored, the first of each kept", path, repeated.sum())
    table = cast(pd.DataFrame, table[safe & ~repeated])
    if table.empty:
        raise DataNotFoundError(f"{path}: got no usable row, expected one for each series; check the file")
    texts = column_of(table, "series_description")
    return table.assign(
        series_description=texts.map({text: match_description(text) for text in texts.unique()})
    )


def column_of(table: pd.DataFrame, name: str) -> pd.Series:
    """Return one column of a table."""
    return cast(pd.Series, table[name])


def match_description(text: str) -> str:
    """Return the one of the three descriptions that a text spells, else the text as it is.

    Case, spaces and punctuation do not count, nor the order of plane and weighting. A sagittal series may be
    named T2, STIR or both.
    """
    return SPELLINGS.get(re.sub(r"[^a-z0-9]", "", text.lower()), text)


def read_sample(path: Path) -> tuple[str, ...] | None:
    """Return the sample submission's row ids in its order; None where there is no such file.

    Raises:
        DataNotFoundError: It can't be read or has no column row_id.
    """
    return (
        tuple(read_text_table(path, SUBMISSION_COLUMNS[:1])[SUBMISSION_COLUMNS[0]])
        if path.is_file()
        else None
    )


def studies_of_rows(row_ids: tuple[str, ...]) -> list[str]:
    """Return the studies of ``{study_id}_{group}_{level}`` row ids, each once, in order."""
    sites = "|".join(SITE_NAMES)
    row_id = re.compile(f"({IDENTIFIER.pattern})_(?:{sites})")
    matches = [(text, row_id.fullmatch(text)) for text in row_ids]
    odd = [text for text, match in matches if match is None]
    if odd:
        logger.warning("sample submission: %d row ids name no study and site: %s", len(odd), odd[:SHOWN])
    return list(dict.fromkeys(match[1] for _, match in matches if match))


def read_text_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read columns of a CSV as stripped text; a BOM, CRLF, other or reordered columns are fine.

    A row with more fields than the header loses the rest; an absent field is "".

    Raises:
        DataNotFoundError: It can't be read, or lacks a column.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # of fields beyond the header's
            table = read_csv(path, dtype=str, keep_default_na=False, na_filter=False, index_col=False)
    except (OSError, ValueError) as error:  # pandas' parser and encoding errors are ValueErrors
        message = f"{path}: {error}; expected a CSV in UTF-8 with the columns {', '.join(columns)}"
        raise DataNotFoundError(message) from error
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataNotFoundError(f"{path}: got the columns {list(table.columns)}, expected also {missing}")
    return pd.DataFrame({name: column_of(table, name).str.strip() for name in columns})


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Read a CSV in UTF-8, with or without a BOM; a NUL is a character like any other.

    pandas 2.2 ends a field at a NUL, so that another study's id could remain of an id; pandas 3 does not.

    Args:
        path: The CSV.
        options: Of ``pandas.read_csv``.

    Raises:
        OSError: The file can't be read.
        ValueError: It is not UTF-8 or no CSV.
    """
    text = path.read_bytes().decode("utf-8-sig")
    table = pd.read_csv(io.StringIO(text.replace("\0", NUL_MARK), newline=""), **options)
    return table.replace(NUL_MARK, "\0", regex=True) if "\0" in text else table
