"""Structured reports in a DICOMweb server: each once, read back by another client."""

import json
import urllib.request
from functools import partial

import pydicom
import pytest

from lumbar.faults import DataNotFoundError, DicomError
from lumbar.outputs import structured_report
from lumbar.outputs.pacs import push as pushing
from lumbar.outputs.pacs.push import folder_reports, push
from tests.remote.conftest import grades, study_uids

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_folder(dicomweb, server, images, bundle, tmp_path_factory):
    """A run over DICOMweb with structured reports."""
    pytest.importorskip("highdicom", reason="no highdicom: pip install highdicom")
    from tests.remote.conftest import store_by_rest

    store_by_rest(server, images)
    out = tmp_path_factory.mktemp("push")
    grades(server.dicomweb, bundle, out / "submission.csv", "--dump", str(out), "--sr")
    return out


def reports_in(orthanc) -> dict[str, str]:
    """Return Orthanc's ids of the reports it has, by SOP Instance UID."""
    found = {}
    for one in orthanc.rest("instances?expand"):
        series = orthanc.rest(f"series/{one['ParentSeries']}")
        if series["MainDicomTags"].get("Modality") == "SR":
            found[one["MainDicomTags"]["SOPInstanceUID"]] = one["ID"]
    return found


def test_each_is_stored_once_and_read_back_by_another_client(run_folder, orthanc, images, tmp_path):
    ledger = tmp_path / "pushed.jsonl"
    summary = push(folder_reports(run_folder), orthanc.dicomweb, ledger)
    assert (summary.stored, summary.before, summary.failures) == (3, 0, [])
    stored = reports_in(orthanc)
    written = {uid: pydicom.dcmread(run_folder / f"findings/{uid}.dcm") for uid in study_uids(images)}
    assert stored.keys() == {str(report.SOPInstanceUID) for report in written.values()}
    for report in written.values():
        file = urllib.request.urlopen(f"{orthanc.address}/instances/{stored[report.SOPInstanceUID]}/file")
        back = pydicom.dcmread(pydicom.filebase.DicomBytesIO(file.read()))
        assert back.ContentSequence == report.ContentSequence
        assert back.StudyInstanceUID == report.StudyInstanceUID
    again = push(folder_reports(run_folder / "findings"), orthanc.dicomweb, ledger)
    assert (again.stored, again.before) == (0, 3) and reports_in(orthanc) == stored
    assert "3 stored before" in again.text()


@pytest.mark.parametrize("after", ["sent", "torn"])
def test_killed_and_run_again_there_are_no_duplicates(run_folder, orthanc, tmp_path, monkeypatch, after):
    """A kill comes after the server took a report and before the ledger has its line, or in the middle of it."""
    ledger = tmp_path / "pushed.jsonl"
    whole, taken = pushing.store, []

    def store_and_die(report, url):
        whole(report, url)
        taken.append(report)
        if len(taken) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(pushing, "store", store_and_die)
    with pytest.raises(KeyboardInterrupt):
        push(folder_reports(run_folder), orthanc.dicomweb, ledger)
    assert len(reports_in(orthanc)) == 2 and len(ledger.read_text().splitlines()) == 1
    if after == "torn":
        with ledger.open("a") as file:
            file.write('{"sop_inst')
    monkeypatch.setattr(pushing, "store", whole)
    summary = push(folder_reports(run_folder), orthanc.dicomweb, ledger)
    assert (summary.stored, summary.before, summary.failures) == (2, 1, [])
    assert len(reports_in(orthanc)) == 3
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert len({line["sop_instance_uid"] for line in lines}) == len(lines) == 3


def test_reports_of_an_archive_are_those_of_infer(run_folder, orthanc, bundle, tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
    import archive

    place = str(tmp_path / "archive")
    assert archive.main(["index", "--data", orthanc.dicomweb, "--out", place, "--workers", "1"]) == 0
    grade = ["grade", place, "--bundle", str(bundle), "--device", "cpu", "--precision", "fp32"]
    assert archive.main([*grade, "--readers", "1"]) == 0
    command = ["push", place, "--to", orthanc.dicomweb]
    assert archive.main(command) == 0 and "3 reports stored" in capsys.readouterr().out
    expected = {report.sop_instance_uid for report in folder_reports(run_folder)}
    assert reports_in(orthanc).keys() == expected
    assert archive.main(command) == 0 and "3 stored before" in capsys.readouterr().out
    assert (
        archive.main(["push", str(run_folder), "--to", orthanc.dicomweb]) == 0
    )  # a run's folder, another ledger
    assert reports_in(orthanc).keys() == expected


def test_a_refused_report_costs_the_others_nothing(run_folder, orthanc, tmp_path):
    reports = list(folder_reports(run_folder))

    def broken():
        raise DicomError("study_gone", "the study is not there any more")

    reports[0] = pushing.Report("1.2.3", reports[0].study_id, broken)
    summary = push(reports, orthanc.dicomweb, tmp_path / "pushed.jsonl")
    assert (summary.stored, len(summary.failures)) == (2, 1)
    assert reports[0].study_id in summary.text() and "not there any more" in summary.text()


def test_another_server_gets_them_as_well(run_folder, orthanc, tmp_path):
    ledger = tmp_path / "pushed.jsonl"
    ledger.write_text(json.dumps({"sop_instance_uid": "1.2", "study_id": "7", "to": "elsewhere"}) + "\n")
    (report, *_) = folder_reports(run_folder)
    same = pushing.Report("1.2", "7", report.load)
    assert push([same], orthanc.dicomweb, ledger).stored == 1


def test_a_report_has_another_uid_if_its_findings_differ():
    findings = {
        "bundle_sha256": "0" * 64,
        "study_id": "7",
        "findings": [{"site": "a", "probabilities": None}],
    }
    uid = structured_report.report_uid(findings)
    assert uid == structured_report.report_uid(json.loads(json.dumps(findings)))
    for other in ({"study_id": "8"}, {"findings": []}, {"bundle_sha256": "1" * 64}):
        assert structured_report.report_uid(findings | other) != uid


def test_what_is_refused(dicomweb, tmp_path):
    ledger = tmp_path / "pushed.jsonl"
    nothing = partial(push, (), ledger=ledger)
    with pytest.raises(DataNotFoundError, match="DICOMweb alone"):
        nothing("s3://bucket")
    with pytest.raises(DataNotFoundError, match="DICOMWEB_USERNAME"):
        nothing("dicomweb+https://reader:word@pacs/root")
    ledger.write_text("nonsense\n\n")
    with pytest.raises(DataNotFoundError, match="line 1 is damaged"):
        nothing("dicomweb+https://pacs/root")
    with pytest.raises(DataNotFoundError, match="--sr"):
        list(folder_reports(tmp_path))
