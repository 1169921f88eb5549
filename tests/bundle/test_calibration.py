"""Calibration of the mean: against plain loops, through the manifest and back, and where it counts."""

import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import build_dataset
import infer
from lumbar.bundle.calibration import Calibration, read_calibration
from lumbar.bundle.loading import load_bundle
from lumbar.bundle.manifest import MANIFEST, read_manifest
from lumbar.bundle.members import LeftOut
from lumbar.bundle.writing import write_bundle
from lumbar.faults import BundleError
from lumbar.grading.study_grading import GradedStudy, average_members
from lumbar.outputs.submission import read_submission
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SAGITTAL_T2
from tests.making.random_bundle import random_classifier, random_detector, write_random_bundle
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import NETWORK

ROWS = np.random.default_rng(0).uniform([0.5, -1, -1], [2, 1, 1], (25, 3)).round(4)


def plain(probabilities: np.ndarray, rows: np.ndarray, factor: float) -> list[list[float]]:
    """Return what ``Calibration.apply`` is to return for one study, by loops."""
    result = []
    for p, (scale, moderate, severe) in zip(probabilities, rows, strict=True):
        terms = (0.0, moderate, severe)
        shares = [math.exp(scale * math.log(max(value, 1e-7)) + t) for value, t in zip(p, terms, strict=True)]
        result.append([share / sum(shares) for share in shares])
    worst = max(range(5), key=lambda site: result[site][2])
    result[worst][2] *= factor
    result[worst] = [value / sum(result[worst]) for value in result[worst]]
    return result


@given(
    hnp.arrays(float, (25, 3), elements=st.floats(0, 1)),
    hnp.arrays(float, (25, 3), elements=st.floats(0.2, 3)),
    st.floats(0.5, 2),
)
def test_applied_as_by_plain_loops(raw, rows, factor):
    probabilities = (raw + 1e-6) / (raw + 1e-6).sum(axis=1, keepdims=True)
    severe = np.sort(Calibration(rows).apply(probabilities)[:5, 2])
    assume(severe[-1] - severe[-2] > 1e-9)  # of equals either may be multiplied
    calibrated = Calibration(rows, factor).apply(probabilities)
    assert calibrated == pytest.approx(np.array(plain(probabilities, rows, factor)), abs=1e-12)
    many = Calibration(rows, factor).apply(np.stack([probabilities, probabilities[::-1]]))
    assert np.array_equal(many[0], calibrated)


