"""A bundle's manifest and safetensors -> the reference networks, under the published parameter names.

Reads the two files itself: no loading code is shared with the kernel.
"""

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from lumbar.sites import class_count
from tests.reference.reference_networks import RobertaPreNorm, build_classifier, build_detector

# The kernel's name -> the published one.
RENAMED = (
    (r"^(segmenter|pointer)\.encoder\.", r"\1.extracter."),
    (r"^segmenter\.decoder\.(\d+)\.", r"segmenter.decoder.blocks.\1."),
    (r"^segmenter\.head\.", "segmenter.head.0."),
    (r"^pointer\.head\.", "pointer.out.1."),
    (r"^pointer\.sequence\.lstm\.", "pointer.rnn."),
    (r"^pointer\.sequence\.dense\.", "pointer.dense."),
    (r"^pointer\.sequence\.norm_in\.", "pointer.transformer.embeddings.LayerNorm."),
    (r"^pointer\.sequence\.norm_out\.", "pointer.transformer.LayerNorm."),
    (r"^pointer\.sequence\.layer\.norm1\.", "pointer.transformer.encoder.layer.0.attention.LayerNorm."),
    (r"^pointer\.sequence\.layer\.norm2\.", "pointer.transformer.encoder.layer.0.intermediate.LayerNorm."),
    (r"^pointer\.sequence\.layer\.linear1\.", "pointer.transformer.encoder.layer.0.intermediate.dense."),
    (r"^pointer\.sequence\.layer\.linear2\.", "pointer.transformer.encoder.layer.0.output.dense."),
    (
        r"^pointer\.sequence\.layer\.self_attn\.out_proj\.",
        "pointer.transformer.encoder.layer.0.attention.output.dense.",
    ),
    (r"^backbone\.", "cnn.backbone."),
    (r"^pool\.hidden\.", "pooler.fc.0."),
    (r"^pool\.score\.", "pooler.fc.2."),
    (r"^heads\.0\.", "out1."),
    (r"^heads\.1\.", "out2."),
    (r"^heads\.2\.", "out3."),
)
# A bundle leaves out what nothing needs: an encoder's last stages, the second LSTM of level_slices.
NOT_NEEDED = re.compile(r"^segmenter\.extracter\.|^rnn2\.")


def load_members(bundle: Path, device: str = "cpu") -> tuple[list[dict], list[dict]]:
    """Return the manifest's entries of detectors and classifiers, each network loaded under ``net``."""
    manifest = json.loads((bundle / "weights_manifest.json").read_text())
    for detector in manifest["detectors"]:
        for description, entry in detector["networks"].items():
            net = build_detector(entry["config"], class_count(description))
            entry["net"] = load_kernel(net, load_file(bundle / entry["file"])).to(device)
    for entry in manifest["classifiers"]:
        net = build_classifier(entry["config"])
        entry["net"] = load_kernel(net, load_file(bundle / entry["file"])).to(device)
    return manifest["detectors"], manifest["classifiers"]


def load_kernel(net: nn.Module, state: dict[str, torch.Tensor]) -> nn.Module:
    """Load a bundle's state dict strictly, but for what a bundle leaves out."""
    unused = {name: value for name, value in net.state_dict().items() if NOT_NEEDED.match(name)}
    return load_published(net, unused | published_names(state))


def load_published(net: nn.Module, state: dict[str, torch.Tensor]) -> nn.Module:
    """Load a state dict under published names strictly, but for what the write-up calls unused."""
    state = {name.replace("pointer.extractor.", "pointer.extracter."): value for name, value in state.items()}
    ignored = ("pointer.transformer.pooler.", "pointer.transformer.embeddings.position_ids")
    if "pointer.dense.bias" not in net.state_dict():
        ignored += ("pointer.dense.",)
    state = {name: value for name, value in state.items() if not name.startswith(ignored)}
    net.load_state_dict(state)
    return net


def published_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Translate a bundle's state dict to the published names."""
    published = {}
    for name, value in state.items():
        if name == "pointer.sequence.positions":
            published |= embeddings(value)
        elif match := re.match(r"pointer\.sequence\.layer\.self_attn\.in_proj_(weight|bias)", name):
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                attention = "pointer.transformer.encoder.layer.0.attention.self"
                published[f"{attention}.{part}.{match[1]}"] = rows
        else:
            for kernel_name, published_name in RENAMED:
                name = re.sub(kernel_name, published_name, name)
            published[name] = value
    return published


def embeddings(positions: torch.Tensor) -> dict[str, torch.Tensor]:
    """Undo the folding of RoBERTa's embeddings: rows 0, 1 are never used, token type 0 is in the sum."""
    table = torch.zeros(RobertaPreNorm.POSITIONS, positions.shape[1])
    first = RobertaPreNorm.FIRST_POSITION
    table[first : first + len(positions)] = positions
    name = "pointer.transformer.embeddings.{}_embeddings.weight"
    return {name.format("position"): table, name.format("token_type"): torch.zeros(2, positions.shape[1])}
