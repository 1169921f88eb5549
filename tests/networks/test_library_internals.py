"""Undocumented parts of libraries that the kernel uses, and a test of each for the versions in use.

A name in this list may change with any release that ``requirements.txt`` admits. ``.ci/run`` runs these tests with
three sets of versions: the newest, Kaggle's and the oldest.

| library | name | used in | if it changes |
|---|---|---|---|
| torch | ``torch.ops.mkldnn``: ``_linear_pointwise``, ``_convolution_pointwise``, \
``_convolution_transpose_pointwise``, ``_reorder_linear_weight``, ``_reorder_convolution_weight``, \
``_reorder_convolution_transpose_weight`` | networks/fusion/onednn.py | networks run slower |
| torch | ``nn.Module._apply``, which every ``to`` ends in | networks/parked_weights.py, onednn.py | a run fails |
| torch | keys of ``nn.TransformerEncoderLayer`` and ``nn.LSTM`` | networks/detector.py, dataset | bundles do not load |
| torch | words of its out-of-memory errors | networks/device.py | a full memory ends the run |
| torch | ``copy.deepcopy`` of a module leaves tensors that the memo holds | fusion/rewrite.py | memory is used twice |
| timm | ``_stage_out_idx`` and ``blocks`` of EfficientNet's and MobileNet's feature networks | networks/detector.py | \
bundles do not load |
| timm | ``timm.models.FeatureListNet``: ``return_layers``, ``feature_info.info``, its children | fusion/rewrite.py | \
networks run slower |
| timm | ``timm.models.convnext.ConvNeXtBlock``: ``gamma``, ``mlp.fc2`` | fusion/rewrite.py | AMP loses precision |
| timm | ``act`` of its batch norms, which derive from ``nn.BatchNorm2d`` | fusion/rewrite.py | networks run slower |
| timm | ``timm.layers``: ``Conv2dSame``, ``GELU``, ``GELUTanh`` | networks/device.py, onednn.py | networks run slower |
| timm | ``file`` of ``pretrained_cfg_overlay`` | networks/detector.py, classifier.py | training starts at random |
| timm | keys and shapes of the published networks | dataset | checkpoints are not imported |
| timm | networks can be built on the meta device | dataset/published/timm_shapes.py | checkpoints are not imported |
| pydicom | names of its loggers | reading/library_warnings.py | the log has more lines |
| pandas | a NUL ends a field before pandas 3 | reading/competition_tables.py | see its test |

The width of a backbone's features and everything else about timm's networks is measured on an image instead.
"""

import ast
import copy
import platform
import re
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from timm.models import FeatureListNet
from timm.models.convnext import ConvNeXtBlock
from torch import nn

from dataset.published.shapes import CANDIDATES
from dataset.published.timm_shapes import state_shapes
from lumbar.networks.architecture import ClassifierConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import TransformerSequence, feature_encoder
from lumbar.networks.device import CAST, is_out_of_memory
from lumbar.networks.fusion import onednn
from lumbar.networks.fusion.rewrite import copy_modules, fold_batch_norms, fold_layer_scales
from lumbar.reading import library_warnings

KERNEL = Path(__file__).resolve().parents[2] / "kernel"
DOCUMENTED = {"_asdict", "_fields", "_replace", "_exit"}  # of named tuples and of os
ENCODERS = ("regnety_002", "tf_efficientnet_b5")
BACKBONES = ("convnext_tiny", "convnext_small", "caformer_s18", "pvt_v2_b3")
AS_ENCODER, AS_BACKBONE = {"features_only": True}, {"num_classes": 0, "in_chans": 1}
PUBLISHED = [*((name, AS_ENCODER) for name in ENCODERS), *((name, AS_BACKBONE) for name in BACKBONES)]