def test_sites_without_grades_stay_without_and_the_identity_changes_nothing():
    probabilities = np.random.default_rng(1).dirichlet([3, 1, 1], 25)
    probabilities[:7] = np.nan  # the canal and two foramina
    identity = Calibration(np.tile([1.0, 0, 0], (25, 1)))
    assert identity.apply(probabilities) == pytest.approx(probabilities, abs=1e-12, nan_ok=True)
    changed = Calibration(ROWS, 1.5).apply(probabilities)
    assert np.isnan(changed[:7]).all() and changed[7:].sum(axis=1) == pytest.approx(1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    detector = random_detector("d", "fixed", dict.fromkeys(DESCRIPTIONS, 6), NETWORK)
    classifiers = [random_classifier(f"c-fold{k}", "test_convnext", "level", "shift") for k in range(2)]
    return write_random_bundle(tmp_path_factory.mktemp("bundle"), [detector], classifiers)


def test_kept_in_the_manifest(bundle, tmp_path):
    kept = Calibration(ROWS, 1.25, True, {"fitted_on": "nothing"})
    write_bundle(dataclasses.replace(load_bundle(bundle), calibration=kept), tmp_path)
    found = load_bundle(tmp_path).calibration
    assert np.array_equal(found.rows, ROWS)
    assert (found.any_severe, found.holds_for_partial, found.provenance) == (
        1.25,
        True,
        {"fitted_on": "nothing"},
    )
    assert load_bundle(bundle).calibration is None


@pytest.mark.parametrize(
    "spoil",
    [
        {"rows": ROWS[1:].tolist()},
        {"rows": (-ROWS).tolist()},
        {"rows": "much"},
        {"rows": [[math.nan] * 3] * 25},
        {"any_severe": 0},
        {"any_severe": None},
        {"holds_for_partial": "yes"},
        {"provenance": []},
        {"more": 1},
    ],
)
def test_a_wrong_entry_is_refused(spoil):
    entry = Calibration(ROWS).to_json() | spoil
    with pytest.raises(BundleError, match=r"here: .*expected .*fit it again"):
        read_calibration(entry, "here")


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("change", ["whole", "fewer members", "member left out", "no series"])
def test_counts_where_every_member_graded(change, partial):
    """Of a partial ensemble the mean stays as it is, unless the calibration holds for it."""
    random = np.random.default_rng(2)
    rows = {("d", name): random.dirichlet([3, 1, 1], 25) for name in "ab"}
    calibration = Calibration(ROWS, 1.5, partial)
    network = SimpleNamespace(config=SimpleNamespace(canal_from=SAGITTAL_T2))
    bundle = SimpleNamespace(
        detectors=[SimpleNamespace(name="d")],
        classifiers=[SimpleNamespace(name=name, weight=1.0, network=network) for name in "ab"],
        left_out=(LeftOut("classifier 'c'", "damaged"),) if change == "member left out" else (),
        calibration=calibration,
    )
    if change == "fewer members":
        del rows["d", "b"]
    searched = [d for d in DESCRIPTIONS if change != "no series" or d != AXIAL_T2]
    graded = GradedStudy("s", detections={"d": SimpleNamespace(points=searched)}, members=dict(rows))
    average_members(SimpleNamespace(study_id="s", volumes=dict.fromkeys(searched)), bundle, False, graded)
    mean = np.mean(list(rows.values()), axis=0)
    if change == "no series":
        mean[15:] = np.nan
    whole = change in ("whole", "no series")
    expected = calibration.apply(mean) if whole or partial else mean
    assert graded.probabilities == pytest.approx(expected, nan_ok=True)


def write_fit(file, **changes):
    fit = {
        "weights": {"c": 1.0},
        "calibration": Calibration(ROWS, 1.1).to_json(),
        "equal": 0.5,
        "fitted": 0.4,
        "cross_fitted": 0.45,
        "folds": [-0.05] * 5,
        "pays": True,
    }
    file.write_text(json.dumps({"fit": fit | changes}))
    return file


def test_a_fit_is_written_into_a_bundle(bundle, tmp_path, capsys):
    write_bundle(load_bundle(bundle), tmp_path / "bundle")
    before = read_manifest(tmp_path / "bundle")
    fit = write_fit(tmp_path / "fit.json")
    command = ["calibrate", str(tmp_path / "bundle"), "--with", str(fit), "--fitted-on", "phantoms"]
    assert build_dataset.main(command) == 0
    after = load_bundle(tmp_path / "bundle")
    assert np.array_equal(after.calibration.rows, ROWS) and not after.calibration.holds_for_partial
    assert after.calibration.provenance["fitted_on"] == "phantoms"
    assert len(after.calibration.provenance["sha256"]) == 64 and after.fingerprint != before.fingerprint
    assert [member.weight for member in after.classifiers] == [1.0, 1.0]
    assert build_dataset.main([*command, "--holds-for-partial"]) == 0
    assert load_bundle(tmp_path / "bundle").calibration.holds_for_partial
    assert "0.5000, now 0.4500" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pays": False}, "expected a clear gain"),
        ({"weights": {"other": 1.0}}, "got a fit of the classifiers ['other']"),
        ({"weights": {"c": -1.0}}, "got no fit"),
        ({"calibration": {"rows": []}}, "expected an object"),
    ],
)
def test_a_fit_that_does_not_fit_is_refused(bundle, tmp_path, capsys, changes, message):
    raw = (bundle / MANIFEST).read_bytes()
    fit = write_fit(tmp_path / "fit.json", **changes)
    command = ["calibrate", str(bundle), "--with", str(fit), "--fitted-on", "phantoms"]
    assert build_dataset.main(command) == build_dataset.EXIT_BUNDLE
    assert message in capsys.readouterr().err and (bundle / MANIFEST).read_bytes() == raw


def test_a_run_applies_it_unless_told_not_to(bundle, tmp_path):
    calibration = Calibration(ROWS, 1.5)
    write_bundle(dataclasses.replace(load_bundle(bundle), calibration=calibration), tmp_path / "bundle")
    data = write_studies(tmp_path / "data")
    rows = {}
    for flags in ((), ("--no-calibration",)):
        out = tmp_path / f"out{len(flags)}.csv"
        arguments = ["--data", data, "--bundle", tmp_path / "bundle", "--out", out, "--workers", 1, *flags]
        assert infer.main([str(a) for a in (*arguments, "--device", "cpu", "--max-fallback-share", 1)]) == 0
        rows[flags] = read_submission(out)[1].reshape(3, 25, 3)
    plainly, calibrated = rows["--no-calibration",], rows[()]
    assert calibrated[[0, 2]] == pytest.approx(calibration.apply(plainly[[0, 2]]), abs=1e-6)
    assert calibrated[1, 15:] == pytest.approx(
        plainly[1, 15:]
    )  # the prior of an absent series stays the prior
