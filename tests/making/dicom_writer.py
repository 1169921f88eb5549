"""DICOM files for tests, a few lines each."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from lumbar.faults import FILE_REASONS
from lumbar.reading.series import DicomError, Slice, read_file

SAGITTAL = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]
CORONAL = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def picture(rows: int = 24, columns: int = 20, seed: int = 0, dtype=np.uint16, top: int = 1200) -> np.ndarray:
    """Return (row, column) random values 0..top, a different picture for each seed."""
    values = np.random.default_rng(seed).integers(0, top + 1, (rows, columns))
    return values.astype(dtype)


def image_dataset(pixels: np.ndarray, syntax=ExplicitVRLittleEndian, **tags) -> Dataset:
    """Return a dataset of (row, column) or (frame, row, column) pixels; a tag set to None is absent."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    encode_pixels(dataset, pixels)
    for keyword, value in tags.items():
        if value is None and keyword in dataset:
            delattr(dataset, keyword)
        elif value is not None:
            setattr(dataset, keyword, value)
    return dataset


def encode_pixels(dataset: Dataset, pixels: np.ndarray) -> None:
    """Put pixels into a dataset, encoded in its transfer syntax."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if pixels.dtype.kind == "f":
        name = "FloatPixelData" if pixels.dtype.itemsize == 4 else "DoubleFloatPixelData"
        setattr(dataset, name, pixels.tobytes())
    elif syntax.is_encapsulated:
        frames = pixels if pixels.ndim == 3 else pixels[None]
        encoder = get_encoder(syntax)
        options = {
            "rows": dataset.Rows,
            "columns": dataset.Columns,
            "number_of_frames": 1,
            "samples_per_pixel": 1,
            "bits_allocated": dataset.BitsAllocated,
            "bits_stored": dataset.BitsStored,
            "pixel_representation": dataset.PixelRepresentation,
            "photometric_interpretation": dataset.PhotometricInterpretation,
        }
        dataset.PixelData = encapsulate([encoder.encode(frame, **options) for frame in frames])
    else:
        order = "<" if syntax.is_little_endian else ">"
        dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        if len(dataset.PixelData) % 2:
            dataset.PixelData += b"\0"
        dataset["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"


def write(dataset: Dataset, path: Path) -> Path:
    """Write a dataset as a DICOM file, its folder made where it is absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_slice(path: Path, pixels: np.ndarray | None = None, **tags) -> Path:
    """Write one slice; ``tags`` as in ``image_dataset``."""
    return write(image_dataset(picture() if pixels is None else pixels, **tags), path)


def write_series(
    folder: Path, count: int = 5, orientation=SAGITTAL, axis: int = 0, **tags
) -> list[np.ndarray]:
    """Write ``count`` slices, instance numbers 1.. from the patient's left (or head) down the axis.

    Returns:
        Their pixels in file order; patient order is the reverse.
    """
    pictures = [picture(seed=index) for index in range(count)]
    for index, pixels in enumerate(pictures):
        position = [0.0, 0.0, 0.0]
        position[axis] = 4.0 * (count - index)
        where = {
            "ImagePositionPatient": position,
            "ImageOrientationPatient": orientation,
            "PixelSpacing": [0.5, 0.7],
        }
        write_slice(folder / f"{index + 1}.dcm", pixels, **{"InstanceNumber": index + 1} | where | tags)
    return pictures


def enhanced_dataset(stack: np.ndarray, shared: bool) -> Dataset:
    """Return an enhanced file; orientation and spacing shared or per frame, positions per frame."""

    def item(**tags) -> Dataset:
        dataset = Dataset()
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        return dataset

    common = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=AXIAL)],
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.7])],
    )
    frames = []
    for index in range(len(stack)):
        frame = item(PlanePositionSequence=[item(ImagePositionPatient=[1.0, 2.0, 30.0 - 3 * index])])
        if not shared:
            frame.update(common)
        frames.append(frame)
    groups = {"SharedFunctionalGroupsSequence": [common if shared else item()]}
    return image_dataset(stack, PerFrameFunctionalGroupsSequence=frames, InstanceNumber=1, **groups)


def reason_of(path: Path) -> str:
    with pytest.raises(DicomError) as caught:
        read_file(path)
    assert caught.value.reason in FILE_REASONS
    assert str(path) in str(caught.value)
    return caught.value.reason


def one_slice(path: Path) -> Slice:
    slices, _ = read_file(path)
    assert len(slices) == 1
    return slices[0]
