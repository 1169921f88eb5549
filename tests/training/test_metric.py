"""The metric agrees with scikit-learn's weighted log loss, and is NaN where a term can't be computed."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from lumbar.sites import CONDITION_SITES
from training.evaluation.metric import WEIGHTS, best_constant, calibration, roc_auc, score, severity_auc


def random_case(seed: int, studies: int = 60) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.choice([-1, 0, 1, 2], p=[0.1, 0.6, 0.2, 0.1], size=(studies, 25)).astype(np.int8)
    labels[0, :5] = -1  # a study without any spinal label
    return labels, random.dirichlet([2, 1, 1], size=(studies, 25))


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn(seed):
    labels, probabilities = random_case(seed)
    expected = []
    for sites in CONDITION_SITES.values():
        known = labels[:, sites] >= 0
        truth = labels[:, sites][known]
        expected.append(
            log_loss(truth, probabilities[:, sites][known], sample_weight=WEIGHTS[truth], labels=[0, 1, 2])
        )
    truth, predicted, weight = [], [], []
    for row, study in zip(labels[:, :5], probabilities[:, :5], strict=True):
        rows = [i for i in range(5) if row[i] >= 0]
        if rows:
            truth.append(any(row[i] == 2 for i in rows))
            predicted.append(max(study[i, 2] for i in rows))
            weight.append(max(WEIGHTS[row[i]] for i in rows))
    expected.append(log_loss(truth, predicted, sample_weight=weight))
    result = score(labels, probabilities)
    got = [result[term] for term in ("spinal", "foraminal", "subarticular", "any_severe")]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)
    assert result["score"] == pytest.approx(np.mean(expected), abs=1e-9)


def test_certainty_about_the_truth_scores_zero_and_uniform_thirds_are_known():
    labels = np.random.default_rng(0).integers(0, 3, (20, 25)).astype(np.int8)
    assert score(labels, np.eye(3)[labels])["score"] == pytest.approx(0, abs=1e-12)
    assert score(labels, np.full((20, 25, 3), 1 / 3))["foraminal"] == pytest.approx(np.log(3))


def test_a_term_without_labels_is_nan_and_so_is_the_score():
    labels, probabilities = random_case(0)
    labels[:, :5] = -1
    result = score(labels, probabilities)
    assert np.isnan([result["spinal"], result["any_severe"], result["score"]]).all()
    assert np.isfinite([result["foraminal"], result["subarticular"]]).all()


@pytest.mark.parametrize("spoil", ["nan", "sum", "negative", "label", "shape"])
def test_refuses_what_is_no_prediction(spoil):
    labels, probabilities = random_case(0)
    if spoil == "label":
        labels[3, 3] = 3
    elif spoil == "shape":
        probabilities = probabilities[:-1]
    else:
        probabilities[2, 2] = {"nan": [np.nan, 0.5, 0.5], "sum": [1, 1, 1], "negative": [-0.5, 1, 0.5]}[spoil]
    with pytest.raises(ValueError, match="metric: "):
        score(labels, probabilities)


def test_best_constant_beats_its_neighbours():
    labels, _ = random_case(1, studies=2000)
    constant = best_constant(labels)
    assert constant.sum(axis=1) == pytest.approx(1) and (constant[5:10] == constant[10:15]).all()
    parts = ("spinal", "foraminal", "subarticular")
    best = score(labels, np.broadcast_to(constant, (2000, 25, 3)))
    for shift in (0.02 * np.array([1, -1, 0]), 0.02 * np.array([0, 1, -1]), 0.02 * np.array([-1, 0, 1])):
        other = score(labels, np.broadcast_to(constant + shift, (2000, 25, 3)))
        assert all(best[part] < other[part] for part in parts)


def test_auc_agrees_with_scikit_learn_with_ties():
    random = np.random.default_rng(3)
    truth, value = random.random(500) < 0.3, random.integers(0, 8, 500) / 8
    assert roc_auc(truth, value) == pytest.approx(roc_auc_score(truth, value), abs=1e-12)
    assert np.isnan(roc_auc(np.ones(4, bool), np.arange(4)))
    labels, probabilities = random_case(4)
    assert 0.4 < severity_auc(labels, probabilities)["mean"] < 0.6


def test_calibration_of_honest_probabilities_is_small():
    random = np.random.default_rng(5)
    probability = random.random(200_000)
    honest = calibration(random.random(200_000) < probability, probability)
    assert honest["error"] < 0.01 and sum(honest["count"]) == 200_000
    assert calibration(random.random(200_000) < 0.5 * probability, probability)["error"] > 0.2
