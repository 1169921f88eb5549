"""Random changes of a network's input in training, and of the labels with it.

Random numbers come from a generator of the sample and the epoch, never from global state, so a resumed run draws the
numbers of an unbroken one. Affine maps are 2 x 3, in OpenCV's (x, y) order, from the old place to the new.
"""

import cv2
import numpy as np

from training.recipes.augmentation import Affine, Brightness, DetectorAugmentation


def random_affine(random: np.random.Generator, ranges: Affine, size: int) -> np.ndarray | None:
    """Draw a map (2, 3) about the centre of a size x size image, or None where the chance is missed."""
    if random.random() >= ranges.p:
        return None
    degrees = random.uniform(-ranges.rotate, ranges.rotate)
    centre = (size - 1) / 2
    scale = 1 + random.uniform(-ranges.scale, ranges.scale)
    if ranges.zoom != (1.0, 1.0):
        scale *= np.exp(random.uniform(*np.log(ranges.zoom)))
    matrix = cv2.getRotationMatrix2D((centre, centre), degrees, scale)
    if ranges.stretch != (1.0, 1.0):
        width = np.exp(random.uniform(*np.log(ranges.stretch)))
        matrix[0] = width * matrix[0] + (0, 0, (1 - width) * centre)  # the centre stays
    matrix[:, 2] += random.uniform(-ranges.shift, ranges.shift, 2) * size
    return matrix


def warp(images: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Warp images (n, H, W) float32 by one map, bilinear, zero beyond the border; zero images stay zero."""
    result = np.zeros_like(images)
    for target, image in zip(result, images, strict=True):
        if image.any():
            target[:] = cv2.warpAffine(image, matrix, image.shape[::-1], flags=cv2.INTER_LINEAR)
    return result


def random_brightness(random: np.random.Generator, ranges: Brightness) -> tuple[float, float]:
    """Draw (gain, offset) of ``clip(gain * x + offset, 0, 1)``; (1, 0) where the chance is missed."""
    if random.random() >= ranges.p:
        return 1.0, 0.0
    offset = random.uniform(-ranges.brightness, ranges.brightness)
    return 1 + random.uniform(-ranges.contrast, ranges.contrast), offset


def augment_volume(
    grid: np.ndarray, planes: np.ndarray, random: np.random.Generator, options: DetectorAugmentation
) -> tuple[np.ndarray, np.ndarray]:
    """Change a volume and its labels together; nothing is mirrored, so left stays left.

    Slices that are all zero stay so. Source: solution, training stage 1.

    Args:
        grid: (S, 256, 256) float32 0..1.
        planes: (C, 256, 256) float32, the classes' gaussians.
        random: Generator of the sample and the epoch.
        options: The ranges and chances.
    """
    matrix = random_affine(random, options.affine, grid.shape[-1])
    gain, offset = random_brightness(random, options.brightness)
    if matrix is not None:
        grid, planes = warp(grid, matrix), warp(planes, matrix)
    if (gain, offset) != (1.0, 0.0):
        filled = grid.any(axis=(1, 2))
        grid = np.clip(grid * np.float32(gain) + np.float32(offset), 0, 1) * filled[:, None, None]
    return grid, planes
