"""Scanning: the anatomy sampled on a series' planes, as stored pixel values."""

import numpy as np

from lumbar.sites import AXIAL_T2
from phantom.anatomy import Anatomy
from phantom.canvas import Canvas, enlarge
from phantom.contrast import Contrast, split_fat
from phantom.planes import Plane
from phantom.profiles import Profiles
from phantom.protocol import SeriesPlan
from phantom.spine import REACH, bounding_window, paint_spine
from phantom.surroundings import draw_grain, paint_surroundings

# Sub-planes through a slice's thickness, as fractions of it: the partial volume.
_SUBPLANES = (-0.25, 0.25)
_MAXIMUM = 4095  # 12 bits stored
_NOISE_POOL = 300_007
_BAND = 96  # rows painted at a time


def scan_series(rng: np.random.Generator, anatomy: Anatomy, profiles: Profiles, plan: SeriesPlan):
    """Yield each slice's stored values (rows, columns) uint16, in instance order.

    Args:
        rng: Draws the noise.
        anatomy, profiles: The patient.
        plan: The series.
    """
    # One pool of noise for the series, begun at a random place for every slice: drawing it anew is slow.
    pool = plan.noise * rng.standard_normal(_NOISE_POOL, dtype=np.float32)
    for plane in plan.planes:
        signal, patient_y, patient_z = _sample(anatomy, profiles, plan, plane)
        signal = signal * _sensitivity(patient_y, patient_z, plan.coil)
        if plan.surface != (0.0, 0.0):
            signal = signal * _surface_gain(patient_y, *plan.surface)
        if plan.saturation:
            signal = signal * _saturation(patient_y, *plan.saturation)
        signal = _artefacts(signal, plan)
        real, imaginary = signal + _take_noise(rng, pool, signal.shape), _take_noise(rng, pool, signal.shape)
        magnitude = np.sqrt(real * real + imaginary * imaginary)  # Rician
        magnitude = _clip_view(enlarge(magnitude, plane.shape), plan.clip)
        yield np.clip(magnitude * plan.peak, 0, _MAXIMUM).astype(np.uint16)


