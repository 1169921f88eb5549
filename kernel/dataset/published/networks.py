"""The authors' published checkpoints -> networks: architecture recognised by keys and shapes, keys renamed.

A checkpoint does not hold the maximum length: it comes from the family or the caller.
"""

import logging
from pathlib import Path

from torch import Tensor

from dataset.published.keys import CLASSIFIER_KEYS, DETECTOR_KEYS, fold_transformer, renamed
from dataset.published.shapes import read_checkpoint, recognise, shape_of, strip
from lumbar.bundle.weights import load_strictly
from lumbar.faults import BundleError
from lumbar.networks.architecture import ONE_LSTM, ClassifierConfig, DetectorConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.families import Family
from lumbar.sites import class_count

logger = logging.getLogger(__name__)


def import_detector_network(
    file: Path, description: str, max_length: int | None = None, family: Family | None = None
) -> tuple[DetectorNetwork, Family]:
    """Turn a stage-1 checkpoint into a network; return it with its family.

    Args:
        max_length: Slices of the network's input; None takes the family's.
        family: None infers it from the architecture.

    Raises:
        BundleError: A key is unknown, the class count is another description's, or a tensor does not fit.
    """
    published = read_checkpoint(file)
    tensors = dict(renamed(published, DETECTOR_KEYS, file))
    family = family or shape_of(published, file).family
    fold_transformer(tensors, file)
    blocks = 1 + max(int(k.split(".")[2]) for k in tensors if k.startswith("segmenter.decoder."))
    encoder = recognise(strip(tensors, "segmenter.encoder."), file, features_only=True)
    pointer_encoder = recognise(strip(tensors, "pointer.encoder."), file, features_only=True)
    kind = "lstm" if "pointer.sequence.lstm.weight_hh_l0" in tensors else "transformer"
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
    return network, family


def import_classifier_network(file: Path, sequence: str, border: str) -> ClassifierNetwork:
    """Turn a stage-2 checkpoint into a network that reads along ``sequence`` with border rule ``border``.

    Raises:
        BundleError: A key is unknown, or a tensor does not fit.
    """
    tensors = dict(renamed(read_checkpoint(file), CLASSIFIER_KEYS, file))
    backbone = recognise(strip(tensors, "backbone."), file, num_classes=0, in_chans=1)
    config = ClassifierConfig(backbone, sequence, border, dropout=(0.2, 0.2, 0.2))
    network = ClassifierNetwork(config)
    if sequence in ONE_LSTM:  # the checkpoints carry the unused second LSTM
        tensors = {k: t for k, t in tensors.items() if not k.startswith("rnn2.")}
    load_strictly(network, tensors, str(file))
    return network


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
