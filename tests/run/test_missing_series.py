"""Studies without a series and bundles without a network: the prior where nothing is graded, and it is counted."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import infer
from lumbar.bundle.members import Classifier, Detector
from lumbar.outputs.submission import read_submission
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, DESCRIPTIONS, SAGITTAL_T1, SAGITTAL_T2, SITE_NAMES
from tests.making.random_bundle import random_classifier, random_detector, write_random_bundle
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import NETWORK

PRIOR = np.full(3, 1 / 3)  # of a random bundle
AXIAL, T1 = DESCRIPTION_SITES[AXIAL_T2], DESCRIPTION_SITES[SAGITTAL_T1]
OTHERS = slice(0, 15)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three studies, of which the second has no axial series."""
    return write_studies(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    return random_detector("tiny", "dynamic", dict.fromkeys(DESCRIPTIONS, 6), NETWORK)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(1)
    return random_classifier("level", "test_convnext", "level", "shift", factor=20)


def without(detector: Detector, *descriptions: str, name: str = "part") -> Detector:
    """Return a detector that lacks the networks of some descriptions."""
    kept = {d: network for d, network in detector.networks.items() if d not in descriptions}
    return Detector(name, detector.xy, kept)


def run(data: Path, bundle: Path, out: Path, *flags: str) -> tuple[int, dict, np.ndarray]:
    """Run the kernel; return its status, run.json and the rows by study, (3, 25, 3)."""
    line = [
        "--data",
        str(data),
        "--bundle",
        str(bundle),
        "--out",
        str(out / "s.csv"),
        "--dump",
        str(out / "seen"),
    ]
    line += ["--report", str(out / "report"), "--device", "cpu", "--precision", "fp32", "--workers", "1"]
    status = infer.main([*line, *flags])
    row_ids, rows = read_submission(out / "s.csv")
    assert row_ids == tuple(f"{study}_{site}" for study in "123" for site in SITE_NAMES)
    return status, json.loads((out / "seen/run.json").read_text()), rows.reshape(3, 25, 3)


@pytest.fixture(scope="module")
def ways(data, detector, classifier, tmp_path_factory) -> dict:
    """The runs with --missing prior, the default, and zero."""
    folder = tmp_path_factory.mktemp("ways")
    bundle = write_random_bundle(folder / "bundle", [detector], [classifier])
    prior = run(data, bundle, folder / "prior")
    zero = run(data, bundle, folder / "zero", "--missing", "zero")
    return {"folder": folder, "prior": prior, "zero": zero}


def test_the_prior_is_submitted_where_the_series_lacks_and_nowhere_else(ways):
    (_, _, prior), (_, _, zero) = ways["prior"], ways["zero"]
    np.testing.assert_allclose(prior[1, AXIAL], np.tile(PRIOR, (10, 1)), atol=1e-8)
    assert np.abs(zero[1, AXIAL] - PRIOR).max() > 0.05
    # Without the zero crops in their level's sequence the other sites get other grades.
    assert np.abs(prior[1, OTHERS] - zero[1, OTHERS]).max() > 1e-6
    np.testing.assert_array_equal(prior[[0, 2]], zero[[0, 2]])
    assert (np.abs(prior[[0, 2]] - PRIOR).max(axis=2) > 1e-6).all()


@pytest.mark.parametrize(("way", "given"), [("prior", "prior"), ("zero", "zero crops")])
def test_the_sites_are_counted_and_the_exit_status_says_so(ways, capsys, way, given):
    status, about, _ = ways[way]
    assert status == 3  # a third of the studies, the limit is a fifth
    (fallback,) = about["fallbacks"]
    assert fallback["study_id"] == "2" and fallback["descriptions"] == [AXIAL_T2]
    assert fallback["fallback"] == {"prior": "prior at some sites", "zero": "zero crops"}[way]
    assert "got no usable series of Axial T2" in fallback["reasons"]["no_description"]
    assert about["fallback_sites"] == {given: 10}


def test_members_and_findings_hold_grades_alone(ways):
    with (ways["folder"] / "prior/seen/members.csv").open(newline="") as file:
        graded = {(row["study_id"], row["site"]) for row in csv.DictReader(file)}
    assert graded == {(s, site) for s in "123" for site in SITE_NAMES} - {
        ("2", site) for site in SITE_NAMES[AXIAL]
    }
    findings = json.loads((ways["folder"] / "prior/seen/findings/2.json").read_text())["findings"]
    assert [one["site"] for one in findings if one["probabilities"] is None] == list(SITE_NAMES[AXIAL])


def test_the_page_says_which_sites_are_not_graded(ways):
    page = (ways["folder"] / "prior/report/studies/study-2.html").read_text()
    assert page.count("not graded</td>") == 10 and "Fallback: the prior at some sites" in page
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)
    zero = (ways["folder"] / "zero/report/studies/study-2.html").read_text()
    assert "not graded</td>" not in zero and "Fallback: empty crops" in zero


def test_a_description_without_a_network_gets_the_prior_and_is_counted(data, detector, classifier, tmp_path):
    bundle = write_random_bundle(
        tmp_path / "bundle", [without(detector, AXIAL_T2, SAGITTAL_T2)], [classifier]
    )
    status, about, rows = run(data, bundle, tmp_path)
    assert status == 3 and about["fallback_sites"] == {"prior": 45}
    assert all("Axial T2" in f["reasons"]["no_detector"] for f in about["fallbacks"] if f["study_id"] != "2")
    lost = np.ones(25, bool)
    lost[T1] = False
    np.testing.assert_allclose(rows[:, lost], np.broadcast_to(PRIOR, (3, 15, 3)), atol=1e-8)
    assert (np.abs(rows[:, T1] - PRIOR).max(axis=2) > 1e-6).all()


def test_a_detector_that_lacks_a_description_does_not_count_at_its_sites(
    data, detector, classifier, ways, tmp_path
):
    """At its sites the whole detector beside it counts alone."""
    both = [detector, without(detector, AXIAL_T2)]
    bundle = write_random_bundle(tmp_path / "bundle", both, [classifier])
    _, about, rows = run(data, bundle, tmp_path)
    assert about["fallback_sites"] == {"prior": 10}
    np.testing.assert_allclose(rows[0, AXIAL], ways["prior"][2][0, AXIAL], atol=1e-6)


def test_a_bundle_without_a_classifier_submits_the_prior_with_status_3(data, detector, tmp_path, capsys):
    status, about, rows = run(data, write_random_bundle(tmp_path / "bundle", [detector], []), tmp_path)
    assert status == 3 and about["fallback_sites"] == {"prior": 75}
    assert all("got no classifier" in fallback["reasons"]["no_classifier"] for fallback in about["fallbacks"])
    np.testing.assert_allclose(rows, np.broadcast_to(PRIOR, (3, 25, 3)), atol=1e-8)
    assert "fallbacks: 3 studies with the prior" in capsys.readouterr().out


def test_another_way_is_another_run(data, detector, classifier, tmp_path, monkeypatch):
    """A journal of --missing prior does not serve --missing zero."""
    bundle = write_random_bundle(tmp_path / "bundle", [detector], [classifier])
    monkeypatch.setattr("lumbar.run.journal.Journal.discard", lambda journal: journal.close())
    run(data, bundle, tmp_path)
    line = ["--data", data, "--bundle", bundle, "--out", tmp_path / "s.csv", "--dump", tmp_path / "seen"]
    line += ["--device", "cpu", "--precision", "fp32", "--missing", "zero"]
    assert infer.main(list(map(str, line))) == 5
