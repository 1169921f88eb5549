"""Cached volumes and their targets -> the batches of stage 1's training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lumbar.grading.detection import stage1_grid, stage1_positions
from lumbar.grids import DETECTOR_GRID, unit_range
from lumbar.networks.heatmap import SIGMA, points_to_heatmap
from lumbar.reading.slice_positions import centred
from training.data.appearance_augmentation import augment_appearance
from training.data.cache import Cache
from training.data.external_labels import LabelledImage
from training.data.targets import Target, squeezed_target
from training.data.volume_augmentation import augment_volume
from training.recipes.augmentation import DetectorAugmentation


@dataclass(frozen=True)
class DetectorBatch:
    """B volumes, C classes, D slices.

    Attributes:
        grid: (B, D, 256, 256) float32 0..1, zero slices at the end.
        planes: (B, C, 256, 256) float32, each class's gaussian.
        amplitude: (B, C, D) float32, the factor of the gaussian on each slice.
        labelled: (B, C) bool.
        positions: (B, D) float32 mm, of ``stage1_positions``, 0 on padded slices and where unknown or not read.
    """

    grid: Tensor
    planes: Tensor
    amplitude: Tensor
    labelled: Tensor
    positions: Tensor


class DetectorDataset(Dataset):
    """Volumes of one description with at least one label; item i of epoch e is the same in every run."""

    def __init__(
        self,
        cache: Cache,
        study_ids: Sequence[str],
        targets: Mapping[tuple[str, str], Target],
        description: str,
        max_length: int,
        augmentation: DetectorAugmentation | None,
        seed: int,
        sigma: float = SIGMA,
        repeat: int = 1,
        reads_positions: bool = False,
    ):
        self.cache, self.description, self.max_length = cache, description, max_length
        self.study_ids = [study for study in study_ids if (study, description) in targets] * repeat
        self.targets = [targets[study, description] for study in self.study_ids]
        self.augmentation, self.seed, self.sigma = augmentation, seed, sigma
        self.reads_positions = reads_positions
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.study_ids)

    def __getitem__(self, index: int) -> DetectorBatch:
        volume = self.cache.volumes(self.study_ids[index])[self.description]
        target = squeezed_target(self.targets[index], self.max_length)
        grid, planes = stage1_grid(volume, self.max_length), class_planes(target.points, self.sigma)
        amplitude, positions = target.amplitude, np.zeros(len(grid), np.float32)
        if self.reads_positions:
            positions = stage1_positions(volume, self.max_length)
        if self.augmentation is not None:
            random = np.random.default_rng((self.seed, self.epoch, index))
            if look := self.augmentation.appearance:
                grid, amplitude, kept = augment_appearance(grid, target.points, amplitude, random, look)
                positions = centred(positions[kept])
            grid, planes = augment_volume(grid, planes, random, self.augmentation)
            positions = positions * (random.random() >= self.augmentation.unplaced)
        padding = self.max_length - len(grid)
        return DetectorBatch(
            grid=torch.from_numpy(np.pad(grid, ((0, padding), (0, 0), (0, 0)))),
            planes=torch.from_numpy(planes),
            amplitude=torch.from_numpy(np.pad(amplitude, ((0, 0), (0, padding)))),
            labelled=torch.from_numpy(~np.isnan(target.points[:, 0])),
            positions=torch.from_numpy(np.pad(positions, (0, padding))),
        )


class PretrainingDataset(Dataset):
    """Single external images as volumes of one slice, which is its own neighbour on both sides.

    With 10 classes a level's point serves both sides. Source: data, section 4.
    """

    def __init__(
        self,
        images: list[LabelledImage],
        classes: int,
        augmentation: DetectorAugmentation | None,
        seed: int,
        sigma: float = SIGMA,
    ):
        self.images, self.classes, self.sigma = images, classes, sigma
        self.augmentation, self.seed = augmentation, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> DetectorBatch:
        image = self.images[index]
        points = np.concatenate([np.zeros((len(image.points), 1)), image.points], axis=1)
        points[np.isnan(points[:, 1])] = np.nan
        points = np.concatenate([points] * (self.classes // len(points)))
        grid, planes = unit_range(image.pixels[None]), class_planes(points, self.sigma)
        if self.augmentation is not None:
            random = np.random.default_rng((self.seed, self.epoch, index))
            grid, planes = augment_volume(grid, planes, random, self.augmentation)
        labelled = ~np.isnan(points[:, 0])
        return DetectorBatch(
            grid=torch.from_numpy(np.repeat(grid, 3, axis=0)),
            planes=torch.from_numpy(planes),
            amplitude=torch.from_numpy(np.repeat(labelled[:, None], 3, axis=1).astype(np.float32)),
            labelled=torch.from_numpy(labelled),
            positions=torch.zeros(3),
        )


def class_planes(points: np.ndarray, sigma: float) -> np.ndarray:
    """Return each class's gaussian in its plane, (C, 256, 256) float32; zero where unlabelled."""
    flat = points.copy()
    flat[:, 0] = np.where(np.isnan(points[:, 0]), np.nan, 0)
    return points_to_heatmap(flat, (1, DETECTOR_GRID, DETECTOR_GRID), sigma=sigma)[:, 0]


def join_volumes(items: list[DetectorBatch]) -> DetectorBatch:
    """Stack single volumes to a batch (a DataLoader's ``collate_fn``)."""
    names = [field.name for field in fields(DetectorBatch)]
    return DetectorBatch(*(torch.stack([getattr(item, name) for item in items]) for name in names))


def sample_slices(candidate: Tensor, marked: Tensor, count: int | None) -> tuple[Tensor, Tensor]:
    """Choose slices for the segmenter: flat indices (N,) into (B, D), and the number of slices each stands for.

    Half of them, rounded up, are marked ones, so every step has labels. The weights keep the mean over slices unbiased.

    Args:
        candidate: (B, D) bool, slices that count at all.
        marked: (B, D) bool, slices that carry a label.
        count: Slices per volume; None takes all.
    """
    index, weight = [], []
    length = candidate.shape[1]
    for row in range(len(candidate)):
        strata = [torch.nonzero(candidate[row] & m)[:, 0] for m in (marked[row], ~marked[row])]
        sizes = [len(s) for s in strata]
        wanted = sizes
        if count is not None and sum(sizes) > count:
            first = min(sizes[0], max((count + 1) // 2, count - sizes[1]))
            wanted = [first, count - first]
        for stratum, size, number in zip(strata, sizes, wanted, strict=True):
            if number:
                chosen = stratum[torch.randperm(size, device="cpu").to(stratum.device)[:number]]
                index.append(chosen + row * length)
                weight.append(torch.full((number,), size / number, device=candidate.device))
    if not index:
        return torch.zeros(0, dtype=torch.long, device=candidate.device), torch.zeros(
            0, device=candidate.device
        )
    return torch.cat(index), torch.cat(weight)
