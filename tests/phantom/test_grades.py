"""Phantom grades: marginals, correlation and missing labels as published; the best possible score."""

from statistics import NormalDist

import numpy as np
import pytest

from lumbar.sites import SITES
from phantom import draw_grades, posterior, weighted_answer
from phantom.grades import NARROWING_NOISE, grade_thresholds, latent_correlation, narrowing_to_severity
from phantom.label_figures import GRADE_COUNTS, LATENT_CORRELATION, STUDIES
from training.evaluation.phantom_bound import phantom_bound

DRAWN = 2000


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(11)
    grades = [draw_grades(rng) for _ in range(DRAWN)]
    labels = np.array([g.labels for g in grades])
    return labels, np.array([g.grade for g in grades]), np.array([g.narrowing for g in grades])


def within_sampling_error(observed, expected, count, sigmas=4.5):
    return np.abs(observed - expected) <= sigmas * np.sqrt(expected * (1 - expected) / count) + 1e-9


def test_marginals_and_missing_labels(drawn):
    labels, grades, _ = drawn
    share = GRADE_COUNTS / GRADE_COUNTS.sum(axis=1, keepdims=True)
    for severity in range(3):
        assert within_sampling_error((grades == severity).mean(axis=0), share[:, severity], DRAWN).all()
    missing = 1 - GRADE_COUNTS.sum(axis=1) / STUDIES
    assert within_sampling_error((labels < 0).mean(axis=0), missing, DRAWN).all()


def test_correlation(drawn):
    _, _, narrowing = drawn
    expected = latent_correlation() + NARROWING_NOISE**2 * np.eye(len(SITES))
    expected = expected / (1 + NARROWING_NOISE**2)
    observed = np.corrcoef(narrowing.T)
    error = (1 - expected**2) / np.sqrt(DRAWN)  # of a correlation coefficient
    assert (np.abs(observed - expected) <= 4.5 * error + 1e-9).all()
    assert np.abs(latent_correlation() - LATENT_CORRELATION).max() < 1e-3


def test_two_by_two_table_of_grades(drawn):
    """The labels themselves: P(left recess severe | canal severe at that level) is 0.73, its base rate 0.095."""
    _, grades, _ = drawn
    canal, recess = grades[:, 0:5] == 2, grades[:, 15:20] == 2
    assert recess.mean() == pytest.approx(0.095, abs=0.012)
    assert recess[canal].mean() == pytest.approx(0.73, abs=0.07)


def test_posterior_is_calibrated(drawn):
    _, grades, narrowing = drawn
    for own_only in (False, True):
        p = posterior(narrowing, own_only)
        assert p.shape == (DRAWN, 25, 3) and (p >= 0).all()
        np.testing.assert_allclose(p.sum(axis=-1), 1)
        for low in (0.1, 0.3, 0.5, 0.7):
            bin_ = (p[..., 2] > low) & (p[..., 2] <= low + 0.2)
            assert (grades == 2)[bin_].mean() == pytest.approx(p[..., 2][bin_].mean(), abs=0.07)


def test_posterior_against_sampling():
    """Own-narrowing posterior of one site, against brute force over the latent value."""
    rng = np.random.default_rng(5)
    latent = rng.standard_normal(400_000)
    seen = latent + NARROWING_NOISE * rng.standard_normal(latent.size)
    near = np.abs(seen - 0.6) < 0.02
    narrowing = np.full(25, 0.6)
    for site in (3, 12, 18):
        low, high = grade_thresholds()[site]
        shares = [(latent[near] < low).mean(), ((latent >= low) & (latent < high))[near].mean()]
        np.testing.assert_allclose(posterior(narrowing, own_only=True)[site, :2], shares, atol=0.02)
    assert NormalDist().cdf(grade_thresholds()[3, 0]) == pytest.approx(1482 / 1974, abs=1e-9)


def test_severity_is_continuous_and_rises():
    narrowing = np.linspace(-4, 5, 2001)[:, None].repeat(25, axis=1)
    severity = narrowing_to_severity(narrowing)
    steps = np.diff(severity, axis=0)
    assert (steps > 0).all() and steps.max() < 0.02
    first, second = grade_thresholds().T
    np.testing.assert_allclose(narrowing_to_severity(first), 1)
    np.testing.assert_allclose(narrowing_to_severity(second), 2)


def test_best_possible_score():
    bound = phantom_bound()
    best, own, constant = (bound[k]["score"] for k in ("best_possible", "own_narrowing", "constant"))
    assert 0.25 <= best <= 0.35
    assert own - best >= 0.03
    assert constant == pytest.approx(0.79, abs=0.02)  # the competition's floor


def test_weighted_answer():
    np.testing.assert_allclose(weighted_answer(np.array([0.5, 0.25, 0.25])), np.array([0.25, 0.25, 0.5]))
