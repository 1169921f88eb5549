"""A run in progress: a failure beside the grades costs none, and is in run.json."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import infer
from lumbar.bundle.calibration import Calibration
from lumbar.bundle.manifest import Manifest
from lumbar.grading.study_record import record_ungraded
from lumbar.networks.architecture import CropRule
from lumbar.networks.device import Device
from lumbar.outputs.submission import read_submission
from lumbar.reading.references import Dataset, StudyRef
from lumbar.run.journal import JournalError
from lumbar.run.options import RunOptions
from lumbar.run.run_state import Run, open_report, shown_crops
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import write_tiny_bundle

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


def start(tmp_path) -> Run:
    """Return a run over two studies that writes a report."""
    options = RunOptions(
        data=tmp_path,
        bundle=tmp_path,
        out=tmp_path / "submission.csv",
        report=tmp_path / "report",
        max_fallback_share=1,
    )
    studies = (StudyRef("1", ()), StudyRef("2", ()))
    manifest = Manifest("none", "nothing", (), (), np.full((25, 3), 1 / 3), "0" * 64)
    device = Device(torch.device("cpu"), None, "asked for", 1)
    return Run(options, Dataset(tmp_path, "plain", tmp_path, studies, None), manifest, [device])


@pytest.fixture
def run(tmp_path) -> Run:
    return start(tmp_path)


def finished(run: Run) -> dict:
    for study_id in list(run.pending):
        run.add(record_ungraded(study_id, "grading_failed", "a bug"))
    run.finish(complete=True)
    assert run.options.out.is_file() and not run.journal.path.exists()
    return json.loads((run.options.out.parent / "run.json").read_text())


def test_a_run_taken_up_again_does_not_count_what_was_there(run, tmp_path):
    run.add(record_ungraded("1", "grading_failed", "a bug"))
    assert run.summary.text().startswith("1 studies in ")
    run.journal.close()
    again = start(tmp_path)
    assert again.summary.text().startswith("1 studies, 1 of them before in ")
    again.add(record_ungraded("2", "grading_failed", "a bug"))
    assert again.summary.text().startswith("2 studies, 1 of them before in ")


def test_a_run_without_a_failure_has_none(run):
    assert finished(run)["report_failures"] == []


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("lumbar.outputs.report.folder.study_page", ["1: RuntimeError: broken", "2: RuntimeError: broken"]),
        ("lumbar.outputs.report.folder.read_result", ["1: RuntimeError: broken", "2: RuntimeError: broken"]),
        ("lumbar.outputs.report.Report.finish", ["index: RuntimeError: broken"]),
    ],
)
def test_what_fails_of_the_report_is_in_run_json(run, monkeypatch, broken, told):
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(broken, fail)
    assert finished(run)["report_failures"] == told


def test_peak_memory_is_not_that_of_the_process_that_started_this_one():
    held = np.ones(2**27)  # 1 GB, all of it touched
    code = "from lumbar.run.summary import peak_memory; print(peak_memory()['process'])"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=KERNEL, capture_output=True, text=True, check=True
    )
    assert 50 < float(child.stdout) < held.nbytes / 2**20


def test_a_trainings_run_json_is_not_replaced(tmp_path):
    (tmp_path / "run.json").write_text('{"recipe": {"name": "small"}}')
    with pytest.raises(JournalError, match="a training run's folder"):
        start(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    (tmp_path / "run.json").write_text('{"studies": 2}')
    start(tmp_path)


def test_a_damaged_bundle_leaves_the_prior_and_what_an_earlier_run_saw(tmp_path):
    root, bundle = write_studies(tmp_path / "data"), write_tiny_bundle(tmp_path / "bundle")
    out, seen = tmp_path / "submission.csv", tmp_path / "seen"
    flags = ["--data", root, "--bundle", bundle, "--out", out, "--dump", seen, "--workers", "1"]
    flags = [*map(str, flags), "--device", "cpu", "--precision", "fp32"]
    assert infer.main(flags) in (0, 3)
    before = {path.name: path.read_bytes() for path in seen.iterdir() if path.is_file()}
    file = next((bundle / "weights").iterdir())
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert infer.main(flags) == 4
    assert {path.name: path.read_bytes() for path in seen.iterdir() if path.is_file()} == before
    _, rows = read_submission(out)
    assert len(np.unique(rows.reshape(-1, 25, 3), axis=0)) == 1


@pytest.mark.slow
def test_pages_and_objects_change_no_grade(tmp_path):
    """A run with everything that is drawn has the submission of a run without, byte by byte."""
    root, bundle = write_studies(tmp_path / "data"), write_tiny_bundle(tmp_path / "bundle")
    flags = ["--data", str(root), "--bundle", str(bundle), "--workers", "1", "--device", "cpu"]
    flags += ["--precision", "fp32", "--max-fallback-share", "1"]
    assert infer.main([*flags, "--out", str(tmp_path / "plain.csv")]) == 0
    for size in ("full", "small"):
        out, seen = tmp_path / size / "submission.csv", tmp_path / size / "seen"
        drawn = ["--dump", str(seen), "--secondary-capture", "--pdf", "--report-size", size]
        assert (
            infer.main([*flags, *drawn, "--out", str(out), "--report", str(tmp_path / size / "report")]) == 0
        )
        assert out.read_bytes() == (tmp_path / "plain.csv").read_bytes()
        summary = json.loads((seen / "run.json").read_text())
        graded = summary["studies"] - len([f for f in summary["fallbacks"] if f["fallback"] == "prior"])
        assert len(list(seen.glob("findings/*/summary.dcm"))) == graded > 0
        assert len(list(seen.glob("findings/*/key_slice_*.dcm"))) >= graded
        assert bool(list(tmp_path.glob(f"{size}/report/studies/*/*.jpg"))) == (size == "full")
        assert summary["report_failures"] == []


def test_the_report_names_the_data_of_the_calibration(tmp_path):
    calibration = Calibration(np.tile([1.0, 0.0, 0.0], (25, 1)), provenance={"fitted_on": "500 studies"})
    manifest = Manifest("none", "nothing", (), (), np.full((25, 3), 1 / 3), "0" * 64, calibration)
    dataset = Dataset(tmp_path, "plain", tmp_path, (), None)
    applied_to_all = {"fitted_on": "500 studies", "holds_for_partial": False}
    for applied, expected in ((True, applied_to_all), (False, None)):
        options = RunOptions(report=tmp_path / "report", calibration=applied)
        report = open_report(options, dataset, manifest, {})
        assert report.about.get("calibration") == expected


def test_the_report_shows_the_windows_of_the_first_classifier():
    """Five slices of each, whatever the canal's crops have."""
    first = {
        "backbone": "any",
        "border": "stretch",
        "canal_margin": 3,
        "canal_from": "Axial T2",
        "window_mm": 50,
    }
    members = {"config": first}, {"config": {"border": "shift"}}
    manifest = Manifest("none", "nothing", (), members, np.full((25, 3), 1 / 3), "0" * 64)
    assert shown_crops(manifest) == CropRule("stretch", window_mm=50)
    assert shown_crops(replace(manifest, classifiers=({"config": "damaged"},))) == CropRule("shift")
