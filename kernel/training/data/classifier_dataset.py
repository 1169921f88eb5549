"""Cached volumes and stage 1's points -> the crops that stage 2 is trained on, as serving would cut them."""

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lumbar.grading.crops import enlarge
from lumbar.grading.detection import Detection
from lumbar.grading.ensemble import site_windows
from lumbar.grading.point_search import Points
from lumbar.grids import squeeze
from lumbar.networks.architecture import CropRule
from lumbar.sites import LEVELS, MISSING, SAGITTAL_T2, SITES, crop_sites, group_descriptions
from training.data.cache import Cache
from training.data.crop_augmentation import augment_crops, dropped_description, jitter_points, mix_studies
from training.recipes.augmentation import CropAugmentation


@dataclass(frozen=True)
class SitePoints:
    """One detector's points of a study's description, and the length that its volume is squeezed to, slices."""

    points: Points
    max_length: int


@dataclass(frozen=True)
class ClassifierBatch:
    """B studies, mixed with a permutation of themselves.

    Attributes:
        crops: (B, 25, S, 128, 128) float32 0..1.
        labels: (B, 25) int64, the severities of the first of the two mixed studies, -1 where missing.
        labels_b: The same of the second.
        share: lambda, the part of the first, 0..1.
        groups: (B, 5) bool, the groups of sites that each study's sequences hold, None for all.
    """

    crops: Tensor
    labels: Tensor
    labels_b: Tensor
    share: float
    groups: np.ndarray | None = None


class ClassifierDataset(Dataset):
    """Studies with their points; item i of epoch e is the same in every run.

    A site counts as unlabelled where the study lacks its description.

    Args:
        cache: The decoded studies.
        study_ids: The n studies, in the order of their items.
        labels: (n, 25) int8 severities, -1 where missing.
        points: Points by study id and description.
        crops: The rule of the classifier's crops.
        augmentation: Random changes of the crops, None for none.
        seed: Seed of the changes.
        left_out: (n, 25) each label's chance per epoch of being left out, None for 0. With 1 it counts as missing.
    """

    def __init__(
        self,
        cache: Cache,
        study_ids: list[str],
        labels: np.ndarray,
        points: dict[str, dict[str, SitePoints]],
        crops: CropRule,
        augmentation: CropAugmentation | None,
        seed: int,
        left_out: np.ndarray | None = None,
    ):
        self.cache, self.study_ids, self.points, self.crops = cache, study_ids, points, crops
        if left_out is not None:
            labels = np.where(left_out == 1, np.int8(MISSING), labels)
        self.left_out = left_out
        self.labels = torch.from_numpy(seen_labels(labels, study_ids, points, crops.canal_from)).long()
        self.augmentation, self.seed, self.epoch = augmentation, seed, 0

    def __len__(self) -> int:
        return len(self.study_ids)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        """Return crops (25, S, 128, 128), labels (25,) and the index."""
        random = np.random.default_rng((self.seed, self.epoch, index))
        windows = self.windows(index, random)
        crops, labels = enlarge(torch.from_numpy(windows)), self.epoch_labels(index)
        if self.augmentation is not None:
            crops, labels = augment_crops(crops, labels, random, self.augmentation, self.crops.canal_from)
        return crops, labels, index

    def epoch_labels(self, index: int) -> Tensor:
        """Return a study's labels (25,), without those that this epoch leaves out."""
        if self.left_out is None:
            return self.labels[index]
        draw = np.random.default_rng((self.seed, self.epoch, index, 2)).random(len(SITES))
        return self.labels[index].masked_fill(torch.from_numpy(draw < self.left_out[index]), MISSING)

    def groups(self, index: int) -> np.ndarray:
        """Return which groups of sites the study has crops of, (5,) bool."""
        return read_groups(self.points.get(self.study_ids[index], {}), self.crops.canal_from)

    def windows(self, index: int, random: np.random.Generator) -> np.ndarray:
        """Return the windows (25, S, 64, 64) of a study at its points, jittered where the augmentation has a jitter."""
        study = self.study_ids[index]
        volumes, detection = self.cache.volumes(study), Detection({}, {})
        for description, site in self.points.get(study, {}).items():
            detection.grids512[description] = squeeze(volumes[description].grid512, site.max_length)
            found = site.points
            if self.augmentation is not None and (self.augmentation.z_jitter or self.augmentation.xy_jitter):
                moved = jitter_points(found.points, random, self.augmentation)
                found = Points(moved, found.values, found.slices, found.kind, found.segmented)
            detection.points[description] = found
        return site_windows(detection, volumes, self.crops)


class Mixer:
    """Collates studies to a batch, mixes them and drops a description, by a draw of its first study and epoch."""

    def __init__(self, dataset: ClassifierDataset):
        self.dataset = dataset

    def __call__(self, items: list[tuple[Tensor, Tensor, int]]) -> ClassifierBatch:
        crops = torch.stack([item[0] for item in items])
        labels = torch.stack([item[1] for item in items])
        order, share = np.arange(len(items)), 1.0
        groups = np.stack([self.dataset.groups(item[2]) for item in items])
        if self.dataset.augmentation is not None:
            random = np.random.default_rng((self.dataset.seed, self.dataset.epoch, items[0][2], 1))
            crops, order, share = mix_studies(crops, random, self.dataset.augmentation)
            if share < 1:
                groups = groups | groups[order]
            if dropped := dropped_description(random, self.dataset.augmentation):
                view = self.dataset.crops.canal_from
                sites = crop_sites(dropped, view)
                crops[:, sites], labels[:, sites] = 0, MISSING
                groups = groups & (np.array(group_descriptions(view)) != dropped)
        return ClassifierBatch(crops, labels, labels[order], share, groups)


def seen_labels(
    labels: np.ndarray, study_ids: list[str], points: dict, canal_from: str = SAGITTAL_T2
) -> np.ndarray:
    """Return labels (n, 25) with -1 at the sites of descriptions that a study lacks."""
    seen = labels.copy()
    for row, study in enumerate(study_ids):
        seen[row, ~np.repeat(read_groups(points.get(study, {}), canal_from), len(LEVELS))] = MISSING
    return seen


def read_groups(points: Container[str], canal_from: str) -> np.ndarray:
    """Return which groups of sites have crops where these descriptions have points, (5,) bool."""
    return np.array([description in points for description in group_descriptions(canal_from)])
