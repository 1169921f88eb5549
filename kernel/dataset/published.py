"""The authors' published checkpoints -> networks: architecture told from keys and shapes, keys renamed.

Both families of notebooks are known (5th-place write-up; their public data sets). What the keys can't
tell, such as the maximum length, comes from the family's values or the caller.
"""

import logging
import re
from pathlib import Path

import safetensors.torch
import timm
import torch
from torch import Tensor

from dataset.published_keys import CLASSIFIER_KEYS, DETECTOR_KEYS, fold_transformer, renamed
from lumbar.bundle.weights import BundleError, load_strictly
from lumbar.networks.classifier import ONE_LSTM, ClassifierConfig, ClassifierNetwork
from lumbar.networks.detector import DetectorConfig, DetectorNetwork
from lumbar.networks.families import FAMILY_A, FAMILY_B, Family
from lumbar.sites import class_count

logger = logging.getLogger(__name__)

MAX_CHECKPOINT_BYTES = 4 << 30  # the largest published one is below 1 GiB


# timm names to try, by a key that the architecture alone has; the first that fits is taken. The b0-b7 of
# both spellings fit alike: the published ones are the "tf_" (padding and batch-norm epsilon differ).
CANDIDATES = (
    (r"^s1\.b1\.conv1\.conv\.weight$", ("regnety_*", "regnetx_*")),
    (r"^conv_stem\.weight$", ("tf_efficientnet_*", "efficientnet_*", "mobilenetv*")),
    (r"^stages\.0\.blocks\.0\.conv_dw\.weight$", ("convnext_*",)),
    (r"^stages\.\d\.blocks\.0\.token_mixer\.", ("caformer_*", "convformer_*", "poolformer*")),
    (r"^stages\.0\.blocks\.0\.attn\.q\.weight$", ("pvt_v2_*",)),
    (r"^layer1\.0\.conv1\.weight$", ("resnet*",)),
)
# Of architectures with equal tensors timm lists several (other activations, other input sizes): these are meant.
PREFERRED = (
    "regnety_002",
    "regnetx_002",
    "tf_efficientnet_b5",
    "convnext_tiny",
    "convnext_small",
    "caformer_s18",
    "pvt_v2_b3",
)


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors``, or from a pickle with ``weights_only=True``.

    Raises BundleError for a missing or oversized file, for pickled code, and for anything but tensors.
    """
    if not file.is_file():
        raise BundleError(f"{file}: no such file; check the path")
    if file.stat().st_size > MAX_CHECKPOINT_BYTES:
        raise BundleError(
            f"{file}: {file.stat().st_size} bytes, expected at most {MAX_CHECKPOINT_BYTES}; refused"
        )
    try:
        if file.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(file)
        else:
            tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # every way in which a foreign file can be wrong ends here, by name
        raise BundleError(f"{file}: not a state dict that loads safely ({error}); refused") from error
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise BundleError(f"{file}: got {type(tensors).__name__}, expected a flat state dict of tensors")
    return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}


def import_detector_network(
    file: Path, description: str, max_length: int | None = None, family: Family | None = None
) -> tuple[DetectorNetwork, Family]:
    """Turn a stage-1 checkpoint into a network; return it with its family.

    max_length: None takes the family's. family: None tells it from the architecture. Raises BundleError for keys
    it does not know, a class count that is not the description's, and tensors that do not fit.
    """
    tensors = dict(renamed(read_checkpoint(file), DETECTOR_KEYS, file))
    fold_transformer(tensors)
    blocks = 1 + max(
        (int(k.split(".")[2]) for k in tensors if k.startswith("segmenter.decoder.")), default=-1
    )
    encoder = recognise(strip(tensors, "segmenter.encoder."), file, features_only=True)
    pointer_encoder = recognise(strip(tensors, "pointer.encoder."), file, features_only=True)
    kind = "lstm" if "pointer.sequence.lstm.weight_hh_l0" in tensors else "transformer"
    family = family or (FAMILY_A if kind == "lstm" and blocks == 5 else FAMILY_B)
    length = max_length or family.max_length[description]
    if kind == "transformer":
        tensors["pointer.sequence.positions"] = tensors["pointer.sequence.positions"][:length]
    try:
        config = DetectorConfig(
            description=description,
            encoder=encoder,
            feature_levels=blocks,
            decoder_channels=tuple(
                len(tensors[f"segmenter.decoder.{i}.conv1.0.weight"]) for i in range(blocks)
            ),
            pointer_encoder=pointer_encoder,
            pointer=kind,
            hidden=tensors["pointer.sequence.lstm.weight_hh_l0"].shape[1]
            if kind == "lstm"
            else len(tensors["pointer.sequence.dense.weight"]),
            max_length=length,
        )
        classes = len(tensors["segmenter.head.bias"])
    except KeyError as error:
        raise BundleError(
            f"{file}: no tensor {error}, expected a stage-1 checkpoint of family A or B"
        ) from error
    if classes != class_count(description):
        raise BundleError(
            f"{file}: got {classes} classes, expected {class_count(description)} for {description}; "
            "is the file given under the right description?"
        )
    network = DetectorNetwork(config)
    load_strictly(network, without_unused_stages(tensors, network, file), str(file))
    logger.info("%s: recognised as %s of family %s", file, config, family.name)
    return network, family


def import_classifier_network(file: Path, sequence: str, border: str) -> ClassifierNetwork:
    """Turn a stage-2 checkpoint into a network that reads along ``sequence`` with border rule ``border``.

    Raises BundleError for keys it does not know and tensors that do not fit.
    """
    tensors = dict(renamed(read_checkpoint(file), CLASSIFIER_KEYS, file))
    backbone = recognise(strip(tensors, "backbone."), file, num_classes=0, in_chans=1)
    config = ClassifierConfig(backbone, sequence, border, dropout=(0.2, 0.2, 0.2))
    network = ClassifierNetwork(config)
    if sequence in ONE_LSTM:  # the checkpoints carry the unused second LSTM
        tensors = {k: t for k, t in tensors.items() if not k.startswith("rnn2.")}
    load_strictly(network, tensors, str(file))
    logger.info("%s: recognised as %s", file, config)
    return network


def strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}


def recognise(tensors: dict[str, Tensor], file: Path, **options: object) -> str:
    """Return the timm name whose state dict has exactly these keys and shapes."""
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    patterns = next((names for key, names in CANDIDATES if any(re.match(key, k) for k in shapes)), ())
    names = [name for pattern in patterns for name in timm.list_models(pattern)]
    for name in sorted(names, key=lambda name: name not in PREFERRED):
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False, **options)
        if {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == shapes:
            return name
    raise BundleError(
        f"{file}: {len(shapes)} tensors such as {sorted(shapes)[:2]} fit none of {len(names)} timm architectures "
        "of their kind; refused"
    )


def without_unused_stages(
    tensors: dict[str, Tensor], network: DetectorNetwork, file: Path
) -> dict[str, Tensor]:
    """Leave out the encoder's stages that no feature level needs (the published b5 carries all of them)."""
    used = network.state_dict().keys()
    unused = [k for k in tensors if k.startswith("segmenter.encoder.") and k not in used]
    if unused:
        logger.info(
            "%s: %d tensors of encoder stages that no feature level needs are dropped", file, len(unused)
        )
    return {key: tensor for key, tensor in tensors.items() if key not in unused}
