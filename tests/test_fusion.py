"""Rewritten networks compute what the plain ones do."""

import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lumbar.classifier import ClassifierConfig, ClassifierNetwork
from lumbar.detector import DecoderBlock, DetectorConfig, DetectorNetwork
from lumbar.device import Device
from lumbar.fusion import (
    FusedDecoderBlock,
    PointwiseLinear,
    checked,
    enlarging_kernel,
    fold_batch_norms,
    fuse,
)
from lumbar.sites import SAGITTAL_T2
from tests.random_bundle import FAMILY_A

CLOSE = 1e-5  # of the largest value
WIDE = Device(torch.device("cpu"), None, "test", batch=4)
HALF = Device(torch.device("cpu"), torch.bfloat16, "test", batch=4)
PLAIN = DetectorConfig(SAGITTAL_T2, "test_byobnet", 5, (16, 16, 8, 8, 8), "test_efficientnet", "lstm", 8, 12)


def lively(network: nn.Module) -> nn.Module:
    """Give batch norms statistics and weights that a mistake in folding could not hide behind."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


def assert_close(given: torch.Tensor, expected: torch.Tensor) -> None:
    assert given.shape == expected.shape
    assert (given - expected).abs().max() <= CLOSE * expected.abs().max()


@pytest.mark.parametrize(
    ("config", "backbone"),
    [
        (PLAIN, "test_byobnet"),
        (
            dataclasses.replace(
                PLAIN, encoder="test_convnext", feature_levels=4, decoder_channels=(16, 8, 8, 8)
            ),
            "test_convnext",
        ),
        (DetectorConfig(SAGITTAL_T2, max_length=12, **FAMILY_A), "regnetx_002"),
        (
            dataclasses.replace(PLAIN, encoder="tf_efficientnet_lite0", pointer_encoder="lcnet_035"),
            "lcnet_050",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value.encoder,
)
def test_fused_networks_compute_the_same(config, backbone):
    torch.manual_seed(3)
    network = lively(DetectorNetwork(config))
    classifier = lively(ClassifierNetwork(ClassifierConfig(backbone, "level", "shift", (0.2, 0.2, 0.2))))
    before = copy.deepcopy((network.state_dict(), classifier.state_dict()))
    fused, quick = fuse(network, WIDE), fuse(classifier, WIDE)

    slices, crops = torch.rand(2, 3, 256, 256), torch.rand(3, 1, 128, 128)
    with torch.inference_mode():
        assert_close(fused.segmenter(slices), network.segmenter(slices))
        assert_close(fused.pointer.encode(slices), network.pointer.encode(slices))
        assert_close(quick.features(crops), classifier.features(crops))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in [*fused.modules(), *quick.modules()])
    for plain, kept in zip((network, classifier), before, strict=True):
        assert all(torch.equal(plain.state_dict()[name], tensor) for name, tensor in kept.items())


@pytest.mark.parametrize("backbone", ["test_convnext", "pvt_v2_b0"])
def test_linear_layers_are_convolutions_in_float32_alone(backbone):
    torch.manual_seed(0)
    plain = ClassifierNetwork(ClassifierConfig(backbone, "level", "shift", (0.2, 0.2, 0.2))).eval()
    layers = sum(type(m) is nn.Linear for m in plain.backbone.modules())
    crops = torch.rand(3, 1, 128, 128)
    for device, expected in ((WIDE, layers), (HALF, 0)):
        fused = fuse(plain, device)
        assert sum(isinstance(m, PointwiseLinear) for m in fused.backbone.modules()) == expected
        with torch.inference_mode():
            assert_close(fused.features(crops), plain.features(crops))
    assert layers


@pytest.mark.parametrize("shape", [(6,), (2, 6), (2, 3, 4, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_pointwise_linear_is_linear(shape, bias):
    torch.manual_seed(0)
    linear, x = nn.Linear(6, 5, bias), torch.randn(shape)
    given = PointwiseLinear(linear)(x)
    assert given.is_contiguous()
    torch.testing.assert_close(given, linear(x))


@pytest.mark.parametrize("skip_channels", [0, 5])
def test_decoder_block_before_the_enlargement(skip_channels):
    torch.manual_seed(0)
    block = lively(DecoderBlock(7, skip_channels, 6))
    skip = torch.rand(2, skip_channels, 10, 14) if skip_channels else None
    x = torch.rand(2, 7, 5, 7)
    with torch.inference_mode():
        expected = block(x, skip)
        folded = copy.deepcopy(block)
        fold_batch_norms(folded, lambda image: folded(image, skip), x)
        assert_close(FusedDecoderBlock(folded)(x, skip), expected)


def test_transposed_convolution_is_the_enlarged_one():
    x, weight = torch.rand(1, 2, 4, 3, dtype=torch.float64), torch.rand(3, 2, 3, 3, dtype=torch.float64)
    expected = F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, padding=1)
    given = F.conv_transpose2d(x, enlarging_kernel(weight), stride=2, padding=1)
    torch.testing.assert_close(given, expected)


class ReadTwice(nn.Module):
    """A convolution that feeds a batch norm and something else."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.conv(x)
        return y + self.norm(y)


def test_a_network_that_can_not_be_folded_is_left_as_it_is(caplog):
    network = lively(ReadTwice())
    same = checked(network, fold_batch_norms, torch.rand(1, 1, 4, 4), lambda whole: whole)
    assert same is network
    assert "left as it is" in caplog.text
