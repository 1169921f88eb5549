"""The submission: the sample's rows, checked numbers, and a file that is whole at every moment."""

import csv
import os

import numpy as np
import pytest

from lumbar.atomic_files import remove_leftovers, write_atomically
from lumbar.outputs.submission import Submission, SubmissionError, read_submission, site_of, study_rows
from lumbar.sites import SITE_NAMES

HEADER = "row_id,normal_mild,moderate,severe"
PRIOR = np.random.default_rng(0).dirichlet([5, 2, 1], 25)
GRADES = np.random.default_rng(1).dirichlet([1, 1, 1], 25)


def test_prior_first_then_what_is_known(tmp_path):
    submission = Submission([*study_rows("1"), *study_rows("2")], PRIOR)
    submission.set_study("2", GRADES)
    submission.write(tmp_path / "s.csv")
    row_ids, rows = read_submission(tmp_path / "s.csv")
    assert row_ids == (*study_rows("1"), *study_rows("2"))
    np.testing.assert_allclose(rows, np.concatenate([PRIOR, GRADES]), atol=1e-9)
    assert (tmp_path / "s.csv").read_text().startswith("row_id,normal_mild,moderate,severe\n1_spinal_canal")


def test_rows_are_the_samples_in_its_order_and_nothing_else(tmp_path, caplog):
    odd = ["x", "", "a,b", 'a"b', "a\rb", "a\nb", "=1+1", f"7_{SITE_NAMES[20]}", f"1_2_{SITE_NAMES[3]}"]
    sample = [*odd, *study_rows("1")[::-2]]
    submission = Submission(sample, PRIOR)
    submission.set_study("1", GRADES)
    submission.set_study("unasked", GRADES)
    submission.write(tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == sample
    row_ids, rows = read_submission(tmp_path / "s.csv")
    assert row_ids == tuple(sample)
    np.testing.assert_allclose(rows[:7], 1 / 3, atol=1e-9)
    np.testing.assert_allclose(rows[7:9], PRIOR[[20, 3]], atol=1e-9)
    np.testing.assert_allclose(rows[9:], GRADES[::-2], atol=1e-9)
    assert len(caplog.records) == 1 and "7 row ids" in caplog.text


def test_repeated_rows_are_kept_once(caplog):
    assert Submission(study_rows("1") * 3, PRIOR).row_ids == tuple(study_rows("1"))
    assert "50 row ids are repeated" in caplog.text


def test_the_site_is_the_end_of_a_row_id():
    for site in SITE_NAMES:
        assert site_of(f"100_{site}") == site_of(f"a_b_{site}") == site
        assert site_of(site) is None and site_of(f"1_{site}_") is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
def test_numbers_that_would_void_the_submission_are_refused(tmp_path, value):
    grades = GRADES.copy()
    grades[3, 1] = value
    with pytest.raises(SubmissionError, match="study 1: got"):
        Submission(study_rows("1"), PRIOR).set_study("1", grades)


@pytest.mark.parametrize("grades", [GRADES * 0.9, GRADES[:24], GRADES.T])
def test_sums_and_shapes_are_checked(grades):
    with pytest.raises(SubmissionError):
        Submission(study_rows("1"), PRIOR).set_study("1", grades)


@pytest.mark.parametrize("text", ["", "row_id\n", f"{HEADER}\n1,a,b,c\n", f"{HEADER}\n1,0.5\n"])
def test_other_files_are_no_submissions(tmp_path, text):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(SubmissionError):
        read_submission(tmp_path / "s.csv")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(tmp_path, monkeypatch):
    write_atomically(tmp_path / "s.csv", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "s.csv", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]
    assert (tmp_path / "s.csv").read_text() == "old"


def test_leftovers_of_kills_are_removed_and_nothing_else(tmp_path):
    kept = ["s.csv", ".s.csv", ".s.csv.notes.txt", "s.csv.abcdefgh", ".other.csv.abcdefgh.csv"]
    for name in (*kept, ".s.csv.abc_efg9.csv"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / "s.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
