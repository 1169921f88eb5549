"""Checkpoints with the authors' published keys and file names, of random networks.

The keys are written from the description of the published files, apart from the tables that the import uses.
"""

import re
from pathlib import Path

import timm
import torch
from torch import Tensor

from lumbar.networks import families
from lumbar.networks.architecture import DetectorConfig
from lumbar.networks.classifier import ClassifierNetwork, bidirectional
from lumbar.networks.detector import DetectorNetwork
from lumbar.sites import AXIAL_T2, DESCRIPTION_KEYS
from tests.making.random_bundle import (
    FAMILY_A,
    FAMILY_B,
    FAMILY_B_AXIAL,
    random_classifier,
    random_network,
)

POSITIONS = 512  # of RoBERTa's table, behind two rows that are never used
ENCODER = "pointer.transformer.encoder.layer.0"
DETECTOR_NAMES = (
    (r"segmenter\.encoder\.", "segmenter.extracter."),
    (r"segmenter\.decoder\.", "segmenter.decoder.blocks."),
    (r"segmenter\.head\.", "segmenter.head.0."),
    (r"pointer\.head\.", "pointer.out.1."),
    (r"pointer\.sequence\.lstm\.", "pointer.rnn."),
    (r"pointer\.sequence\.dense\.", "pointer.dense."),
    (r"pointer\.sequence\.norm_in\.", "pointer.transformer.embeddings.LayerNorm."),
    (r"pointer\.sequence\.norm_out\.", "pointer.transformer.LayerNorm."),
    (r"pointer\.sequence\.layer\.self_attn\.out_proj\.", f"{ENCODER}.attention.output.dense."),
    (r"pointer\.sequence\.layer\.norm1\.", f"{ENCODER}.attention.LayerNorm."),
    (r"pointer\.sequence\.layer\.norm2\.", f"{ENCODER}.intermediate.LayerNorm."),
    (r"pointer\.sequence\.layer\.linear1\.", f"{ENCODER}.intermediate.dense."),
    (r"pointer\.sequence\.layer\.linear2\.", f"{ENCODER}.output.dense."),
)
CLASSIFIER_NAMES = (
    (r"backbone\.", "cnn.backbone."),
    (r"rnn", "rnn"),
    (r"pool\.hidden\.", "pooler.fc.0."),
    (r"pool\.score\.", "pooler.fc.2."),
    *((rf"heads\.{i}\.", f"out{i + 1}.") for i in range(3)),
)


def published_detector(network: DetectorNetwork) -> dict[str, Tensor]:
    """Return the float32 state dict of a detector's network under the published keys, unused tensors included."""
    tensors = dict(network.state_dict())
    config = network.config
    spelling = "extractor" if config.pointer == "lstm" and config.feature_levels == 4 else "extracter"
    published = {}
    if config.pointer == "transformer":
        published |= roberta(tensors, config)
    else:  # family A's files carry a layer that its pointer does not use
        published |= dict(torch.nn.Linear(8, 8).state_dict(prefix="pointer.dense."))
    published |= renamed(tensors, ((r"pointer\.encoder\.", f"pointer.{spelling}."), *DETECTOR_NAMES))
    whole = timm.create_model(config.encoder, features_only=True, in_chans=3).state_dict()
    unused = {f"segmenter.extracter.{key}": tensor for key, tensor in whole.items()}
    return unused | published  # the published b5 carries all stages, whichever its decoder reads


def roberta(tensors: dict[str, Tensor], config: DetectorConfig) -> dict[str, Tensor]:
    """Take out what torch's layer has in other tensors than RoBERTa's, and return it in RoBERTa's."""
    positions, tokens = torch.randn(POSITIONS + 2, config.hidden), torch.randn(1, config.hidden)
    own = tensors.pop("pointer.sequence.positions")
    positions[2 : 2 + len(own)] = own - tokens
    embeddings = "pointer.transformer.embeddings"
    published = {
        f"{embeddings}.position_ids": torch.arange(POSITIONS + 2)[None],
        f"{embeddings}.position_embeddings.weight": positions,
        f"{embeddings}.token_type_embeddings.weight": tokens,
        "pointer.transformer.pooler.dense.weight": torch.randn(config.hidden, config.hidden),
    }
    for kind in ("weight", "bias"):
        parts = tensors.pop(f"pointer.sequence.layer.self_attn.in_proj_{kind}").chunk(3)
        for name, part in zip(("query", "key", "value"), parts, strict=True):
            published[f"{ENCODER}.attention.self.{name}.{kind}"] = part.clone()
    return published


def published_classifier(network: ClassifierNetwork) -> dict[str, Tensor]:
    """Return the float32 state dict of a classifier under the published keys; both LSTMs are always there."""
    tensors = dict(network.state_dict())
    width = network.pool.hidden.in_features
    return dict(bidirectional(width).state_dict(prefix="rnn2.")) | renamed(tensors, CLASSIFIER_NAMES)


