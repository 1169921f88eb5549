"""Rewritten networks compute the same as the plain ones."""

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from timm.layers import GELU, GELUTanh
from torch import nn
from torch.nn import functional as F

from lumbar.networks.architecture import ClassifierConfig, DetectorConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DecoderBlock, DetectorNetwork
from lumbar.networks.device import Device
from lumbar.networks.fusion import onednn
from lumbar.networks.fusion.blocks import FusedDecoderBlock, SmallBatches, enlarging_kernel
from lumbar.networks.fusion.rewrite import TOLERANCE, checked, fold_batch_norms, fuse, join_activations
from lumbar.sites import SAGITTAL_T2
from tests.making.random_bundle import FAMILY_A, FAMILY_B, pictures, settle

CLOSE = 1e-5  # of the largest value
TOLERANCES = {torch.float32: {}, torch.bfloat16: {"rtol": 0.02, "atol": 0.02}}  # {}: torch's own
WIDE = Device(torch.device("cpu"), None, "test", batch=4)
HALF = Device(torch.device("cpu"), torch.bfloat16, "test", batch=4)
PLAIN = DetectorConfig(SAGITTAL_T2, "test_byobnet", 5, (16, 16, 8, 8, 8), "test_efficientnet", "lstm", 8, 12)


def lively(network: nn.Module) -> nn.Module:
    """Give batch norms and layer scales numbers that a mistake in folding could not hide behind."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
        if getattr(module, "gamma", None) is not None:
            nn.init.uniform_(module.gamma, 0.5, 1.5)
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


def count(network: nn.Module, *kinds: type) -> int:
    return sum(type(m) in kinds for m in network.modules())


@pytest.mark.skipif(not onednn.available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize(
    ("backbone", "left"),  # pvt's activations read a transposed tensor, not the layer's own
    [("test_convnext", 0), ("regnetx_002", 13), ("test_efficientnet", 0), ("pvt_v2_b0", 8)],
)
def test_activations_join_the_layer_before_them_on_a_cpu(backbone, left, monkeypatch):
    torch.manual_seed(0)
    plain = lively(ClassifierNetwork(ClassifierConfig(backbone, "level", "shift", (0.2, 0.2, 0.2))))
    crops = torch.rand(3, 1, 128, 128)
    for device in (WIDE, HALF):
        backbone = fuse(plain, device).backbone
        assert count(backbone, nn.Linear) == 0
        assert count(backbone, *onednn.ACTIVATIONS) == left
        with torch.inference_mode():
            assert_close(backbone(crops), plain.backbone(crops))
    monkeypatch.setattr(onednn, "available", lambda: False)
    assert count(fuse(plain, WIDE).backbone, *onednn.LAYERS.values()) == 0


@pytest.mark.skipif(not onednn.available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "activation", [None, nn.ReLU(), nn.SiLU(), nn.GELU(), nn.GELU("tanh"), GELU(), GELUTanh()], ids=str
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda bias: nn.Linear(6, 5, bias), (6,)),
        (lambda bias: nn.Linear(6, 5, bias), (2, 3, 4, 6)),
        (lambda bias: nn.Conv2d(6, 4, 3, 2, 1, groups=2, bias=bias), (2, 6, 9, 8)),
        (lambda bias: nn.Conv2d(6, 5, 3, padding=(1, 0), dilation=2, bias=bias), (1, 6, 9, 8)),
        (lambda bias: nn.ConvTranspose2d(6, 5, 4, 2, 1, bias=bias), (2, 6, 5, 4)),
    ],
)
def test_a_layer_joined_with_its_activation_is_the_two(layer, shape, bias, activation, kind, ordered):
    """Also for another number of images than the weights were put in order for."""
    torch.manual_seed(0)
    plain, x = layer(bias), torch.randn(shape)
    with torch.inference_mode():
        expected = activation(plain(x)) if activation else plain(x)
        joined = onednn.LAYERS[type(plain)](plain, activation, ordered).to(kind)
        torch.testing.assert_close(joined(x), expected.to(kind), **TOLERANCES[kind])
        assert (joined.copy is not None) == ordered
        if x.ndim > 1:
            thrice = joined(torch.cat([x, x, x]))
            torch.testing.assert_close(thrice, torch.cat([expected] * 3).to(kind), **TOLERANCES[kind])


@pytest.mark.skipif(not onednn.available(), reason="this torch has no oneDNN")
def test_weights_in_order_are_forgotten_when_the_layer_moves_or_changes_its_type():
    layer = onednn.ActivatedConv2d(nn.Conv2d(3, 2, 1, bias=False), None, ordered=True)
    x = torch.rand(1, 3, 4, 4)
    with torch.inference_mode():
        exact = layer(x)
        assert layer.copy is not None
        layer.to(torch.bfloat16)
        assert layer.copy is None
        rounded = layer.to(torch.float32)(x)
        torch.testing.assert_close(rounded, F.conv2d(x, layer.weight))
    assert not torch.equal(rounded, exact)


def checked_alone(network: nn.Module, rewrite: Callable, channels: int = 1) -> nn.Module:
    """Return a wholly rewritten network after the check: the copy, or the network itself."""
    image = torch.rand(1, channels, 4, 4)
    with torch.inference_mode():
        return checked(network, rewrite, image, lambda whole: whole, network(image))[0]


class SharedActivation(nn.Module):
    """An activation that reads a convolution's result, and then something else."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(1, 2, 1), nn.SiLU()

    def forward(self, x):
        return self.act(self.act(self.conv(x)) + 1)


