"""Writing: one DICOM file per slice, with the oddities of the competition's real files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from phantom.packbits import encode_rle
from phantom.planes import Plane
from phantom.protocol import SeriesPlan

TRANSFER_SYNTAXES = (
    RLELossless,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
)
# "Enhanced MR Image Storage", although each file is a single frame: so are the competition's files.
_ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


@dataclass(frozen=True)
class Tags:
    """Which optional tags a study's files carry, as they vary in the competition.

    Attributes:
        spacing_between_slices, slice_thickness, slice_location, window: Present or absent.
        rescale: None, or the RescaleSlope written (it has no meaning here: readers take the stored values).
    """

    spacing_between_slices: bool
    slice_thickness: bool
    slice_location: bool
    window: bool
    rescale: float | None


def draw_tags(rng: np.random.Generator) -> Tags:
    """Draw a study's optional tags."""
    present = rng.random(4) < (0.75, 0.85, 0.9, 0.9)
    return Tags(*(bool(p) for p in present), rescale=1.0 if rng.random() < 0.4 else None)


def write_slice(
    path: Path,
    pixels: np.ndarray,
    plane: Plane,
    plan: SeriesPlan,
    tags: Tags,
    ids: tuple[int, int, int],
    syntax: str,
) -> None:
    """Write one slice.

    Args:
        path: Of the file; its folder exists.
        pixels: (rows, columns) uint16 of at most 12 bits.
        plane: Where it lies; plan: its series.
        tags: Which optional tags it carries.
        ids: Study id, series id, instance number.
        syntax: One of ``TRANSFER_SYNTAXES``.
    """
    study, series, instance = ids
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _ENHANCED_MR
    meta.MediaStorageSOPInstanceUID = f"{study}.{series}.{instance}"  # not a valid UID, like the real ones
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = "1.2.826.0.1.3680043.8.498.1"
    meta.ImplementationVersionName = "LUMBAR PHANTOM"
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPInstanceUID = f"{study}.{series}.{instance}"
    dataset.SeriesDescription = "T1" if plan.sequence == "T1" else "T2"
    dataset.PatientID = str(study)
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID = str(study)
    dataset.SeriesInstanceUID = f"{study}.{series}"
    dataset.InstanceNumber = instance
    _describe_plane(dataset, plane, plan, tags)
    _describe_pixels(dataset, pixels, tags)
    compressed = syntax == RLELossless
    dataset.PixelData = encapsulate([encode_rle(pixels)], has_bot=False) if compressed else pixels.tobytes()
    dataset["PixelData"].VR = "OB" if compressed else "OW"
    dataset.save_as(path, enforce_file_format=True)


def _describe_plane(dataset: Dataset, plane: Plane, plan: SeriesPlan, tags: Tags) -> None:
    """Write where the slice lies."""
    dataset.ImagePositionPatient = [round(float(c), 10) for c in plane.position]
    directions = (*plane.along_row, *plane.along_column)
    dataset.ImageOrientationPatient = [round(float(c), 12) for c in directions]
    dataset.PixelSpacing = [round(float(c), 10) for c in plane.spacing]
    if tags.slice_thickness:
        dataset.SliceThickness = f"{plan.thickness:.2f}"
    if tags.spacing_between_slices:
        dataset.SpacingBetweenSlices = f"{plan.distance:.2f}"
    if tags.slice_location:
        dataset.SliceLocation = f"{plane.position @ plane.normal:.6f}"


def _describe_pixels(dataset: Dataset, pixels: np.ndarray, tags: Tags) -> None:
    """Write how the values are stored: 12 of 16 bits, unsigned."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    if tags.window:
        top = float(np.percentile(pixels[::4, ::4], 99))
        dataset.WindowCenter, dataset.WindowWidth = str(round(top / 2)), str(round(top) + 1)
    if tags.rescale is not None:
        dataset.RescaleIntercept, dataset.RescaleSlope = "0", str(tags.rescale)
