"""Points on a detector's grid -> slices of the volume as it was read, and places in the patient."""

from dataclasses import dataclass

import numpy as np

from lumbar.grading.point_search import Points
from lumbar.grids import MIDDLE, rescale
from lumbar.reading.volume import Volume

# mm between neighbouring levels. Labelled: 21 to 39 in 18 patients, 23 to 50 in 300 phantoms. Two apart: from 49.
NEAREST_LEVELS, FARTHEST_LEVELS = 20.0, 55.0


@dataclass(frozen=True)
class Places:
    """Where one detector found the n sites of one description, in the order of the sites.

    Attributes:
        grid256: (n, 3) float slice, row, column. The slice counts the volume's own ones and falls between two where
            the detector read a squeezed volume.
        patient: (n, 3) x, y, z in mm, LPS; NaN where a slice has no geometry.
        values: (n,) the heatmap's value there, 0..1.
    """

    grid256: np.ndarray
    patient: np.ndarray
    values: np.ndarray

    @property
    def slices(self) -> np.ndarray:
        """The slice of the volume nearest to each site, (n,) int."""
        return np.rint(self.grid256[:, 0]).astype(int)


def volume_slices(found: Points, length: int) -> np.ndarray:
    """Return the slices (class, 5) of a detector's points in the volume as it was read: the inverse of a squeeze.

    A slice beyond the ends is the end slice: a dynamic detector takes the place there.

    Args:
        length: Slices of the volume.

    Returns:
        int64 0..length-1, or float64 where the detector read a squeezed volume.
    """
    inside = found.points[..., 0].clip(0, found.slices - 1)
    return inside if found.slices == length else rescale(inside, found.slices, length)


def find_places(volume: Volume, found: Points) -> Places:
    """Return where a detector's points lie in the volume that it read, squeezed or not."""
    places = found.points[:, MIDDLE].astype(float)
    places[:, 0] = volume_slices(found, len(volume))[:, MIDDLE]
    return Places(places, patient_places(volume, places), found.values[:, MIDDLE])


def overruled_mm(volume: Volume, found: Points) -> np.ndarray:
    """Return how far each point, (n,) mm, lies from where its heatmap is largest: 0 of one chosen by itself.

    NaN where a slice has no geometry.
    """
    if found.largest is None:
        return np.zeros(len(found.points))
    largest = found.largest.astype(float)
    if found.slices != len(volume):
        largest[:, 0] = rescale(largest[:, 0], found.slices, len(volume))
    return np.linalg.norm(patient_places(volume, largest) - find_places(volume, found).patient, axis=1)


def patient_places(volume: Volume, places: np.ndarray) -> np.ndarray:
    """Return ``patient_place`` of each (slice, row, column): (n, 3) -> (n, 3) mm."""
    return np.array([patient_place(volume, *place) for place in places]).reshape(-1, 3)


def level_steps(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each level lies below the one above, and from it: points (level, 3) in mm -> two (level - 1,)."""
    steps = np.diff(levels, axis=0)
    return -steps[:, 2], np.linalg.norm(steps, axis=1)


def plane_offsets(volume: Volume, point: np.ndarray) -> np.ndarray:
    """Return how far a patient point lies above the plane of each slice, (S,) mm.

    "Above" is along the slice's normal towards the head, of a sagittal slice towards the patient's left. NaN where the
    slice or the point has no geometry.

    Args:
        volume: S slices.
        point: (3,) x, y, z in mm, LPS.
    """
    offsets = np.full(len(volume), np.nan)
    for index, header in enumerate(volume.headers):
        normal = header.normal
        if header.position is not None and normal is not None:
            upwards = np.copysign(1, normal[np.abs(normal).argmax()])
            offsets[index] = upwards * np.dot(normal, np.subtract(point, header.position))
    return offsets


def patient_place(volume: Volume, slice_: float, row: float, column: float) -> np.ndarray:
    """Return (x, y, z) in mm of a coordinate on the 256 grid, between two slices by interpolation, or NaN."""
    below = int(np.clip(np.floor(slice_), 0, len(volume) - 1))
    above = min(below + 1, len(volume) - 1)
    ends = [volume.grid_to_patient(end, row, column) for end in (below, above)]
    if None in ends:
        return np.full(3, np.nan)
    share = np.clip(slice_ - below, 0, 1)
    return (1 - share) * np.array(ends[0]) + share * np.array(ends[1])
