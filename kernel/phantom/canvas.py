"""A picture being painted: layers with soft edges, and the tissues' texture."""

from functools import cache

import cv2
import numpy as np

_TEXTURE_SIZE = 64


class Canvas:
    """Signal (rows, columns), float32, painted from back to front.

    ``edge`` is the width of a boundary's ramp in mm: one pixel, which is what sampling makes of a sharp edge.
    """

    def __init__(self, signal: np.ndarray, edge: float):
        self.signal, self.sharpness = signal, np.float32(1 / edge)

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Return the share of each pixel inside, from the signed distance in mm (negative inside)."""
        share = distance * -self.sharpness
        share += np.float32(0.5)
        np.maximum(share, np.float32(0), out=share)  # np.clip costs several times as much on small arrays
        return np.minimum(share, np.float32(1), out=share)

    def paint(self, distance: np.ndarray, signal) -> None:
        """Paint the inside of a signed distance."""
        self.blend(self.cover(distance), signal)

    def blend(self, alpha: np.ndarray, signal) -> None:
        """Paint with a given share of each pixel."""
        change = signal - self.signal
        change *= alpha
        self.signal += change


def ellipse(across: np.ndarray, along: np.ndarray, half_across, half_along) -> np.ndarray:
    """Return about the signed distance to an ellipse, in the unit of its half axes."""
    x, y = across / half_across, along / half_along
    return (np.sqrt(x * x + y * y) - np.float32(1)) * np.minimum(half_across, half_along)


def distance_from(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return sqrt(x^2 + y^2), several times faster than ``np.hypot``."""
    return np.sqrt(x * x + y * y)


def smoothstep(value: np.ndarray) -> np.ndarray:
    """Return 0 below 0, 1 above 1, and a smooth rise between."""
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


@cache
def _texture(blur: int) -> np.ndarray:
    """Return a periodic (64, 64, 64) float32 noise of mean 0 and deviation 1, smooth over ``blur`` voxels."""
    noise = np.random.default_rng(7).standard_normal((_TEXTURE_SIZE,) * 3).astype(np.float32)
    if blur:
        frequency = np.fft.fftfreq(_TEXTURE_SIZE)
        squared = (
            frequency[:, None, None] ** 2 + frequency[None, :, None] ** 2 + frequency[None, None, :] ** 2
        )
        smooth = np.exp(-2 * (np.pi * blur) ** 2 * squared)
        noise = np.fft.ifftn(np.fft.fftn(noise) * smooth).real.astype(np.float32)
    return np.ascontiguousarray((noise - noise.mean()) / noise.std())


def texture(x, y, z, voxel: tuple[float, float, float], blur: int, seed: int) -> np.ndarray:
    """Return tissue texture at patient points: mean 0, deviation 1, the same point has the same value.

    Args:
        x, y, z: mm, arrays of one shape.
        voxel: mm of patient per voxel of the noise, along x, y and z; long along a muscle's fibres.
        blur: voxels over which the noise is smooth.
        seed: Shifts the noise, so that patients differ.
    """
    index = np.zeros(x.shape, np.int32)
    for axis, (coordinate, size) in enumerate(zip((x, y, z), voxel, strict=True)):
        shift = 4096 + (seed >> (8 * axis)) % 251
        voxels = (coordinate * np.float32(1 / size) + np.float32(shift)).astype(np.int32)
        voxels &= _TEXTURE_SIZE - 1
        index *= _TEXTURE_SIZE
        index += voxels
    return _texture(blur).ravel().take(index)


def enlarge(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Interpolate to (rows, columns) as a scanner does when it fills up k-space: smoothly, no new detail."""
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_CUBIC)
