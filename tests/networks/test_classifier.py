"""Stage 2: site order, and the LSTMs mix only the sites that they say they mix."""

import pytest
import torch

from lumbar.networks.classifier import SEQUENCES, ClassifierConfig, ClassifierNetwork
from tests.making.random_bundle import sharpen


def small_network(sequence: str) -> ClassifierNetwork:
    torch.manual_seed(0)
    return ClassifierNetwork(ClassifierConfig("test_convnext", sequence, "shift", (0.2, 0.4, 0.2))).eval()


def reached(sequence: str, site: int) -> set[int]:
    """Return which sites' logits change when one site's features change."""
    network = small_network(sequence)
    features = torch.randn(1, 25, 5, network.backbone.head_hidden_size)
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
def test_a_batch_of_two_is_two_batches_of_one(sequence):
    network = small_network(sequence)
    crops = torch.rand(2, 25, 5, 32, 32)
    with torch.inference_mode():
        together = network(crops)
        assert together.shape == (2, 25, 3)
        assert torch.allclose(together[0], network(crops[:1])[0], atol=1e-5)
        assert torch.allclose(together[1], network(crops[1:])[0], atol=1e-5)


def test_each_condition_has_its_own_head():
    network = small_network("level")
    features = torch.randn(1, 25, 5, network.backbone.head_hidden_size)
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


@pytest.mark.long
@pytest.mark.parametrize("backbone", ["convnext_tiny", "convnext_small", "caformer_s18", "pvt_v2_b3"])
def test_published_backbones_at_full_size(backbone):
    width = {"convnext_tiny": 768, "convnext_small": 768, "caformer_s18": 512, "pvt_v2_b3": 512}[backbone]
    network = ClassifierNetwork(ClassifierConfig(backbone, "level", "shift", (0.2, 0.2, 0.2))).eval()
    assert network.backbone.head_hidden_size == width
    with torch.inference_mode():
        logits = network(torch.rand(1, 25, 5, 128, 128))
    assert logits.shape == (1, 25, 3)
    assert torch.isfinite(logits).all()
