"""A pointer's sequence, what reads the slices in order, trained alone on features that its encoder gave once."""

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from tqdm import tqdm

from lumbar.detector import DetectorNetwork, neighbours, present_slices
from lumbar.device import Device
from training.features import image_features
from training.losses import pointer_loss


def freeze_slices(network: DetectorNetwork, volumes: Dataset, device: Device) -> TensorDataset:
    """Run the pointer's encoder over volumes (``DetectorBatch`` each), and leave all but its sequence frozen.

    Returns for each volume, on the device: features (D, feature), present (D,), the labels' peak on each slice
    (C, D), labelled (C,).
    """
    network.requires_grad_(False)
    for part in (network.pointer.sequence, network.pointer.head):
        part.requires_grad_(True)
    network.eval()
    rows = []
    for index in tqdm(range(len(volumes)), desc="features", leave=False, mininterval=2.0):
        volume = volumes[index]
        grid = volume.grid[None].to(device.torch)
        with torch.no_grad(), device.autocast():
            features = image_features(network.pointer.encode, neighbours(grid)[0]).float()
        peak = volume.amplitude * volume.planes.amax(dim=(1, 2))[:, None]
        rows.append((features, present_slices(grid)[0], peak, volume.labelled))
    return TensorDataset(*(torch.stack(column).to(device.torch) for column in zip(*rows, strict=True)))


def sequence_losses(network: DetectorNetwork, batch: list[Tensor]) -> dict[str, Tensor]:
    """Return the pointer's loss on a batch of what ``freeze_slices`` gave."""
    features, present, peak, labelled = batch
    logits = network.pointer.point(features, present)
    return {"loss": pointer_loss(logits, peak, labelled[:, :, None] & present[:, None])}


def train_sequence(network: DetectorNetwork) -> None:
    """Put the sequence and the head into training mode, everything else into evaluation mode."""
    network.eval()
    for part in (network.pointer.sequence, network.pointer.dropout, network.pointer.head):
        part.train()
