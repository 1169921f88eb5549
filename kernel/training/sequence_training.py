"""A pointer's sequence, what reads the slices in order, trained alone on features that its encoder gave once.

Which of several series shows a place best is a matter of how the series are laid, not of what a slice looks like:
learning it takes thousands of studies and little of each. Their features are made once, and no volume is kept.
"""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, TensorDataset
from tqdm import tqdm

from lumbar.detector import DetectorNetwork, neighbours, present_slices
from lumbar.device import Device
from training.detector_data import DetectorBatch, labelled_volume
from training.drawn_phantoms import drawn_volumes
from training.features import image_features
from training.losses import pointer_loss
from training.recipes import NetworkRecipe

log = logging.getLogger(__name__)

CHUNK = 200  # phantoms between two files: what a killed training draws again at most
FIELDS = ("features", "present", "peak", "labelled")


def train_sequence(network: DetectorNetwork) -> None:
    """Put the sequence and the head into training mode, everything else into evaluation mode."""
    network.eval()
    for part in (network.pointer.sequence, network.pointer.dropout, network.pointer.head):
        part.train()


def sequence_losses(network: DetectorNetwork, batch: list[Tensor]) -> dict[str, Tensor]:
    """Return the pointer's loss on a batch of what ``slice_features`` gave."""
    features, present, peak, labelled = batch
    logits = network.pointer.point(features, present)
    return {"loss": pointer_loss(logits, peak, labelled[:, :, None] & present[:, None])}


def slice_features(
    network: DetectorNetwork, volumes: Iterable[DetectorBatch], device: Device
) -> list[Tensor]:
    """Run the pointer's encoder over volumes; return, on the CPU, one row a volume of each of ``FIELDS``.

    features: (n, D, feature) float32. present: (n, D) bool. peak: (n, C, D) float32, the labels' largest value on
    each slice. labelled: (n, C) bool.
    """
    rows = []
    for volume in volumes:
        grid = volume.grid[None].to(device.torch)
        with torch.no_grad(), device.autocast():
            features = image_features(network.pointer.encode, neighbours(grid)[0]).float()
        peak = volume.amplitude * volume.planes.amax(dim=(1, 2))[:, None]
        rows.append((features.cpu(), present_slices(grid)[0].cpu(), peak, volume.labelled))
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def sequence_dataset(
    recipe: NetworkRecipe, network: DetectorNetwork, own: Dataset, device: Device, workers: int, folder: Path
) -> Dataset:
    """Return the features of a fold's volumes and of the phantoms that the recipe draws beside them.

    Leaves all of the network but its sequence and the pointer's head frozen. own: volumes as ``DetectorBatch``.
    The features are kept in ``folder``, file by file, so that a killed training goes on with what is done.
    workers: processes that draw, at least one.
    """

    def phantoms(numbers: range) -> Iterator[DetectorBatch]:
        for volume, target in drawn_volumes(recipe.config.description, numbers, workers):
            yield labelled_volume(volume, target, recipe.config.max_length, recipe.sigma)

    folder.mkdir(parents=True, exist_ok=True)
    network.eval().requires_grad_(False)
    for part in (network.pointer.sequence, network.pointer.head):
        part.requires_grad_(True)
    keep_features(folder / "own.safetensors", network, (own[i] for i in range(len(own))), device)
    for start in tqdm(range(0, recipe.drawn, CHUNK), desc="phantoms", unit=f"{CHUNK} phantoms", leave=False):
        file = folder / f"phantoms-{start:05d}.safetensors"
        keep_features(file, network, phantoms(range(start, min(start + CHUNK, recipe.drawn))), device)
    parts = (load_file(file, device=str(device.torch)) for file in sorted(folder.glob("*.safetensors")))
    return ConcatDataset([TensorDataset(*(part[name] for name in FIELDS)) for part in parts])


def keep_features(
    file: Path, network: DetectorNetwork, volumes: Iterable[DetectorBatch], device: Device
) -> None:
    """Write the features of volumes into a file, if it is not there."""
    if not file.is_file():
        beside = file.with_suffix(".part")
        save_file(dict(zip(FIELDS, slice_features(network, volumes, device), strict=True)), beside)
        beside.replace(file)
