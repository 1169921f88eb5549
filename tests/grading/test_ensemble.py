"""The ensemble: weighted, free of order, every classifier on every detector's crops, nothing computed twice."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lumbar.grading.crops import enlarge
from lumbar.grading.ensemble import classify, distinct_images, grade_groups, weighted_mean
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device import Device
from tests.making.random_bundle import random_classifier

CPU = BatchRunner(Device(torch.device("cpu"), None, "test", batch=16))
members = st.lists(
    st.tuples(arrays(np.float64, (25, 3), elements=st.floats(1e-3, 1)), st.floats(0.1, 5)),
    min_size=2,
    max_size=5,
)


def normal(rows: np.ndarray) -> np.ndarray:
    return rows / rows.sum(axis=1, keepdims=True)


@given(members, st.randoms())
def test_mean_is_order_free_between_the_members_and_sums_to_one(drawn, random):
    rows, weights = [normal(rows) for rows, _ in drawn], [weight for _, weight in drawn]
    mean = weighted_mean(rows, weights)
    assert np.allclose(mean.sum(axis=1), 1, atol=1e-12)
    assert (mean <= np.max(rows, axis=0) + 1e-12).all()
    assert (mean >= np.min(rows, axis=0) - 1e-12).all()
    order = random.sample(range(len(rows)), len(rows))
    assert np.allclose(mean, weighted_mean([rows[i] for i in order], [weights[i] for i in order]))


def test_two_different_members_give_neithers_answer_and_weights_count():
    a, b = normal(np.full((25, 3), 1.0)), np.tile([0.8, 0.1, 0.1], (25, 1))
    mean = weighted_mean([a, b], [1, 3])
    assert np.allclose(mean, (a + 3 * b) / 4)
    assert not np.allclose(mean, a)
    assert not np.allclose(mean, b)
    with pytest.raises(ValueError, match="no member"):
        weighted_mean([], [])


def test_equal_slices_go_through_the_backbone_once():
    torch.manual_seed(0)
    member = random_classifier("level", "test_convnext", "level", "shift")
    windows = np.zeros((2, 25, 5, 64, 64), np.float32)
    windows[:, 3] = np.random.default_rng(0).random((5, 64, 64))  # both detectors see this site alike
    windows[1, 4, 2] = 0.5
    images, index = distinct_images(windows)
    assert len(images) == 1 + 5 + 1
    assert (images[index].reshape(windows.shape) == windows).all()
    seen = []
    backbone = member.network.features
    member.network.features = lambda batch: seen.append(len(batch)) or backbone(batch)
    probabilities = classify(member, windows, CPU)
    assert sum(seen) == 7
    assert probabilities.shape == (2, 25, 3)
    member.network.features = backbone
    with torch.inference_mode():
        plain = member.network(enlarge(torch.from_numpy(windows))).softmax(dim=-1)
    assert np.allclose(probabilities, plain, atol=1e-5)


def test_each_detection_is_graded_with_its_own_groups():
    torch.manual_seed(0)
    network = random_classifier("level", "test_convnext", "level", "shift").network
    features = torch.randn(5, 25, 5, network.pool.hidden.in_features)
    held = [[0, 1, 2, 3, 4], [0, 3, 4], [1, 2], [0, 3, 4], []]
    groups = np.array([[group in one for group in range(5)] for one in held])
    with torch.inference_mode():
        together = grade_groups(network, features, groups)
        for row, one in enumerate(held):
            sites = [site for site in range(25) if site // 5 in one]
            alone = network.grade(features[row : row + 1], one)[0, sites] if one else together[row, sites]
            assert torch.allclose(together[row, sites], alone, atol=1e-6)