def _take_noise(rng, pool: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a piece of the pool, read in a circle."""
    return np.take(
        np.roll(pool, int(rng.integers(len(pool)))), np.arange(shape[0] * shape[1]), mode="wrap"
    ).reshape(shape)


def _sample(anatomy: Anatomy, profiles: Profiles, plan: SeriesPlan, plane: Plane):
    """Return the signal on the scanner's own grid, and the y and z of its pixels in mm."""
    patient = _grid(plane, plan)
    spine = anatomy.frame.to_spine(*patient)
    contrasts = (plan.contrast,) if plan.fat_shift == 0 else split_fat(plan.contrast)
    edge = float(np.mean(plane.spacing)) * plane.shape[0] / patient[0].shape[0]
    signals = [_paint(anatomy, profiles, plan, plane, patient, spine, c, edge) for c in contrasts]
    signal = signals[0]
    if plan.fat_shift:
        signal = signal + _shift_columns(signals[1], plan.fat_shift)
    return signal, patient[1], patient[2]


def _grid(plane: Plane, plan: SeriesPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y, z (rows, columns) in mm of the scanner's own pixels, which cover the same field of view."""
    axes = []
    for length, spacing in zip(plane.shape, plane.spacing, strict=True):
        own = round(length * spacing / plan.resolution)
        axes.append(((np.arange(own) + 0.5) * (length / own) - 0.5) * spacing)
    rows, columns = axes
    points = []
    for axis in range(3):
        down, right = rows * plane.along_column[axis], columns * plane.along_row[axis]
        points.append((plane.position[axis] + down[:, None] + right[None, :]).astype(np.float32))
    return tuple(points)


def _paint(anatomy, profiles, plan, plane, patient, spine, contrast: Contrast, edge: float) -> np.ndarray:
    """Paint a slice band by band: small arrays stay in the processor's cache, and the spine's window is tight."""
    bands = []
    for first in range(0, patient[0].shape[0], _BAND):
        rows = slice(first, first + _BAND)
        place = tuple(c[rows] for c in patient), tuple(c[rows] for c in spine)
        bands.append(_paint_band(anatomy, profiles, plan, plane, *place, contrast, edge))
    return np.concatenate(bands)


def _paint_band(
    anatomy, profiles, plan, plane, patient, spine, contrast: Contrast, edge: float
) -> np.ndarray:
    """Paint surroundings on the slice's middle plane and the spine on its sub-planes."""
    canvas = Canvas(np.zeros(patient[0].shape, np.float32), edge)
    grain = draw_grain(patient, anatomy.seed)
    paint_surroundings(canvas, anatomy, profiles, patient, spine, grain, contrast)
    window = bounding_window((np.abs(spine[0]) < REACH) & (np.abs(spine[1] - 1) < 50))
    if window is None:
        return canvas.signal
    mottle = grain.fine[window]
    total = np.zeros(mottle.shape, np.float32)
    for fraction in _SUBPLANES:
        offset = (plane.normal * (fraction * plan.thickness)).astype(np.float32)
        moved = [c[window] + o for c, o in zip(patient, offset, strict=True)]
        layer = Canvas(canvas.signal[window].copy(), edge)
        paint_spine(layer, anatomy, profiles, anatomy.frame.to_spine(*moved), mottle, contrast)
        total += layer.signal
    canvas.signal[window] = total / len(_SUBPLANES)
    return canvas.signal


def _sensitivity(y, z, coil) -> np.ndarray:
    """Return the coil's sensitivity: 1 at the spine, falling forwards and towards the ends of the body.

    Behind the spine it rises half as steeply: there the patient lies on several elements of the coil.
    """
    depth, length = coil
    forwards, backwards = np.minimum(y, 0), np.clip(y, 0, 90)
    return np.exp((forwards + 0.5 * backwards) / depth - (z + 15) ** 2 / (2 * length**2)).astype(np.float32)


def _surface_gain(y, behind: float, before: float) -> np.ndarray:
    """Return the gain near the coils' elements: e^behind 100 mm behind the spine, e^before 150 mm before it."""
    return np.exp(behind * np.clip((y - 15) / 100, 0, 1) + before * np.clip((-y - 20) / 150, 0, 1)).astype(
        np.float32
    )


def _saturation(y, edge: float, left: float) -> np.ndarray:
    """Return the share of signal behind a saturation band, which quenches the moving belly before the spine."""
    behind = 1 / (1 + np.exp(-(y - edge) / 4))
    return (left + (1 - left) * behind).astype(np.float32)


def _shift_columns(image: np.ndarray, pixels: float) -> np.ndarray:
    """Shift along the rows by a fraction of a pixel, linearly; zero beyond the edge."""
    whole, part = int(np.floor(pixels)), np.float32(pixels - np.floor(pixels))
    moved = np.roll(image, whole, axis=1)
    return (1 - part) * moved + part * np.roll(image, whole + 1, axis=1)


def _artefacts(signal: np.ndarray, plan: SeriesPlan) -> np.ndarray:
    """Add a motion ghost and what folds over from beyond the field of view."""
    axis = 1 if plan.description == AXIAL_T2 else 0
    length = signal.shape[axis]
    if plan.ghost:
        signal = signal + plan.ghost * np.roll(signal, length // 3, axis=axis)
    if plan.wrap:
        width = length // 10
        strip = np.arange(length) >= length - width
        fade = np.where(strip, np.linspace(0, plan.wrap, length), 0).astype(np.float32)
        folded = np.roll(signal, length - width, axis=axis) * (fade if axis else fade[:, None])
        signal = signal + np.float32(0.6) * folded
    return signal


def _clip_view(image: np.ndarray, clip) -> np.ndarray:
    """Blacken a slanted strip at the first rows and the last columns, as a distortion correction leaves it."""
    if clip is None:
        return image
    slope, width = clip
    row, column = np.arange(image.shape[0])[:, None], np.arange(image.shape[1])[None, :]
    outside = (row < width + slope * column) | (image.shape[1] - column < width - slope * row)
    return np.where(outside, np.float32(0), image)
