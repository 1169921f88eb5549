"""Stage 1: what a training step minimises, and the batches of an epoch."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lumbar.detector import DetectorNetwork, neighbours, present_slices
from lumbar.device import Device
from training.detector_data import DetectorBatch, sample_slices
from training.features import image_features
from training.losses import pointer_loss, segmenter_loss, slice_mask, slice_target


def detector_losses(
    network: DetectorNetwork,
    batch: DetectorBatch,
    xy_target: str,
    slices_per_step: int | None,
    marked_only: bool = False,
) -> dict[str, Tensor]:
    """Return the segmenter's and the pointer's loss and their sum. Source: solution, training stage 1.

    Slices that no mask counts do not go through the segmenter. slices_per_step: slices of each volume that
    the segmenter's mean is estimated from, None for all.
    """
    present = present_slices(batch.grid)
    images = neighbours(batch.grid).flatten(0, 1)
    mask = slice_mask(batch.amplitude, batch.labelled, present, xy_target)
    marked = (batch.amplitude > 0).any(dim=1)
    if marked_only:
        mask = mask & marked[:, None]
    chosen, weight = sample_slices(mask.any(dim=1), marked, slices_per_step)
    segmenter = images.sum() * 0
    if len(chosen):
        study = chosen // batch.grid.shape[1]
        amplitude = batch.amplitude.transpose(1, 2).flatten(0, 1)[chosen]
        logits = network.segmenter(images[chosen])
        target = slice_target(batch.planes[study], amplitude, xy_target)
        segmenter = segmenter_loss(logits, target, mask.transpose(1, 2).flatten(0, 1)[chosen], weight)
    peak = batch.amplitude * batch.planes.amax(dim=(2, 3))[:, :, None]
    features = image_features(network.pointer.encode, images)
    logits = network.pointer.point(features.unflatten(0, present.shape), present)
    counted = batch.labelled[:, :, None] & present[:, None]
    pointer = pointer_loss(logits, peak, counted)
    return {"loss": segmenter + pointer, "segmenter": segmenter, "pointer": pointer}


def pretraining_losses(network: DetectorNetwork, batch: DetectorBatch) -> dict[str, Tensor]:
    """Return the segmenter's loss on single images, each its own neighbour (grid: (B, 3, 256, 256))."""
    target = slice_target(batch.planes, batch.amplitude[..., 1], "own")
    weight = torch.ones(len(batch.grid), device=batch.grid.device)
    return {"loss": segmenter_loss(network.segmenter(batch.grid), target, batch.labelled, weight)}


def epoch_batches(
    dataset: Dataset, batch: int, workers: int, device: Device, seed: int, collate: Callable
) -> Callable[[int], DataLoader]:
    """Return epoch -> its batches: shuffled by (seed, epoch) alone, so any epoch can be had again."""

    def batches(epoch: int) -> DataLoader:
        dataset.epoch = epoch
        return DataLoader(
            dataset,
            batch_size=batch,
            shuffle=True,
            generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch),
            num_workers=workers,
            collate_fn=collate,
            pin_memory=device.torch.type == "cuda",
        )

    return batches


def to_device(batch: DetectorBatch, device: Device) -> DetectorBatch:
    moved = (t.to(device.torch, non_blocking=True) for t in vars(batch).values())
    return DetectorBatch(*moved)
