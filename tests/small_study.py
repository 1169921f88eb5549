"""Small studies of smooth random pictures, written as DICOM in the competition's layout."""

from pathlib import Path

import cv2
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2

SAGITTAL = [0, 1, 0, 0, 0, -1]
AXIAL = [1, 0, 0, 0, 1, 0]


def smooth_picture(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Return (rows, columns) uint16 of 12-bit values: blobs of about a tenth of the picture, and noise."""
    blobs = cv2.resize(
        rng.random((12, 10)).astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC
    )
    picture = 300 + 3000 * np.clip(blobs, 0, 1) + rng.normal(0, 40, (rows, columns))
    return np.clip(picture, 0, 4095).astype(np.uint16)


def write_slice(path: Path, pixels: np.ndarray, instance: int, position, orientation, **tags) -> None:
    """Write one uncompressed 16-bit slice; ``tags`` are further attributes by DICOM keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    file.InstanceNumber = instance
    file.ImagePositionPatient, file.ImageOrientationPatient = list(position), orientation
    file.PixelSpacing = [0.6, 0.6]
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    for keyword, value in tags.items():
        setattr(file, keyword, value)
    file.PixelData = pixels.astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def write_series(
    folder: Path, rng: np.random.Generator, sizes: list[tuple[int, int]], axis: int, start: float, step: float
):
    """Write one slice a size, their positions along ``axis`` (0 sagittal, 2 axial) from ``start`` by ``step`` mm."""
    for instance, (rows, columns) in enumerate(sizes, start=1):
        position = [-60.0, -60.0, 60.0]
        position[axis] = start + step * (instance - 1)
        pixels = smooth_picture(rng, rows, columns)
        write_slice(folder / f"{instance}.dcm", pixels, instance, position, AXIAL if axis == 2 else SAGITTAL)


def write_studies(root: Path) -> Path:
    """Write studies 1 (everything, awkward), 2 (no axial series) and 3 (one slice each) under ``root``."""
    rng = np.random.default_rng(7)
    images, rows = root / "test_images", ["study_id,series_id,series_description"]

    def series(study: int, number: int, description: str, *layout) -> None:
        write_series(images / str(study) / str(number), rng, *layout)
        rows.append(f"{study},{number},{description}")

    series(1, 11, SAGITTAL_T1, [(96, 80)] * 9, 0, 20.0, -4.0)  # right to left; squeezed where D = 8
    series(1, 12, SAGITTAL_T2, [(90, 100)] * 3 + [(64, 64)] + [(90, 100)], 0, -9.0, 4.0)  # one odd size
    series(1, 13, AXIAL_T2, [(72, 72)] * 4, 2, 30.0, -5.0)
    series(1, 14, AXIAL_T2, [(80, 64)] * 3, 2, 27.0, -5.0)  # interleaves with the first
    series(2, 21, SAGITTAL_T1, [(96, 96)] * 4, 0, -9.0, 4.0)
    series(2, 22, SAGITTAL_T2, [(96, 96)] * 6, 0, 9.0, -4.0)
    series(3, 31, SAGITTAL_T1, [(64, 64)], 0, 0.0, 4.0)
    series(3, 32, SAGITTAL_T2, [(64, 64)], 0, 0.0, 4.0)
    series(3, 33, AXIAL_T2, [(64, 64)], 2, 0.0, 4.0)
    (root / "test_series_descriptions.csv").write_text("\n".join(rows) + "\n")
    return root
