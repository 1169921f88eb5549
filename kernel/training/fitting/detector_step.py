"""Stage 1: the losses of a training step, and the batches of an epoch."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from lumbar.networks.detector import DetectorNetwork, neighbours, present_slices
from lumbar.networks.device import Device
from training.data.detector_dataset import DetectorBatch, sample_slices
from training.fitting.distinct_images import image_features
from training.fitting.losses import pointer_loss, segmenter_loss, slice_mask, slice_target
from training.fitting.ranks import RankBatches, shared_draw

ALL, PEAKS = "all", "peaks"  # slices that the segmenter learns from
AROUND = torch.arange(3)  # of a slice in the volume that is padded by one: it and its neighbours


def detector_losses(
    network: DetectorNetwork,
    batch: DetectorBatch,
    xy_target: str,
    slices_per_step: int | None,
    segmented: str = ALL,
    pointer_share: float = 1.0,
) -> dict[str, Tensor]:
    """Return the segmenter's and the pointer's loss and their sum.

    A slice that no mask counts does not go through the segmenter. Source: solution, training stage 1.

    Args:
        network: The network in training.
        batch: Volumes and labels on its device.
        xy_target: ``"own"`` or ``"union_of_levels"``.
        slices_per_step: Slices per volume from which the segmenter's mean is estimated, None for all.
        segmented: Slices of the segmenter's mean: ``"all"`` present ones, or those with the ``"peaks"`` of a class.
        pointer_share: Chance that the pointer learns from this batch too. Its figure is divided by the chance, so an
            epoch's mean is the pointer's loss.
    """
    present = present_slices(batch.grid)
    mask = slice_mask(batch.amplitude, batch.labelled, present, xy_target)
    marked = (batch.amplitude > 0).any(dim=1)
    if segmented == PEAKS:
        largest = batch.amplitude.amax(dim=2, keepdim=True)
        mask = mask & ((batch.amplitude == largest) & (largest > 0)).any(dim=1, keepdim=True)
    chosen, weight = sample_slices(mask.any(dim=1), marked, slices_per_step)
    study, place = chosen // batch.grid.shape[1], chosen % batch.grid.shape[1]
    images = F.pad(batch.grid, (0, 0, 0, 0, 1, 1))[study[:, None], place[:, None] + AROUND.to(place)]
    target = slice_target(batch.planes[study], batch.amplitude[study, :, place], xy_target)
    logits = network.segmenter(images) if len(chosen) else torch.zeros_like(target)
    segmenter = segmenter_loss(logits, target, mask[study, :, place], weight)
    if pointer_share < 1 and shared_draw() >= pointer_share:
        return {"loss": segmenter, "segmenter": segmenter, "pointer": torch.zeros(())}
    pointer = pointer_loss(*pointer_logits(network, batch, present))
    return {"loss": segmenter + pointer, "segmenter": segmenter, "pointer": pointer / pointer_share}


def pointer_logits(
    network: DetectorNetwork, batch: DetectorBatch, present: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pointer's logits, their targets and the pairs that count, all (B, C, D)."""
    logits = network.pointer.point(pointer_features(network, batch, present), present, batch.positions)
    return logits, pointer_target(batch), counted(batch.labelled, present)


def pointer_features(network: DetectorNetwork, batch: DetectorBatch, present: Tensor) -> Tensor:
    """Return the pointer's features of each slice, (B, D, feature)."""
    images = neighbours(batch.grid).flatten(0, 1)
    return image_features(network.pointer.encode, images).unflatten(0, present.shape)


def pointer_target(batch: DetectorBatch) -> Tensor:
    """Return the labels' largest value on each slice, (B, C, D)."""
    return batch.amplitude * batch.planes.amax(dim=(2, 3))[:, :, None]


def counted(labelled: Tensor, present: Tensor) -> Tensor:
    """Return where the pointer's loss counts, (B, C, D), from labelled (B, C) and present (B, D)."""
    return labelled[:, :, None] & present[:, None]


def pretraining_losses(network: DetectorNetwork, batch: DetectorBatch) -> dict[str, Tensor]:
    """Return the segmenter's loss on single images, each its own neighbour (grid: (B, 3, 256, 256))."""
    target = slice_target(batch.planes, batch.amplitude[..., 1], "own")
    weight = torch.ones(len(batch.grid), device=batch.grid.device)
    return {"loss": segmenter_loss(network.segmenter(batch.grid), target, batch.labelled, weight)}


def epoch_batches(
    dataset: Dataset, batch: int, workers: int, device: Device, seed: int, collate: Callable
) -> Callable[[int], DataLoader]:
    """Return epoch -> its batches, this rank's part of each: shuffled by (seed, epoch) alone, so any can be had again.

    Args:
        dataset: The volumes or studies.
        batch: Samples per step, of all ranks together.
        workers: Loader processes.
        device: Where the batches go.
        seed: Seed of the order.
        collate: Joins samples to a batch.
    """

    def batches(epoch: int) -> DataLoader:
        for part in getattr(dataset, "datasets", [dataset]):  # of a ConcatDataset
            part.epoch = epoch
        order = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        return DataLoader(
            dataset,
            batch_sampler=RankBatches(len(dataset), batch, order),
            generator=order,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=device.torch.type == "cuda",
        )

    return batches


def to_device(batch: DetectorBatch, device: Device) -> DetectorBatch:
    moved = (t.to(device.torch, non_blocking=True) for t in vars(batch).values())
    return DetectorBatch(*moved)
