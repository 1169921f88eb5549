"""The estimated cost of the published ensemble on the cards of a notebook.

Two factors multiply the measured seconds of the two stages: the published members' FLOPs over those of the measured
members, and the card's peak rate over a T4's.
"""

import timm
import torch

from lumbar.networks.detector import DetectorNetwork
from tests.benchmarks.flop_floor import flops
from training.recipes.reading import read_recipe

TEST_STUDIES = 720  # of the competition's hidden set
T4_RATE = 65e12  # FLOP/s in float16, the card's data sheet
# Classifiers by backbone: family A's 3 x 5 folds, family B's 3 axes x 5 folds x 2 seeds.
PUBLISHED = {"convnext_tiny": 5, "caformer_s18": 5, "pvt_v2_b3": 5, "convnext_small": 30}


def published_cost(case: dict) -> dict[str, float]:
    """Return hours for the published ensemble on 720 studies, and the factors that lead there.

    Both detectors segment as many slices as the measured one. Every classifier reads both detectors' crops, and no crop
    is shared.

    Args:
        case: ``speed_ratio.figures`` with AMP on this card, of family A's detector and one convnext_tiny.
    """
    detectors = sum(
        segmenter_flops(recipe) for recipe in (read_recipe("family_a"), read_recipe("family_b"))
    ) / segmenter_flops(read_recipe("family_a"))
    one = backbone_flops("convnext_tiny")
    classifiers = 2 * sum(count * backbone_flops(name) for name, count in PUBLISHED.items()) / one
    slower = max(1.0, case["matrix_flops_a_second"] / T4_RATE)
    stage1, stage2 = (case["stages"][stage]["kernel_s"] for stage in ("stage 1", "stage 2"))
    hours = TEST_STUDIES * (stage1 * detectors + stage2 * classifiers) / 3600
    factors = {"stage_1_times": detectors, "stage_2_times": classifiers, "t4_slower": slower}
    return factors | {"here_hours": hours, "t4_hours": hours * slower}


def segmenter_flops(recipe) -> float:
    """Return FLOPs of one slice through each of a family's three segmenters, together."""
    networks = [DetectorNetwork(network.config).eval() for network in recipe.networks]
    return sum(flops(network.segmenter, torch.rand(1, 3, 256, 256)) for network in networks)


def backbone_flops(name: str) -> float:
    backbone = timm.create_model(name, num_classes=0, in_chans=1, pretrained=False).eval()
    return flops(backbone, torch.rand(1, 1, 128, 128))
