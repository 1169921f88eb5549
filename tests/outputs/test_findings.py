"""Findings: every site, its probabilities, and each detector's point where another program can mark it."""

import csv
import json

import numpy as np
import pytest

import infer
from lumbar.grading.study_record import record_graded, record_ungraded
from lumbar.outputs.findings import study_findings, write_findings
from lumbar.sites import AXIAL_T2, SITES
from tests.making.report_studies import ABOUT, graded_study, unreadable, without_axial
from tests.making.small_study import write_studies
from tests.making.spine import phantom_spine
from tests.making.tiny_bundle import write_tiny_bundle


def test_points_lie_at_the_sites():
    study, graded = graded_study(0, detectors=("exact",))
    _, sites = phantom_spine(0)
    found = study_findings(study, graded)
    assert [one["site"] for one in found] == [site.name for site in SITES]
    for one, site, place, row in zip(found, SITES, sites, graded.probabilities, strict=True):
        assert list(one["probabilities"].values()) == pytest.approx(row.tolist())
        (point,) = one["points"]
        volume = study.volumes[site.description]
        (header,) = [h for h in volume.headers if h.sop_instance_uid == point["sop_instance_uid"]]
        assert point["instance_number"] == header.instance_number and point["series_id"] == header.series_id
        # The pixel and the millimetres are one place, by the standard's formula on the native pixel.
        along_row, along_column = np.reshape(header.orientation, (2, 3))
        patient = header.position + along_row * header.spacing[1] * point["column"]
        patient = patient + along_column * header.spacing[0] * point["row"]
        assert point["patient_mm"] == pytest.approx(patient.tolist())
        assert np.linalg.norm(patient - place) < 8  # half a slice's distance and a pixel of the grid


def test_a_description_and_a_grade_may_be_missing():
    study, graded = without_axial(*graded_study(1))
    found = study_findings(study, graded)
    for one in found:
        assert (len(one["points"]), one["probabilities"] is None) == (
            (0, True) if one["description"] == AXIAL_T2 else (2, False)
        )
    found = study_findings(*unreadable("7"))
    assert len(found) == 25 and all(one["probabilities"] is None and not one["points"] for one in found)


def test_a_failure_is_a_fault_and_costs_no_grade():
    study, graded = graded_study(0)
    study.volumes.clear()
    assert study_findings(study, graded) == []
    assert graded.faults[-1].reason == "no_findings" and graded.probabilities is not None


def test_each_record_gives_a_file(tmp_path):
    study, graded = graded_study(0)
    record = record_graded(study, graded, [], study_findings(study, graded))
    records = [record, record_ungraded("9", "reader_died", "it died"), record_ungraded("../9", "odd", "")]
    write_findings(records, ABOUT, tmp_path / "findings")
    assert {path.name for path in (tmp_path / "findings").iterdir()} == {f"{study.study_id}.json", "9.json"}
    content = json.loads((tmp_path / f"findings/{study.study_id}.json").read_text())
    assert content["graded"] and content["findings"] == record.findings
    assert not json.loads((tmp_path / "findings/9.json").read_text())["graded"]


def test_the_kernel_on_a_plain_folder(tmp_path):
    root = write_studies(tmp_path / "data")
    table = (root / "test_series_descriptions.csv").rename(tmp_path / "map.csv")
    bundle = write_tiny_bundle(tmp_path / "bundle")
    out, seen = tmp_path / "submission.csv", tmp_path / "seen"
    flags = ["--data", root, "--series", table, "--bundle", bundle, "--out", out, "--dump", seen]
    flags += ["--report", tmp_path / "report"]
    flags += ["--device", "cpu", "--precision", "fp32", "--workers", "1"]
    assert infer.main(list(map(str, flags))) in (0, 3)
    with out.open(newline="") as file:
        submitted = {row["row_id"]: float(row["severe"]) for row in csv.DictReader(file)}
    for study_id in ("1", "2", "3"):
        for one in json.loads((seen / f"findings/{study_id}.json").read_text())["findings"]:
            ungraded = study_id == "2" and one["description"] == AXIAL_T2
            assert (one["probabilities"] is None) == ungraded
            severe = 1 / 3 if ungraded else one["probabilities"]["severe"]  # the bundle's prior is flat
            assert submitted[f"{study_id}_{one['site']}"] == pytest.approx(severe, abs=1e-8)
    run = json.loads((seen / "run.json").read_text())
    assert {told["why"] for told in run["series"]} == {"named by --series"}
    pages = [path.read_text("utf-8") for path in (tmp_path / "report/studies").glob("*.html")]
    assert sorted(page.count("<td>named by --series</td>") for page in pages) == [2, 3, 4]