def private_names(file: Path) -> set[str]:
    """Return the names that a file uses of others: attributes with a leading underscore, and parts of timm."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)} - own
    used = {name for name in used if name.startswith("_") and not name.startswith("__")} - DOCUMENTED
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("timm"):
            used |= {alias.name for alias in node.names}
    return used


def test_the_list_above_is_complete():
    files = sorted(KERNEL.rglob("*.py"))
    assert len(files) > 50
    listed = set(re.findall(r"\w+", __doc__))
    unlisted = {file.name: names for file in files if (names := private_names(file) - listed)}
    assert not unlisted, "add them to the list above, with a test"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN is an x86 library here")
def test_onednn_has_its_operations():
    """``test_fusion`` compares their results with the plain layers."""
    assert onednn.available()


def test_apply_visits_every_tensor():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.LSTM(2, 2, bidirectional=True))
    visited = []

    def visit(tensor: torch.Tensor) -> torch.Tensor:
        visited.append(tensor.data_ptr())
        return tensor

    network._apply(visit)
    assert sorted(visited) == sorted(t.data_ptr() for t in (*network.parameters(), *network.buffers()))


def test_keys_of_torch_s_layers():
    layer = {f"self_attn.{name}" for name in ("in_proj_weight", "in_proj_bias")}
    parts = ("self_attn.out_proj", "linear1", "linear2", "norm1", "norm2")
    layer |= {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}
    assert TransformerSequence(4, 8, 3).layer.state_dict().keys() == layer
    names = {f"{kind}_{gates}_l0" for kind in ("weight", "bias") for gates in ("ih", "hh")}
    lstm = nn.LSTM(2, 2, bidirectional=True).state_dict().keys()
    assert lstm == names | {f"{name}_reverse" for name in names}


def test_a_failed_allocation_is_recognised():
    with pytest.raises(RuntimeError) as failure:
        torch.empty(1 << 50, dtype=torch.uint8)
    assert is_out_of_memory(failure.value)


def test_a_copy_of_the_modules_shares_the_tensors():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.LSTM(2, 2))
    copied = copy_modules(network)
    assert copied[0] is not network[0]
    for name, tensor in network.state_dict(keep_vars=True).items():
        assert copied.state_dict(keep_vars=True)[name] is tensor


@pytest.mark.parametrize("name", ["tf_efficientnet_b5", "mobilenetv3_small_050"])
def test_stages_behind_the_last_feature_map_are_not_built(name):
    torch.manual_seed(0)
    encoder, image = feature_encoder(name, (0, 1, 2, 3)).eval(), torch.rand(1, 3, 64, 64)
    whole = timm.create_model(name, features_only=True).eval()
    assert len(encoder.blocks) < len(whole.blocks)
    encoder.load_state_dict(whole.state_dict(), strict=False)
    with torch.inference_mode():
        for given, expected in zip(encoder(image), whole(image)[:4], strict=True):
            assert torch.equal(given, expected)


def test_a_feature_list_names_its_stages():
    encoder = feature_encoder("regnety_002", (-1,))
    assert isinstance(encoder, FeatureListNet)
    names = [name for name, _ in encoder.named_children()]
    assert list(encoder) == names and encoder.return_layers.keys() == {names[-1]}
    reductions = {info["module"]: info["reduction"] for info in encoder.feature_info.info}
    assert reductions["stem"] == 2 and reductions["s4"] == 32


def test_a_convnext_s_layer_scales_are_folded():
    torch.manual_seed(0)
    network, image = timm.create_model("test_convnext", **AS_BACKBONE).eval(), torch.rand(1, 1, 64, 64)
    blocks = [module for module in network.modules() if isinstance(module, ConvNeXtBlock)]
    assert blocks and all(block.gamma is not None for block in blocks)
    with torch.inference_mode():
        for block in blocks:
            nn.init.uniform_(block.gamma, 0.5, 1.5)
        expected = network(image)
        fold_layer_scales(network)
        torch.testing.assert_close(network(image), expected)
    assert all(block.gamma is None for block in blocks)


@pytest.mark.parametrize("name", ["test_efficientnet", "regnetx_002"])
def test_activations_inside_batch_norms_outlive_the_folding(name):
    network, image = timm.create_model(name, **AS_BACKBONE).eval(), torch.rand(1, 1, 64, 64)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    activations = [module.act for module in norms if not isinstance(module.act, nn.Identity)]
    folded = copy.deepcopy(network)
    with torch.inference_mode():
        fold_batch_norms(folded, folded, image)
        torch.testing.assert_close(folded(image), network(image))
    left = [type(module) for module in folded.modules()]
    assert not any(issubclass(kind, nn.BatchNorm2d) for kind in left)
    assert activations and left.count(type(activations[0])) >= len(activations)


@pytest.mark.parametrize(("name", "options"), PUBLISHED)
def test_layers_of_the_published_networks_are_of_known_types(name, options):
    """Others would be cast at every study."""
    network = timm.create_model(name, **options)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) > 20
    assert {type(layer) for layer in layers} <= set(CAST)


@pytest.mark.parametrize("name", ["convnext_tiny", "pvt_v2_b3"])
def test_activations_of_the_published_backbones_are_of_known_types(name):
    network = timm.create_model(name, **AS_BACKBONE)
    activations = [m for key, m in network.named_modules() if key.endswith((".act", ".act1"))]
    assert activations
    assert {type(module) for module in activations} <= set(onednn.ACTIVATIONS)


def test_a_start_file_gives_the_backbone_s_weights(tmp_path):
    torch.manual_seed(0)
    start = timm.create_model("test_resnet", num_classes=3, in_chans=3).state_dict()
    safetensors.torch.save_file(start, tmp_path / "start.safetensors")
    config = ClassifierConfig("test_resnet", "level", "shift", (0.2, 0.2, 0.2))
    backbone = ClassifierNetwork(config, backbone_file=str(tmp_path / "start.safetensors")).backbone
    key = "layer4.0.conv2.weight"
    assert torch.equal(backbone.state_dict()[key], start[key])


@pytest.mark.parametrize(("name", "options"), PUBLISHED)
def test_keys_and_shapes_of_the_published_networks(name, options):
    """Found without memory for the weights, and by the pattern that ``CANDIDATES`` has for their kind."""
    real = timm.create_model(name, **options).state_dict()
    shapes = state_shapes(name, **options)
    assert shapes == {key: tuple(tensor.shape) for key, tensor in real.items()}
    patterns = next(names for key, names in CANDIDATES if any(re.match(key, k) for k in shapes))
    assert name in [match for pattern in patterns for match in timm.list_models(pattern)]


@pytest.mark.parametrize("pattern", sorted({pattern for _, names in CANDIDATES for pattern in names}))
def test_every_architecture_that_checkpoints_are_compared_with_can_be_built_without_memory(pattern):
    names = timm.list_models(pattern)
    for name in (names[0], names[-1]):
        assert len(state_shapes(name, features_only=True)) > 20


def test_pydicom_s_loggers_have_these_names():
    from pydicom import pixels

    assert pixels.decoders.base.LOGGER.name in library_warnings.LOGGERS
    assert "pydicom" in library_warnings.LOGGERS
