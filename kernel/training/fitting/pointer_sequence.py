"""A pointer's sequence model trained alone, on features that its encoder computes once.

Which of several series shows a place best depends on where their slices lie, and little on their pixels. Learning it
takes many passes over many studies, and an encoder would read all slices in each pass.
"""

from functools import partial

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset, default_collate
from tqdm import tqdm

from lumbar.networks.detector import DetectorNetwork, present_slices
from lumbar.networks.device import Device
from training.data.detector_dataset import join_volumes
from training.fitting.detector_step import counted, epoch_batches, pointer_features, pointer_target, to_device
from training.fitting.losses import pointer_loss
from training.fitting.ranks import rank, step_count
from training.recipes.schema import Schedule


def sequence_task(
    network: DetectorNetwork, dataset: Dataset, schedule: Schedule, device: Device, seed: int
) -> dict:
    """Return the training of the sequence and the pointer's head as arguments of ``Task``; all else is frozen.

    Args:
        network: The network; its encoder runs now, once.
        dataset: Volumes as ``DetectorBatch``.
        schedule: Length of the training and its learning rate.
        device: Where the features stay.
        seed: Seed of the order.
    """
    network.eval().requires_grad_(False)
    for part in (network.pointer.sequence, network.pointer.head):
        part.requires_grad_(True)
    if network.pointer.position is not None:
        network.pointer.position.requires_grad_(True)
    rows = TensorDataset(*feature_rows(network, dataset, device))
    return {
        "network": network,
        "batches": epoch_batches(rows, schedule.batch, 0, device, seed, default_collate),
        "steps": step_count(len(rows), schedule.batch),
        "losses": partial(sequence_losses, network),
        "train_mode": partial(train_sequence, network),
    }


def train_sequence(network: DetectorNetwork) -> None:
    """Put the learning parts, and the dropout between, into training mode, everything else into evaluation mode."""
    network.eval()
    for part in (network.pointer.sequence, network.pointer.dropout, network.pointer.head):
        part.train()


def sequence_losses(network: DetectorNetwork, batch: list[Tensor]) -> dict[str, Tensor]:
    """Return the pointer's loss on a batch of the rows of ``feature_rows``."""
    features, present, positions, target, labelled = batch
    logits = network.pointer.point(features, present, positions)
    return {"loss": pointer_loss(logits, target, counted(labelled, present))}


@torch.no_grad()
def feature_rows(network: DetectorNetwork, dataset: Dataset, device: Device) -> list[Tensor]:
    """Run the pointer's encoder over n volumes.

    Returns:
        One row per volume, on the device. Features are (n, D, feature) float32, present (n, D) bool, positions (n, D)
        float32 mm, the pointer's target (n, C, D) float32, and labelled (n, C) bool.
    """
    rows = []
    for index in tqdm(range(len(dataset)), desc="features", unit="volume", leave=False, disable=rank() > 0):
        batch = to_device(join_volumes([dataset[index]]), device)
        present = present_slices(batch.grid)
        with device.autocast():
            features = pointer_features(network, batch, present).float()
        rows.append((features, present, batch.positions, pointer_target(batch), batch.labelled))
    return [torch.cat(column) for column in zip(*rows, strict=True)]
