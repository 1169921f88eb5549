"""Weights and calibration fitted across folds: known answers, members of parts, and real predictions."""

from pathlib import Path

import numpy as np
import pytest

import evaluate
from lumbar.bundle.calibration import read_calibration
from lumbar.sites import CONDITION_SITES, SEVERITY_WEIGHTS
from training.data.labels import read_grades
from training.evaluation.all_figures import all_figures
from training.evaluation.ensemble_fit import Wanted, fit_ensemble, known_mean
from training.evaluation.members import read_members
from training.evaluation.metric import best_constant

OOF = Path(__file__).resolve().parents[2] / "../shared/data/oof"
PRIOR = np.full((25, 3), 1 / 3)


def drawn(studies: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (n, 25) drawn from probabilities, and these (n, 25, 3) as the metric rewards them."""
    random = np.random.default_rng(seed)
    truth = random.dirichlet([1.5, 0.7, 0.5], (studies, 25))
    labels = (random.random((studies, 25, 1)) > truth.cumsum(axis=-1)).sum(axis=-1).astype(np.int8)
    rewarded = truth * SEVERITY_WEIGHTS
    return labels, rewarded / rewarded.sum(axis=-1, keepdims=True)


def test_fitted_weights_find_the_better_member():
    random = np.random.default_rng(0)
    labels = random.choice(3, p=[0.7, 0.2, 0.1], size=(60, 25)).astype(np.int8)
    good = 0.6 * np.eye(3)[labels] + 0.4 * random.dirichlet([2, 1, 1], (60, 25))
    bad = random.dirichlet([2, 1, 1], (60, 25))
    result = fit_ensemble(labels, {("d", "good"): good, ("d", "bad"): bad}, PRIOR, Wanted(True, False))
    assert result["weights"]["good"] > 0.9 and sum(result["weights"].values()) == pytest.approx(1)
    assert max(result["fitted"], result["cross_fitted"]) < result["equal"] and result["pays"]
    assert result["calibration"] is None
    # The search keeps weights within e**12 of each other: the best member alone is reached up to that.
    assert result["fitted"] <= min(known_mean(labels, good), known_mean(labels, bad)) + 5 * np.exp(-12)


def test_a_member_of_one_condition_is_weighed_by_that_condition():
    labels, given = drawn(200)
    canal = np.full_like(given, np.nan)
    canal[:, CONDITION_SITES["spinal"]] = given[:, CONDITION_SITES["spinal"]]
    noise = np.random.default_rng(1).dirichlet([1, 1, 1], (200, 25))
    worse = np.where(np.arange(25)[:, None] < 5, noise, given)
    result = fit_ensemble(labels, {("d", "canal"): canal, ("d", "rest"): worse}, PRIOR, Wanted(True, False))
    assert result["weights"]["canal"] > 0.9 and result["pays"]


@pytest.mark.parametrize("by_level", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_distortion_is_found_and_undone(by_level):
    labels, given = drawn(400 if by_level else 800)
    distorted = np.log(given) * 0.5 + (0, 0.4, -0.6)
    distorted = np.exp(distorted) / np.exp(distorted).sum(axis=-1, keepdims=True)
    result = fit_ensemble(labels, {("d", "c"): distorted}, PRIOR, Wanted(False, True, by_level))
    assert result["pays"] and result["cross_fitted"] < known_mean(labels, given) + 5e-3 < result["equal"]
    rows = read_calibration(result["calibration"], "fit").rows
    tolerance = 0.9 if by_level else 0.4  # the any-severe term moves the canal's
    assert rows[5:] == pytest.approx(np.tile([2, -0.8, 1.2], (20, 1)), abs=tolerance)


def test_right_predictions_are_left_alone():
    labels, given = drawn(300)
    conditions = {("d", "c"): given}
    labels[:, CONDITION_SITES["spinal"]] = -1  # the any-severe term rewards a change there
    assert not fit_ensemble(labels, conditions, PRIOR, Wanted(False, True))["pays"]


@pytest.mark.slow
@pytest.mark.skipif(not OOF.is_dir(), reason="../shared/data is not here")
def test_real_predictions():
    """On the mean of three members of 1,975 studies a calibration pays, on one of them alone it does not."""
    grades = read_grades(OOF / "train.csv")
    studies, members = read_members(OOF / "members.csv", grades)
    labels, prior = grades.of(studies), best_constant(grades.labels)
    result = fit_ensemble(labels, members, prior, Wanted(True, True))
    assert result["equal"] == pytest.approx(0.3883, abs=5e-5)
    assert result["cross_fitted"] <= 0.3855 and result["pays"]
    single = {key: p for key, p in members.items() if key[1] == "effnetv2s"}
    alone = fit_ensemble(labels, single, prior, Wanted(False, True))
    assert alone["equal"] == pytest.approx(0.4024, abs=5e-5) and not alone["pays"]


@pytest.mark.skipif(not OOF.is_dir(), reason="../shared/data is not here")
def test_evaluate_prints_the_score_of_real_members(capsys):
    arguments = ["--data", str(OOF), "--members", str(OOF / "members.csv")]
    assert evaluate.main(arguments) == 0
    assert "mean of members               0.3883" in capsys.readouterr().out
    assert "fit" not in all_figures(evaluate.parse(arguments))
