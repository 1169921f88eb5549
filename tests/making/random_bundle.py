"""Bundles of random networks, for tests of the arithmetic, whatever the weights are."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from lumbar.bundle.members import Bundle, Classifier, Detector
from lumbar.bundle.writing import write_bundle
from lumbar.networks import families
from lumbar.networks.architecture import ClassifierConfig, DetectorConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.sites import DESCRIPTIONS

LENGTHS = {"family_a": families.FAMILY_A.max_length, "family_b": families.FAMILY_B.max_length}
FAMILY_A = {
    "encoder": "regnety_002",
    "feature_levels": 5,
    "decoder_channels": (256, 128, 64, 32, 16),
    "pointer_encoder": "regnety_002",
    "pointer": "lstm",
    "hidden": 256,
}
FAMILY_B = FAMILY_A | {  # its sagittal networks
    "encoder": "tf_efficientnet_b5",
    "feature_levels": 4,
    "decoder_channels": (256, 128, 64, 32),
}
FAMILY_B_AXIAL = FAMILY_A | {"pointer": "transformer"}


def smooth_picture(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Return (rows, columns) uint16 of 12-bit values: blobs of about a tenth of the picture, and noise."""
    blobs = cv2.resize(
        rng.random((12, 10)).astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC
    )
    picture = 300 + 3000 * np.clip(blobs, 0, 1) + rng.normal(0, 40, (rows, columns))
    return np.clip(picture, 0, 4095).astype(np.uint16)


def pictures(channels: int, size: int) -> torch.Tensor:
    """Return (4, channel, size, size) smooth random pictures, 0..1, the same at every call."""
    rng = np.random.default_rng(0)
    stack = [[smooth_picture(rng, size, size) / 4095 for _ in range(channels)] for _ in range(4)]
    return torch.tensor(np.array(stack), dtype=torch.float32)


def settle(network: nn.Module, images: torch.Tensor) -> None:
    """Give a random network clear opinions: batch norms measured on images, last layers enlarged.

    Untouched, a random network's features hardly differ from place to place, and a peak leads its neighbour by a
    rounding error.

    Args:
        images: (N, channel, H, W).
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all images
    with torch.no_grad():
        network.train()(images)
    network.eval()


def sharpen(head: nn.Linear | nn.Conv2d, factor: float) -> None:
    with torch.no_grad():
        head.weight.mul_(factor)


def random_detector(name: str, xy: str, lengths: dict[str, int], parts: dict) -> Detector:
    """Return a detector of random networks; ``parts`` are a DetectorConfig's other fields."""
    networks = {}
    for description in DESCRIPTIONS:
        if description in lengths:
            config = DetectorConfig(description=description, max_length=lengths[description], **parts)
            networks[description] = random_network(config)
    return Detector(name, xy, networks)


def random_network(config: DetectorConfig) -> DetectorNetwork:
    """Return a detector's network of random weights, its batch norms settled on pictures."""
    network = DetectorNetwork(config).eval()
    settle(network.segmenter, pictures(3, 256))
    settle(network.pointer.encoder, pictures(3, 256))
    if network.pointer.position is not None:
        nn.init.normal_(network.pointer.position)
    return network


def random_classifier(
    name: str, backbone: str, sequence: str, border: str, weight: float = 1.0, factor: float = 1.0, **options
) -> Classifier:
    """Return a classifier of random weights; ``options`` are a ClassifierConfig's further fields."""
    config = ClassifierConfig(backbone, sequence, border, (0.2, 0.2, 0.2), **options)
    network = ClassifierNetwork(config).eval()
    settle(network.backbone, pictures(1, 128))
    for head in network.heads:
        sharpen(head[1], factor)
    return Classifier(name, weight, network)


def write_random_bundle(folder: Path, detectors: list[Detector], classifiers: list[Classifier]) -> Path:
    """Write a bundle of these members with a flat prior; return its folder."""
    bundle = Bundle(
        name="random",
        trained_on="nothing",
        detectors=tuple(detectors),
        classifiers=tuple(classifiers),
        prior=np.full((25, 3), 1 / 3),
        fingerprint="",
    )
    write_bundle(bundle, folder)
    return folder
