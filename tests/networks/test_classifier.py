"""Stage 2: site order, and the LSTMs mix only the sites of their sequence."""

import numpy as np
import pytest
import torch

from lumbar.bundle.loading import load_bundle
from lumbar.bundle.manifest import read_manifest
from lumbar.bundle.placement import ready_bundle
from lumbar.grading.ensemble import classify
from lumbar.networks.architecture import SEQUENCES, ClassifierConfig
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.classifier import ClassifierNetwork, feature_width
from lumbar.networks.device_choice import choose_device
from lumbar.sites import AXIAL_T2, SAGITTAL_T2
from tests.making.random_bundle import random_classifier, random_detector, sharpen, write_random_bundle
from tests.making.tiny_bundle import NETWORK

# The backbones of the published classifiers and the width of their features (solution write-up, section 5).
FULL_SIZE = {"convnext_tiny": 768, "convnext_small": 768, "caformer_s18": 512, "pvt_v2_b3": 512}


def small_network(sequence: str, **options) -> ClassifierNetwork:
    torch.manual_seed(0)
    config = ClassifierConfig("test_convnext", sequence, "shift", (0.2, 0.4, 0.2), **options)
    return ClassifierNetwork(config).eval()


def reached(sequence: str, site: int) -> set[int]:
    """Return which sites' logits change when one site's features change."""
    network = small_network(sequence)
    features = torch.randn(1, 25, 5, network.pool.hidden.in_features)
    changed = features.clone()
    changed[0, site] += 1
    with torch.inference_mode():
        difference = (network.grade(features) - network.grade(changed)).abs().amax(dim=(0, 2))
    return set(torch.nonzero(difference > 1e-7).flatten().tolist())


@pytest.mark.parametrize("site", [0, 7, 24])
def test_a_level_reaches_its_own_level_alone(site):
    level = {group * 5 + site % 5 for group in range(5)}
    for sequence in ("level", "level_skip", "level_slices"):
        assert reached(sequence, site) == level
    assert reached("alone", site) == {site}
    assert reached("all", site) == set(range(25))
    group = {site - site % 5 + number for number in range(5)}
    assert reached("level_region", site) == level | group


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_groups_that_are_left_out_reach_no_other(sequence):
    """Their sites' features count for nothing, where in whole sequences they do."""
    network, held, others = small_network(sequence), [0, 3, 4], slice(5, 15)
    features = torch.randn(2, 25, 5, network.pool.hidden.in_features)
    changed = features.clone()
    changed[:, others] += 1
    kept = [site for site in range(25) if not 5 <= site < 15]
    with torch.inference_mode():
        part = network.grade(features, held)[:, kept]
        assert torch.equal(part, network.grade(changed, held)[:, kept])
        assert torch.allclose(network.grade(features), network.grade(features, [0, 1, 2, 3, 4]), atol=1e-6)
        alike = torch.allclose(part, network.grade(features)[:, kept], atol=1e-6)
    assert alike == (sequence == "alone")


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_batch_of_two_is_two_batches_of_one(sequence):
    network = small_network(sequence)
    crops = torch.rand(2, 25, 5, 32, 32)
    with torch.inference_mode():
        together = network(crops)
        assert together.shape == (2, 25, 3)
        assert torch.allclose(together[0], network(crops[:1])[0], atol=1e-5)
        assert torch.allclose(together[1], network(crops[1:])[0], atol=1e-5)


@pytest.mark.parametrize("groups", [None, [0, 3, 4], [1, 2]])
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_the_outer_slices_count_for_the_canal_alone(sequence, groups):
    """With five slices in the middle and a margin, the other sites are graded as without one."""
    network, plain = small_network(sequence, canal_margin=2), small_network(sequence)
    plain.load_state_dict(network.state_dict())
    features = torch.randn(2, 25, 9, network.pool.hidden.in_features)
    changed = features.clone()
    changed[:, 5:, [0, 1, 7, 8]] += 1
    with torch.inference_mode():
        graded = network.grade(features, groups)
        assert torch.equal(graded, network.grade(changed, groups))
        changed[:, :5, 0] += 1
        assert torch.equal(graded, network.grade(changed, groups)) == (groups == [1, 2])
        if groups == [1, 2]:
            expected = plain.grade(features[:, :, 2:7], groups)
            assert torch.allclose(graded[:, 5:15], expected[:, 5:15], atol=1e-6)


