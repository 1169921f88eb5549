"""A volume of slices that have places and no pixels."""

from collections.abc import Sequence

import numpy as np

from lumbar.reading.volume import SliceHeader, Volume


def bare_volume(
    description: str,
    places: Sequence[tuple[float, float, float] | None],
    orientation: tuple[float, ...],
    spacing: tuple[float, float],
    shape: tuple[int, int],
) -> Volume:
    """Return a volume of one series with a slice at each place, None for one without a place."""
    headers = tuple(
        SliceHeader("1", number, "", place, orientation, spacing, shape)
        for number, place in enumerate(places, start=1)
    )
    empty = np.zeros((0, 0, 0), np.uint8)
    return Volume(description, empty, empty, headers, "ImagePositionPatient")
