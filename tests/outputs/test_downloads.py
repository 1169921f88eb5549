"""The files beside a study's page: as the grades are, linked where they are, and whole tables of the run."""

import csv
import json

import pytest

from lumbar.grading.study_record import record_graded
from lumbar.outputs.findings import site_findings
from lumbar.outputs.report import Report
from lumbar.outputs.report.bundle_figures import bundle_figures
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, SEVERITIES, SEVERITY_WEIGHTS, SITE_NAMES
from tests.making.report_page import Page, page_of
from tests.making.report_studies import (
    ABOUT,
    HOSTILE,
    SUMMARY,
    add_page,
    graded_study,
    unreadable,
    without_axial,
)


def rows_of(file) -> list[dict]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def links(page: Page) -> dict[str, str]:
    return {a["href"].rpartition("/")[2]: a["href"] for tag, a in page.tags if tag == "a" and "download" in a}


def test_grades_and_findings_are_beside_the_page(tmp_path):
    study, graded = without_axial(*graded_study(0))
    report = Report(tmp_path, ABOUT)
    record = record_graded(study, graded, [], site_findings(study, graded))
    report.add_study(record, study, graded.detections)
    other, other_graded = graded_study(1)
    add_page(report, other, other_graded)  # without findings
    report.finish(SUMMARY)
    page = page_of(report, study.study_id)
    files = links(page)
    assert list(files) == ["grades.csv", "findings.json"] and list(
        links(page_of(report, other.study_id))
    ) == ["grades.csv"]
    rows = rows_of(tmp_path / "studies" / files["grades.csv"])
    assert [row["site"] for row in rows] == list(SITE_NAMES)
    for row, expected in zip(rows, graded.probabilities, strict=True):
        if row["most_probable"]:
            assert [float(row[name]) for name in SEVERITIES] == pytest.approx(expected.tolist(), abs=1e-6)
            assert row["most_probable"] == SEVERITIES[expected.argmax()]
    assert [row["site"] for row in rows if not row["most_probable"]] == list(SITE_NAMES[15:])
    to_check = {row["site"] for row in rows if row["to_check"]}
    assert to_check == set(record.doubts) | set(SITE_NAMES[DESCRIPTION_SITES[AXIAL_T2]])
    assert {row["to_check"] for row in rows if not row["most_probable"]} == {"prior"}
    content = json.loads((tmp_path / "studies" / files["findings.json"]).read_text())
    assert content["findings"] == json.loads(json.dumps(record.findings)) and content["graded"]
    index = Page(tmp_path / "index.html")
    addresses = [a["href"] for tag, a in index.tags if tag == "a" and "download" in a]
    assert len(addresses) == 2 + 3 and all((tmp_path / address).is_file() for address in addresses)
    together = rows_of(tmp_path / "grades.csv")
    assert len(together) == 50 and [row for row in together if row["study_id"] == study.study_id] == rows
    assert json.loads((tmp_path / "run.json").read_text()) == SUMMARY


def test_a_structured_report_is_linked_when_it_is_written(tmp_path):
    report = Report(tmp_path / "report", ABOUT)
    ids = []
    for number in range(2):
        study, graded = graded_study(number)
        add_page(report, study, graded)
        ids.append(study.study_id)
    add_page(report, *unreadable(HOSTILE))
    findings = tmp_path / "findings"
    findings.mkdir()
    (findings / f"{ids[0]}.dcm").write_bytes(b"DICM")
    for _ in range(2):  # a resumed run finishes again
        report.finish(SUMMARY, findings)
        found = {
            study: links(page_of(report, study)).get("structured_report.dcm") for study in (*ids, HOSTILE)
        }
        assert found == {ids[0]: f"study-{ids[0]}/structured_report.dcm", ids[1]: None, HOSTILE: None}
        assert (tmp_path / "report/studies" / found[ids[0]]).read_bytes() == b"DICM"
        assert list(links(Page(tmp_path / "report/index.html"))).count("structured_report.dcm") == 1
    assert not report.failures


def test_a_name_that_is_no_plain_word_is_in_no_table(tmp_path):
    report = Report(tmp_path, ABOUT)
    add_page(report, *unreadable("=cmd|' /C calc'!A0"))
    report.finish(SUMMARY)
    rows = rows_of(tmp_path / "grades.csv")
    assert len(rows) == 25 and all(row["study_id"] == "" and row["severe"] == "" for row in rows)


def test_the_bundle_s_own_figures_are_one_line():
    figures = [{"mean_loss": 0.4075, "auc_spinal": 0.98}, {"mean_loss": 0.38, "auc_spinal": 0.984}, {}, None]
    line = bundle_figures("phantoms", figures)
    assert "log loss 0.38 to 0.41; AUC canal 0.98." in line and "phantoms" in line and "foramina" not in line
    assert "no figures of its own" in bundle_figures("phantoms", [{"best": {"other": 1.0}}])


def test_the_example_of_the_metric_s_lean_is_right(tmp_path):
    """The page has the example of 30 % Severe at 10 of 100: the answer with the least expected weighted loss."""
    normal, _, severe = SEVERITY_WEIGHTS
    share = 0.1
    ideal = severe * share / (severe * share + normal * (1 - share))
    assert round(ideal, 1) == 0.3
    study, graded = graded_study(0)
    report = Report(tmp_path, ABOUT)
    add_page(report, study, graded)
    assert "30% Severe where 10 of 100" in page_of(report, study.study_id).text