def renamed(tensors: dict[str, Tensor], names: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    published = {}
    for key, tensor in tensors.items():
        pattern, name = next((pattern, name) for pattern, name in names if re.match(pattern, key))
        published[re.sub(pattern, name, key, count=1)] = tensor.contiguous()
    return published


def write_detector_file(
    folder: Path, description: str, parts: dict, score: float = 1.0, fold: int = 1
) -> Path:
    """Write a random network's checkpoint as ``sagittal_t1/fold1/epoch...-testscore1.0.bin``; return its path.

    Args:
        parts: The other fields of its DetectorConfig.
    """
    network = random_network(DetectorConfig(description=description, **parts))
    path = folder / DESCRIPTION_KEYS[description] / f"fold{fold}" / file_name(score)
    return save(path, published_detector(network))


def write_classifier_file(folder: Path, backbone: str, sequence: str, place: str, score: float) -> Path:
    """Write a random network's checkpoint as ``PLACE/epoch...-testscore0.5.bin``; return its path."""
    network = random_classifier("random", backbone, sequence, "shift", factor=20).network
    return save(folder / place / file_name(score), published_classifier(network))


def file_name(score: float) -> str:
    return f"epoch010-trainloss0.1-testloss0.2-testscore{score:.3f}.bin"


def save(path: Path, tensors: dict[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, path)
    return path


# Networks of the published kinds with encoders that are quick to build. Family A and the axial networks have regnets,
# the sagittal networks of family B an efficientnet of four feature levels.
SMALL_A = {
    "encoder": "regnetx_002",
    "feature_levels": 5,
    "decoder_channels": (16, 8, 8, 8, 8),
    "pointer_encoder": "regnetx_002",
    "pointer": "lstm",
    "hidden": 8,
}
SMALL_B = SMALL_A | {
    "encoder": "tf_efficientnet_b0",
    "feature_levels": 4,
    "decoder_channels": (16, 8, 8, 8),
}
SMALL_AXIAL_B = SMALL_A | {"pointer": "transformer", "hidden": 16}
SMALL_BACKBONE = "convnext_atto"


def write_family_a(
    folder: Path,
    folds: tuple[int, ...] = (1,),
    parts: dict = SMALL_A,
    backbones: tuple[str, ...] = (SMALL_BACKBONE,),
) -> Path:
    """Write checkpoints of family A: three descriptions and a classifier per backbone in each fold; return the folder.

    Args:
        parts: Fields of the detectors' configurations, without description and length.
    """
    for fold in folds:
        for description, slices in families.FAMILY_A.max_length.items():
            write_detector_file(folder, description, parts | {"max_length": slices}, 1 + fold / 10, fold)
        for backbone in backbones:
            place = f"{backbone.partition('_')[0]}_level/fold{fold}"
            write_classifier_file(folder, backbone, "level", place, 0.4 + fold / 100)
    return folder


def write_family_b(
    folder: Path,
    folds: tuple[int, ...] = (1,),
    seeds: tuple[int, ...] = (42,),
    parts: dict = SMALL_B,
    axial_parts: dict = SMALL_AXIAL_B,
    backbone: str = SMALL_BACKBONE,
) -> Path:
    """Write checkpoints of family B: axial of the first fold alone, three sequence axes; return the folder.

    Args:
        parts: Fields of the sagittal detectors' configurations, without description and length.
        axial_parts: The same of the axial one.
    """
    for fold in folds:
        for description, slices in families.FAMILY_B.max_length.items():
            own = (axial_parts if description == AXIAL_T2 else parts) | {"max_length": slices}
            if description != AXIAL_T2 or fold == folds[0]:
                write_detector_file(folder, description, own, 1 + fold / 10, fold)
        for seed in seeds:
            for version, sequence in enumerate(("level", "level_skip", "level_slices"), start=1):
                place = f"stage2_finetuned_{seed}_{version}/fold{fold}"
                score = 0.4 + fold / 100 + version / 1000
                write_classifier_file(folder, backbone, sequence, place, score)
    return folder


def write_published(folder: Path) -> Path:
    """Write one checkpoint of each published architecture, at full size; return the folder.

    Family A's three backbones have one sequence axis, family B's one backbone has three.
    """
    backbones = ("convnext_tiny", "caformer_s18", "pvt_v2_b3")
    write_family_a(folder / "family_a", parts=FAMILY_A, backbones=backbones)
    own = {"parts": FAMILY_B, "axial_parts": FAMILY_B_AXIAL, "backbone": "convnext_small"}
    write_family_b(folder / "family_b", **own)
    return folder