def test_each_condition_has_its_own_head():
    network = small_network("level")
    features = torch.randn(1, 25, 5, network.pool.hidden.in_features)
    with torch.inference_mode():
        before = network.grade(features)
        sharpen(network.heads[1][1], 2)
        changed = (network.grade(features) != before).any(dim=2)[0]
    assert changed.tolist() == [5 <= site < 15 for site in range(25)]


def test_unknown_sequence_is_refused():
    with pytest.raises(ValueError, match="sequence"):
        small_network("levels")


def test_unknown_border_is_refused_by_the_configuration():
    with pytest.raises(ValueError, match="border: got 'wrap', expected one of stretch, shift"):
        ClassifierConfig("test_convnext", "level", "wrap", (0.2, 0.4, 0.2))


def test_a_margin_below_zero_is_refused_by_the_configuration():
    with pytest.raises(ValueError, match="canal_margin: got -1, expected 0"):
        small_network("level", canal_margin=-1)
    with pytest.raises(ValueError, match="canal_from: got 'Sagittal T1', expected one of"):
        small_network("level", canal_from="Sagittal T1")


def test_an_option_that_is_off_is_in_no_manifest(tmp_path):
    torch.manual_seed(0)
    detector = random_detector("axial", "fixed", {AXIAL_T2: 6}, NETWORK)
    members = [
        random_classifier(
            f"margin {margin}",
            "test_convnext",
            "level",
            "shift",
            canal_margin=margin,
            canal_from=view,
            **size,
        )
        for margin, view, size in ((0, SAGITTAL_T2, {}), (1, AXIAL_T2, {"window_mm": 50}))
    ]
    folder = write_random_bundle(tmp_path / "bundle", [detector], members)
    configs = [entry["config"] for entry in read_manifest(folder).classifiers]
    assert [config.get("canal_margin") for config in configs] == [None, 1]
    assert [config.get("canal_from") for config in configs] == [None, AXIAL_T2]
    assert [config.get("window_mm", "none") for config in configs] == ["none", 50]
    loaded = load_bundle(folder).classifiers
    assert [member.network.config.canal_margin for member in loaded] == [0, 1]
    assert [member.network.config.canal_from for member in loaded] == [SAGITTAL_T2, AXIAL_T2]
    assert [member.network.config.crops.window_mm for member in loaded] == [None, 50]


@pytest.mark.parametrize("backbone", ["lcnet_050", "poolformer_s12", "regnetx_002", "resnet18"])
def test_the_features_width_is_what_the_backbone_gives(backbone):
    network = ClassifierNetwork(ClassifierConfig(backbone, "level", "shift", (0.2, 0.2, 0.2)))
    assert network.backbone.training
    with torch.inference_mode():
        features = network.eval().features(torch.rand(2, 1, 128, 128))
    assert features.shape == (2, network.pool.hidden.in_features)


def test_a_backbone_that_does_not_pool_is_refused():
    with pytest.raises(ValueError, match=r"Conv2d: got features of shape \(1, 4, 32, 32\)"):
        feature_width(torch.nn.Conv2d(1, 4, 1))


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "width"), FULL_SIZE.items())
def test_published_backbones_at_full_size_load_and_grade(backbone, width, tmp_path, caplog):
    """Written, loaded, rewritten and placed as a run does; the reference is the network that was written."""
    torch.manual_seed(0)
    member = random_classifier("c", backbone, "level", "shift", factor=20)
    assert member.network.pool.hidden.in_features == width
    images = np.random.default_rng(0).random((1, 25, 1, 64, 64), dtype=np.float32)
    windows = images.repeat(5, axis=2)  # 25 passes through the backbone in place of 125
    device = choose_device("cpu", "fp32")
    detector = random_detector("tiny", "fixed", {AXIAL_T2: 6}, NETWORK)
    (loaded,) = ready_bundle(write_random_bundle(tmp_path, [detector], [member]), device).classifiers
    assert "left as it is" not in caplog.text  # its rewritten form passed the check
    graded = classify(loaded, windows, BatchRunner(device))
    assert graded.shape == (1, 25, 3)
    assert graded.std(axis=1).min() > 0.01
    np.testing.assert_allclose(graded, classify(member, windows, BatchRunner(device)), atol=1e-3)
