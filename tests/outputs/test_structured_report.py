"""Structured reports hold the findings, and a validator of the standard has no objection."""

import json
import logging
import shutil
import subprocess
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

import infer
from lumbar.outputs import structured_report
from lumbar.outputs.findings import study_findings
from lumbar.reading.dicom_file import HEADER_BYTES
from lumbar.reading.references import SeriesRef, StudyRef
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SEVERITIES
from tests.making.dicom_writer import write_slice
from tests.making.report_studies import graded_study, without_axial

needs_highdicom = pytest.mark.skipif(
    not structured_report.is_installed(), reason="highdicom is not installed: pip install highdicom"
)
ABOUT = {"bundle": "small", "bundle_sha256": "0" * 64, "graded": True}


@pytest.fixture
def written(tmp_path):
    """Write the report of a study without axial series; return its findings' JSON and its file."""
    study, graded = without_axial(*graded_study(0))
    images = tmp_path / "images"
    for volume in study.volumes.values():
        for header in volume.headers:
            uids = {"SOPInstanceUID": header.sop_instance_uid, "SeriesInstanceUID": f"1.2.{header.series_id}"}
            classes = {"StudyInstanceUID": "1.2.3", "SOPClassUID": pydicom.uid.MRImageStorage}
            write_slice(images / f"{header.sop_instance_uid}.dcm", None, Modality="MR", **uids, **classes)
    findings = {"study_id": "7", "findings": study_findings(study, graded)} | ABOUT
    (tmp_path / "7.json").write_text(json.dumps(findings))
    ref = StudyRef("7", (SeriesRef("1", images, AXIAL_T2),))
    assert structured_report.write_structured_reports((ref, StudyRef("8", ())), tmp_path) == []
    return findings["findings"], tmp_path / "7.dcm"


@needs_highdicom
def test_read_back_it_says_what_the_findings_say(written):
    from highdicom import sr

    findings, file = written
    report = sr.srread(file)
    assert report.SOPClassUID == pydicom.uid.ComprehensiveSRStorage
    assert report.StudyInstanceUID == "1.2.3" and report.VerificationFlag == "UNVERIFIED"
    groups = {
        group.tracking_identifier: group
        for group in (
            *report.content.get_planar_roi_measurement_groups(),
            *report.content.get_image_measurement_groups(),
        )
    }
    graded = [site for site in findings if site["probabilities"]]
    assert groups.keys() == {site["site"] for site in graded}
    assert {site["description"] for site in graded} == {SAGITTAL_T1, SAGITTAL_T2}
    for site in graded:
        group = groups[site["site"]]
        probabilities = [site["probabilities"][name] for name in SEVERITIES]
        assert [m.value for m in group.get_measurements()] == pytest.approx(probabilities, abs=1e-6)
        (severity,) = group.get_qualitative_evaluations()
        worst = max(zip(probabilities, ("Normal or mild", "Moderate", "Severe"), strict=True))[1]
        assert severity.value.meaning == worst
        (where,) = group.finding_sites
        assert where.value.meaning.endswith(site["level"].upper().replace("_", "/"))
        laterality = None if where.laterality is None else where.laterality.meaning.lower()
        assert laterality == site["side"]
        point = site["points"][0]
        region = group.roi
        assert region.value.tolist() == [pytest.approx([point["column"] + 0.5, point["row"] + 0.5], abs=1e-3)]
        image = region.ContentSequence[0].ReferencedSOPSequence[0]
        assert image.ReferencedSOPInstanceUID == point["sop_instance_uid"]


@needs_highdicom
def test_a_validator_has_no_objection(written):
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy: apt-get install dicom3tools")
    done = subprocess.run(["dciodvfy", str(written[1])], capture_output=True, text=True)
    said = (done.stdout + done.stderr).splitlines()
    assert "ComprehensiveSR" in said
    assert [line for line in said if line.startswith(("Error", "Abort"))] == []


@needs_highdicom
def test_an_image_that_says_too_little_costs_its_study_s_report_alone(written, monkeypatch):
    def refuse(*_: object) -> None:
        raise ValueError("refused")

    folder = written[1].parent
    monkeypatch.setattr(structured_report, "structured_report", refuse)
    ref = StudyRef("7", (SeriesRef("1", folder / "images", AXIAL_T2),))
    assert structured_report.write_structured_reports((ref,), folder) == ["7.dcm: ValueError: refused"]


@needs_highdicom
def test_the_log_says_how_many_reports_were_written_in_one_line(written, caplog):
    folder, ref = written[1].parent, StudyRef("7", (SeriesRef("1", written[1].parent / "images", AXIAL_T2),))
    shutil.copy(folder / "7.json", folder / "8.json")
    caplog.set_level(logging.INFO)
    assert structured_report.write_structured_reports((ref, replace(ref, study_id="8")), folder) == []
    assert [r.getMessage() for r in caplog.records] == [
        f"structured reports: 2 written to {folder}, 0 failed"
    ]
    assert logging.getLogger("highdicom").level == logging.NOTSET


def test_a_deflated_file_costs_no_more_memory_than_a_header(tmp_path):
    image = pydicom.Dataset()
    image.SOPInstanceUID, image.SOPClassUID = "1.2.3", pydicom.uid.MRImageStorage
    image.add_new((0x0009, 0x0010), "LO", "PRIVATE")
    image.add_new((0x0009, 0x1001), "OB", bytes(200_000_000))
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    image.save_as(tmp_path / "1.dcm", enforce_file_format=True)
    del image
    study = StudyRef("7", (SeriesRef("1", tmp_path, AXIAL_T2),))
    wanted = {"findings": [{"points": [{"sop_instance_uid": "1.2.3"}]}]}
    assert (tmp_path / "1.dcm").stat().st_size < 300_000
    tracemalloc.start()
    images = structured_report.referenced_images(study, wanted)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(images) == ["1.2.3"] and peak < 5 * HEADER_BYTES


def test_without_highdicom_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(structured_report, "is_installed", lambda: False)
    given = ["--data", str(tmp_path), "--out", str(tmp_path / "s.csv")]
    assert infer.main([*given, "--sr", "--dump", str(tmp_path)]) == infer.EXIT_USAGE
    assert "pip install highdicom" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        infer.main([*given, "--sr"])
    assert "--sr needs --dump" in capsys.readouterr().err
    assert list(Path(tmp_path).iterdir()) == []
