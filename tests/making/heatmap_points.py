"""A whole heatmap -> points, the plain way: serving searches the slices one after another instead."""

import numpy as np
from torch import Tensor

from lumbar.networks.heatmap import peaks_to_points, slice_peaks


def heatmap_to_points(heatmap: Tensor, slices: int, xy: str) -> tuple[np.ndarray, np.ndarray]:
    """Return points (class, 5, 3) and values (class, 5) of a heatmap (class, D, row, column), ``slices`` of D real."""
    value, place = slice_peaks(heatmap)
    return peaks_to_points(value.cpu().numpy(), place.cpu().numpy(), slices, xy)
