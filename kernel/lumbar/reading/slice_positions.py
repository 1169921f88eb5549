"""Where the slices of a volume lie in the patient, as the pointer may read it (``DetectorConfig.slice_positions``)."""

import numpy as np

from lumbar.grids import DETECTOR_CENTRE
from lumbar.reading.volume import Volume
from lumbar.sites import AXIAL_T2


def slice_positions(volume: Volume) -> np.ndarray:
    """Return where each slice lies along the stack's normal, from the stack's middle.

    The normal is the mean of the slices' normals, and points to the patient's left in sagittal volumes, to the head in
    axial ones. A slice lies where the centre of its picture does, or its ``ImagePositionPatient`` where a slice has no
    pixel spacing. Without ``ImageOrientationPatient`` the normal is the patient's axis.

    Returns:
        (S,) float32 mm; the first and the last place in the patient are as far from 0. All 0 if a slice has no
        ``ImagePositionPatient``: then nothing but the order of the slices is known.
    """
    corners = [header.position for header in volume.headers]
    if None in corners:
        return np.zeros(len(volume), np.float32)
    centres = [volume.grid_to_patient(index, *DETECTOR_CENTRE) for index in range(len(volume))]
    places = np.array(corners if None in centres else centres, np.float64)
    return centred(places @ stack_normal(volume)).astype(np.float32)


def stack_normal(volume: Volume) -> np.ndarray:
    """Return the unit vector (3,), LPS, along which the slices of a volume follow one another."""
    axis = np.eye(3)[2 if volume.description == AXIAL_T2 else 0]
    normals = [header.normal for header in volume.headers if header.normal is not None]
    total = np.sum([normal * np.sign(normal @ axis) for normal in normals], axis=0) if normals else axis
    length = np.linalg.norm(total)
    return total / length if length else axis


def centred(positions: np.ndarray) -> np.ndarray:
    """Return positions (S,) from the middle between the smallest and the largest."""
    return positions - (positions.min() + positions.max()) / 2