def test_an_activation_that_serves_others_too_stays():
    network = SharedActivation()
    same = checked_alone(network, join_activations)
    assert count(same, nn.SiLU) == count(same, nn.Conv2d) == 1


@pytest.mark.skipif(not onednn.available(), reason="this torch has no oneDNN")
def test_a_detectors_weights_are_kept_in_order_and_a_classifiers_are_not():
    """A classifier's may wait in a file, which a copy in memory would make useless."""
    detector = fuse(DetectorNetwork(PLAIN).eval(), WIDE)
    classifier = ClassifierNetwork(ClassifierConfig("regnetx_002", "level", "shift", (0.2, 0.2, 0.2)))
    classifier = fuse(classifier.eval(), WIDE)
    for part in (detector.segmenter, detector.pointer.encoder, classifier.backbone):
        layers = [m for m in part.modules() if isinstance(m, onednn.ActivatedLayer)]
        assert layers
        assert all((layer.copy is not None) == (part is not classifier.backbone) for layer in layers)


@pytest.mark.skipif(not onednn.available(), reason="this torch has no oneDNN")
def test_a_networks_early_stages_see_few_images_at_once_where_nobody_else_reads_them():
    torch.manual_seed(0)
    network = lively(DetectorNetwork(DetectorConfig(SAGITTAL_T2, max_length=12, **FAMILY_A)))
    seen, slices = [], torch.rand(2 * SmallBatches.IMAGES + 1, 3, 64, 64)
    fused = fuse(network, WIDE)
    assert count(fused.segmenter, SmallBatches) == 0
    assert [name for name, m in fused.pointer.encoder.named_children() if type(m) is SmallBatches] == ["stem"]
    fused.pointer.encoder["stem"][1].register_forward_hook(lambda _, __, maps: seen.append(maps.shape))
    with torch.inference_mode():
        assert_close(fused.pointer.encode(slices), network.pointer.encode(slices))
    assert [tuple(shape) for shape in seen] == [(n, 24, 16, 16) for n in (4, 4, 1)]


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
    same = checked_alone(network, fold_batch_norms)
    assert same is network
    assert "left as it is" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError, AttributeError, TypeError])
def test_a_network_whose_rewriting_fails_is_left_as_it_is(error, caplog):
    """A replaced layer lacks attributes that a network may read, and a stage may give a list."""

    def rewrite(fused, function, image):
        raise error("no such operation")

    network = ReadTwice().eval()
    assert checked_alone(network, rewrite) is network
    assert "no such operation" in caplog.text


def rounding_amplifier() -> nn.Module:
    """Return a convolution and a batch norm that subtracts nearly all of its result and enlarges the rest.

    In float32 a hundredth of the output is rounding.
    """
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    with torch.no_grad():
        network[0].weight.mul_(0.01)
        network[0].bias.fill_(1000)
        network[1].running_mean.fill_(1000)
        network[1].running_var.fill_(1e-4)
    return network


def test_a_network_that_amplifies_rounding_is_compared_in_float64():
    torch.manual_seed(0)
    network, image = rounding_amplifier(), torch.rand(1, 1, 4, 4)
    with torch.inference_mode():
        output, exact = network(image), copy.deepcopy(network).double()(image.double())
    assert (output - exact).abs().max() > 2 * TOLERANCE * exact.abs().max()
    assert count(checked_alone(network, fold_batch_norms), nn.BatchNorm2d) == 0


def test_a_mistake_does_not_pass_for_rounding(caplog):
    def wrong(fused, function, image):
        fold_batch_norms(fused, function, image)
        fused[0].weight.data.mul_(1.1)

    torch.manual_seed(0)
    network = rounding_amplifier()
    assert checked_alone(network, wrong) is network
    assert "differs by" in caplog.text


def test_family_b_s_sagittal_segmenter_is_fused(caplog):
    """Its efficientnet amplifies white noise until float32 rounding is a third of the output; no slice is so."""
    torch.manual_seed(0)
    network = DetectorNetwork(DetectorConfig(SAGITTAL_T2, max_length=29, **FAMILY_B)).eval()
    settle(network.segmenter, pictures(3, 128)[:2])
    fused = fuse(network, WIDE)
    assert "left as it is" not in caplog.text
    assert count(fused.segmenter, nn.BatchNorm2d) == 0
    slices = pictures(3, 256)[1:2]
    with torch.inference_mode():
        given, expected = fused.segmenter(slices), network.segmenter(slices)
    assert (given - expected).abs().max() <= TOLERANCE * expected.abs().max()
