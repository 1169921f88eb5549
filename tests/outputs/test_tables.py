"""points.csv and members.csv: a row per point and per member's site, whole or as they were."""

import csv

import numpy as np
import pytest

from lumbar.grading.study_record import record_graded, record_ungraded
from lumbar.outputs.tables import MEMBER_COLUMNS, POINT_COLUMNS, dump_tables
from lumbar.sites import SEVERITIES, SITE_NAMES
from tests.making.report_studies import graded_study


def rows_of(file) -> list[dict]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_both_tables_hold_what_the_records_hold(tmp_path):
    study, graded = graded_study(0)
    record = record_graded(study, graded, [], [])
    dump_tables([record, record_ungraded("9", "reader_died", "it died")], tmp_path / "new")
    points, members = rows_of(tmp_path / "new/points.csv"), rows_of(tmp_path / "new/members.csv")
    assert list(points[0]) == list(POINT_COLUMNS) and list(members[0]) == list(MEMBER_COLUMNS)
    assert len(points) == 2 * 25 and len(members) == 4 * 25
    assert {row["study_id"] for row in (*points, *members)} == {study.study_id}
    for row, point in zip(points, record.points, strict=True):
        assert [row[name] for name in POINT_COLUMNS[1:]] == [str(value) for value in point]
    for row in members:
        said = graded.members[row["detector"], row["classifier"]][SITE_NAMES.index(row["site"])]
        assert [float(row[name]) for name in SEVERITIES] == said.tolist()


def test_an_error_in_the_middle_leaves_the_old_tables(tmp_path):
    study, graded = graded_study(0)
    record = record_graded(study, graded, [], [])
    dump_tables([record], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def torn():
        yield record
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input"):
        dump_tables(torn(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_without_a_study_has_empty_tables(tmp_path):
    dump_tables([], tmp_path)
    assert (tmp_path / "points.csv").read_text() == ",".join(POINT_COLUMNS) + "\n"
    assert np.loadtxt(tmp_path / "members.csv", dtype=str).item() == ",".join(MEMBER_COLUMNS)
