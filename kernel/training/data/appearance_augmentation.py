"""Random looks of a decoded volume in training, so that one drawn anatomy has many.

A network can know an anatomy's shape and the order of the slices. Grey levels, the coil's brightness and the number of
slices differ from scanner to scanner, so a network can't rely on them. Nothing is mirrored: neither slices nor their
positions exchange left and right. The side shows in the order of the slices, which begins on the patient's right, in
the anatomy across them, and in the positions where the pointer reads them. Positions count from the middle of the
slices that are left.
"""

import cv2
import numpy as np

from lumbar.grids import DETECTOR_GRID
from training.recipes.augmentation import Appearance, CropAppearance

_KNOTS = 6  # of a grey-level curve
_FIELD_KNOTS = 4  # of a bias field, along each axis
_LEVELS = 256  # grey levels of a curve's table
_SATURATED = 99  # percentile of a slice that inference makes white
_NOISE_POOL = 100_003


def augment_appearance(
    grid: np.ndarray,
    points: np.ndarray,
    amplitude: np.ndarray,
    random: np.random.Generator,
    options: Appearance,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Change the look of a volume, and which of its slices there are.

    Args:
        grid: (S, 256, 256) float32 0..1.
        points: (C, 3) slice, row, column on the detector grid, NaN where unlabelled.
        amplitude: (C, S) float32, the labels' peak on every slice.
        random: Generator of the sample and the epoch.
        options: The ranges and chances.

    Returns:
        The volume (S', 256, 256), S' <= S, its amplitudes (C, S'), and the slices (S',) that are left.
    """
    kept = np.arange(len(grid))
    if random.random() < options.drop:
        kept = random_slices(random, amplitude)
        grid, amplitude = grid[kept], normalised(amplitude[:, kept])
    if random.random() < options.black:
        black = (amplitude < 1).all(axis=0) & (random.random(len(grid)) < random.random())
        grid, amplitude = grid * ~black[:, None, None], amplitude * ~black
    filled = grid.any(axis=(1, 2))
    grid = with_random_levels(grid, random, options.curve)
    gain = np.exp(
        random_field(random, options.field, DETECTOR_GRID) + random_coil(random, points, options.coil)
    )
    grid = blurred(grid * gain.astype(np.float32), random.uniform(-0.5, 1) * options.blur)
    grid = stretched(grid)
    if options.noise:
        grid = np.clip(grid + noise(random, grid.shape, random.uniform(0, options.noise)), 0, 1)
    return grid * filled[:, None, None], amplitude, kept


def augment_crop_appearance(
    stack: np.ndarray, random: np.random.Generator, options: CropAppearance
) -> np.ndarray:
    """Change the look of the crops (n, 5, 128, 128) float32 0..1 of one description.

    Grey levels, blur and noise are one draw, each site's bias field is its own. White stays at 1, as in crops that are
    brighter than most of their slice.
    """
    if random.random() >= options.p:
        return stack
    stack = with_random_levels(stack, random, options.curve)
    size = stack.shape[-1]
    fields = np.stack([random_field(random, options.field, size) for _ in stack])
    images = (stack * np.exp(fields[:, None], dtype=np.float32)).reshape(-1, size, size)
    images = blurred(images, random.uniform(-0.5, 1) * options.blur)
    if options.noise:
        images = images + noise(random, images.shape, random.uniform(0, options.noise))
    return np.clip(images, 0, 1).astype(np.float32).reshape(stack.shape)


def random_slices(random: np.random.Generator, amplitude: np.ndarray) -> np.ndarray:
    """Return the indices of a stack's part around the labelled slices, every slice of it or every second one."""
    length = amplitude.shape[1]
    labelled = np.flatnonzero((amplitude > 0).any(axis=0))
    if not len(labelled):
        return np.arange(length)
    first, last = random.integers(0, labelled[0] + 1), random.integers(labelled[-1], length)
    if random.random() < 0.5:
        return np.arange(first, last + 1)
    peak = int(random.choice(np.flatnonzero(amplitude.max(axis=0) == amplitude.max())))
    return np.arange(first + (peak - first) % 2, last + 1, 2)


def normalised(amplitude: np.ndarray) -> np.ndarray:
    """Return amplitudes with a peak of 1 in every class that has any: the nearest slice left is the class's slice."""
    largest = amplitude.max(axis=1, keepdims=True)
    return np.divide(amplitude, largest, out=np.zeros_like(amplitude), where=largest > 0)


def with_random_levels(images: np.ndarray, random: np.random.Generator, chance: float) -> np.ndarray:
    """Return images float32 0..1 of any shape, by this chance with the grey levels of a random curve."""
    if random.random() >= chance:
        return images
    return random_curve(random)[np.rint(images * (_LEVELS - 1)).astype(np.uint8)]


def random_curve(random: np.random.Generator) -> np.ndarray:
    """Return a table (256,) float32 of new grey levels 0..1: rising with random steps, seldom in any order."""
    heights = np.concatenate([[0.0], np.cumsum(random.dirichlet(np.full(_KNOTS - 1, 2.0)))])
    if random.random() < 0.15:
        heights[1:] = random.uniform(0.1, 1, _KNOTS - 1)
    return np.interp(np.linspace(0, 1, _LEVELS), np.linspace(0, 1, _KNOTS), heights).astype(np.float32)


def random_field(random: np.random.Generator, spread: float, size: int) -> np.ndarray:
    """Return a smooth field (size, size) of logarithmic gains of this spread."""
    knots = random.normal(0, spread, (_FIELD_KNOTS, _FIELD_KNOTS))
    return cv2.resize(knots, (size, size), interpolation=cv2.INTER_CUBIC)


def random_coil(random: np.random.Generator, points: np.ndarray, most: float) -> np.ndarray:
    """Return logarithmic gains (256, 256) that grow away from the labelled points, before and behind them apart.

    Surface coils make the fat behind, and in front, the brightest tissue of a sagittal image.
    """
    labelled = points[~np.isnan(points[:, 0])]
    if not len(labelled) or not most:
        return np.zeros((DETECTOR_GRID, DETECTOR_GRID))
    labelled = labelled[np.argsort(labelled[:, 1])]
    pixels = np.arange(DETECTOR_GRID)
    spine = np.interp(pixels, labelled[:, 1], labelled[:, 2])  # column at each row
    off = pixels[None, :] - spine[:, None]
    ramp = np.clip((np.abs(off) - random.uniform(6, 20)) / random.uniform(5, 60), 0, 1)
    before, behind = random.uniform(-0.4, 1, 2) * most
    return ramp * np.where(off > 0, behind, before)


def blurred(grid: np.ndarray, sigma: float) -> np.ndarray:
    """Blur every slice by a gaussian of ``sigma`` pixels; sharpen it where ``sigma`` is negative."""
    if abs(sigma) < 0.2:
        return grid
    soft = np.stack([cv2.GaussianBlur(image, (0, 0), abs(sigma)) for image in grid])
    return soft if sigma > 0 else np.clip(2 * grid - soft, 0, None)


def stretched(grid: np.ndarray) -> np.ndarray:
    """Return each slice from 0 to 1 at the percentile that inference makes white."""
    top = np.percentile(grid[:, ::4, ::4], _SATURATED, axis=(1, 2))[:, None, None]
    return np.clip(grid / np.maximum(top, 1e-3), 0, 1).astype(np.float32)


def noise(random: np.random.Generator, shape: tuple[int, ...], spread: float) -> np.ndarray:
    """Return noise of a shape (S, H, W), read from one pool at a random place for each slice."""
    pool = spread * random.standard_normal(_NOISE_POOL, dtype=np.float32)
    starts = random.integers(0, _NOISE_POOL, shape[0])
    return np.stack([np.resize(np.roll(pool, start), shape[1:]) for start in starts])
