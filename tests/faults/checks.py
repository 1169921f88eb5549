"""Rules that hold after every fault: a valid file, the unharmed rows untouched, the fault named."""

import csv
import io
from pathlib import Path

from lumbar.sites import SITE_NAMES

HEADER = ["row_id", "normal_mild", "moderate", "severe"]


def rows_of(submission: Path, row_ids: list[str] | None) -> dict[str, str]:
    """Return the numbers of a submission, as written, by row id after checking all that the competition checks."""
    text = submission.read_bytes().decode()
    assert text.endswith("\n"), f"{submission}: the last line is torn"
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == HEADER, f"{submission}: header {header}"
    if row_ids is not None:
        assert [row[0] for row in rows] == list(row_ids), f"{submission}: other rows than the sample's"
    for row in rows:
        values = [float(value) for value in row[1:]]
        assert len(values) == 3, f"{submission}: {row}"
        assert all(0 <= value <= 1 for value in values), f"{submission}: {row}"
        assert abs(sum(values) - 1) < 1e-6, f"{submission}: {row}"
    assert len({row[0] for row in rows}) == len(rows), f"{submission}: a row twice"
    return {row[0]: ",".join(row[1:]) for row in rows}


def study_lines(rows: dict[str, str], study_id: str) -> list[str]:
    """Return a study's 25 lines without its id."""
    return [rows[f"{study_id}_{site}"] for site in SITE_NAMES]


def reasons_of(run: dict, study_id: str) -> set[str]:
    return {fault["reason"] for fault in run["faults"] if fault["study_id"] == study_id}


def fallback_of(run: dict, study_id: str) -> str | None:
    found = [fallback["fallback"] for fallback in run["fallbacks"] if fallback["study_id"] == study_id]
    assert len(found) < 2, f"{study_id}: two fallbacks"
    return found[0] if found else None


def check_log(log: str) -> None:
    """Nothing forbidden was caught, and no error got past the kernel's own messages."""
    assert "CAUGHT" not in log, log[-3000:]
