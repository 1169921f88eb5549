"""Native pixels of a slice -> 8 bits."""

import numpy as np

from lumbar.grids import PERCENTILES, WHITE

TABLE_RANGE = 2**16  # integer slices that span at most this many values go through a table


def normalize_slice(pixels: np.ndarray) -> np.ndarray:
    """Clip a slice to its 1st and 99th percentile, stretch to 0..255, truncate (solution, section 2).

    Args:
        pixels: (row, column), integers or floats of any range.

    Returns:
        (row, column) uint8. A constant slice is zero. NaN and infinities count as the smallest finite value.
    """
    if pixels.dtype.kind in "iu":
        smallest, largest = int(pixels.min()), int(pixels.max())
        if largest - smallest < TABLE_RANGE:
            return _normalize_by_table(pixels, smallest, largest)
    values = pixels.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        values[~finite] = values[finite].min() if finite.any() else 0.0
    if np.abs(values).max() > np.finfo(np.float64).max / 4:
        values /= 4  # a power of two: the same picture, and differences that do not overflow
    low, high = np.percentile(values, PERCENTILES)
    return _stretch(values, low, high)


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high to 0..255, truncated; low and high are met by the clipped values of a real slice."""
    values = np.clip(values, low, high) - low
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    return (values / (high - low) * WHITE).astype(np.uint8)


def _normalize_by_table(pixels: np.ndarray, smallest: int, largest: int) -> np.ndarray:
    """Return the plain formula's result, bit for bit, from the histogram: each value is mapped once."""
    # Differences are taken in unsigned arithmetic modulo the type's range, where none overflows.
    unsigned = np.dtype(f"u{pixels.dtype.itemsize}")
    start = np.array(smallest, pixels.dtype).view(unsigned)
    offsets = (pixels.view(unsigned) - start).astype(np.intp)
    cumulative = np.cumsum(np.bincount(offsets.ravel()))
    low, high = (_percentile(cumulative, smallest, percentile) for percentile in PERCENTILES)
    table = _stretch(np.arange(smallest, largest + 1, dtype=np.float64), low, high)
    return table.take(offsets)


def _percentile(cumulative: np.ndarray, smallest: int, percentile: float) -> float:
    """Return numpy's "linear" percentile of values smallest, smallest + 1, ... given their cumulative counts."""
    rank = percentile / 100 * (cumulative[-1] - 1)
    below = int(np.floor(rank))
    places = np.searchsorted(cumulative, (below, min(below + 1, cumulative[-1] - 1)), side="right")
    a, b = (float(place + smallest) for place in places.tolist())
    share = rank - below
    # numpy's own two-sided form of a + (b - a) * share
    return a + (b - a) * share if share < 0.5 else b - (b - a) * (1 - share)
