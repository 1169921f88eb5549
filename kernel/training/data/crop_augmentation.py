"""Random changes of a study's crops (25, 5, 128, 128), and of sides and labels with them.

Geometry and brightness are the same for the whole stack of one description. Black slices stay zero, and so do the
sites of a missing description. Source: solution, training stage 2.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from lumbar.grids import DETECTOR_GRID
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, GROUPS, LEVELS, SAGITTAL_T2, crop_sites
from training.data.appearance_augmentation import augment_crop_appearance
from training.data.volume_augmentation import random_affine, random_brightness, warp
from training.recipes.augmentation import CropAugmentation


def jitter_points(points: np.ndarray, random: np.random.Generator, options: CropAugmentation) -> np.ndarray:
    """Move points (n, 5, 3): each site by its own random slices and pixels, the same for its five slices."""
    reach = np.array([options.z_jitter, options.xy_jitter, options.xy_jitter])
    moved = points + random.integers(-reach, reach + 1, (len(points), 3))[:, None]
    return np.concatenate([moved[..., :1], np.clip(moved[..., 1:], 0, DETECTOR_GRID - 1)], axis=-1)


def augment_crops(
    crops: Tensor,
    labels: Tensor,
    random: np.random.Generator,
    options: CropAugmentation,
    canal_from: str = SAGITTAL_T2,
) -> tuple[Tensor, Tensor]:
    """Change a study's crops (25, 5, 128, 128) and labels (25,) by one draw of everything but the mixes."""
    if random.random() < options.mirror:
        crops, labels = mirror_patient(crops, labels, canal_from)
    result = torch.empty_like(crops)
    for description in DESCRIPTIONS:
        sites = crop_sites(description, canal_from)
        result[sites] = augment_stack(crops[sites], random, options)
    return result, labels


def augment_stack(stack: Tensor, random: np.random.Generator, options: CropAugmentation) -> Tensor:
    """Change the crops of one description (n, 5, 128, 128) by one draw."""
    filled = stack.flatten(2).any(dim=2)[..., None, None]
    dims = [d for d, p in ((3, options.flip_horizontal), (2, options.flip_vertical)) if random.random() < p]
    matrix = random_affine(random, options.affine, stack.shape[-1])
    gain, offset = random_brightness(random, options.brightness)
    kernel = int(random.choice([3, 5])) if random.random() < options.blur else 0
    if not filled.any():
        return stack
    if dims:
        stack = stack.flip(dims)
    if matrix is not None:
        stack = torch.from_numpy(warp(stack.flatten(0, 1).numpy(), matrix)).view(stack.shape)
    if kernel:
        images = [cv2.GaussianBlur(image, (kernel, kernel), 0) for image in stack.flatten(0, 1).numpy()]
        stack = torch.from_numpy(np.stack(images)).view(stack.shape)
    if (gain, offset) != (1.0, 0.0):
        stack = (stack * gain + offset).clamp(0, 1)
    if options.appearance is not None:
        stack = torch.from_numpy(augment_crop_appearance(stack.numpy(), random, options.appearance))
    return stack * filled


def mirror_patient(crops: Tensor, labels: Tensor, canal_from: str = SAGITTAL_T2) -> tuple[Tensor, Tensor]:
    """Return the study of the mirrored patient: (25, 5, H, W), (25,).

    Axial images are flipped left to right, sagittal stacks reversed in slice order, and the left and right
    sites exchange crops and labels.
    """
    order = mirrored_sites()
    mirrored, axial = crops[order], crop_sites(AXIAL_T2, canal_from)
    result = mirrored.flip(1)
    result[axial] = mirrored[axial].flip(3)
    return result, labels[order]


def mirrored_sites() -> list[int]:
    """Return for each site the index of its counterpart on the other side."""
    other = {"left": "right", "right": "left"}
    order = []
    for group in GROUPS:
        side, _, condition = group.partition("_")
        counterpart = f"{other[side]}_{condition}" if side in other else group
        order += [GROUPS.index(counterpart) * len(LEVELS) + level for level in range(len(LEVELS))]
    return order


def mix_studies(
    crops: Tensor, random: np.random.Generator, options: CropAugmentation
) -> tuple[Tensor, np.ndarray, float]:
    """Mix a batch with a permutation of itself: return crops, the permutation and lambda.

    CutMix pastes one rectangle, the same for the whole stacks, and lambda is recomputed from its clipped area. The loss
    is lambda * loss(a) + (1 - lambda) * loss(b).

    Args:
        crops: (B, 25, 5, H, W).
        random: Generator of the batch.
        options: The chances of CutMix and mixup.
    """
    order = random.permutation(len(crops))
    if random.random() < options.cutmix:
        top, bottom, left, right = random_rectangle(random, crops.shape[-1], options.cutmix_alpha)
        mixed = crops.clone()
        mixed[..., top:bottom, left:right] = crops[order][..., top:bottom, left:right]
        return mixed, order, 1 - (bottom - top) * (right - left) / crops.shape[-1] ** 2
    if random.random() < options.mixup:
        share = float(random.beta(options.mixup_alpha, options.mixup_alpha))
        return share * crops + (1 - share) * crops[order], order, share
    return crops, order, 1.0


def random_rectangle(random: np.random.Generator, size: int, alpha: float) -> tuple[int, int, int, int]:
    """Draw CutMix's rectangle: side int(size * sqrt(1 - lambda)), centre uniform, clipped to the image."""
    side = int(size * np.sqrt(1 - random.beta(alpha, alpha)))
    y, x = random.integers(0, size, 2)
    half = side // 2
    return max(0, y - half), min(size, y + half), max(0, x - half), min(size, x + half)


def dropped_description(random: np.random.Generator, options: CropAugmentation) -> str | None:
    """Draw the description that a batch loses, None for none."""
    if random.random() >= options.description_dropout:
        return None
    return DESCRIPTIONS[random.integers(len(DESCRIPTIONS))]
