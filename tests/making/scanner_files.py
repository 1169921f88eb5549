"""A small study as a scanner writes it, and ways to change its headers; pictures are random, places real."""

import copy
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian

from lumbar.reading.listing import find_dataset
from lumbar.reading.study import Study, read_study
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.dicom_writer import AXIAL, SAGITTAL, image_dataset, picture, write

TIMES = {SAGITTAL_T1: (10.0, 600.0), SAGITTAL_T2: (105.0, 3800.0), AXIAL_T2: (100.0, 4200.0)}  # TE, TR in ms
TEXTS = {SAGITTAL_T1: "t1_tse_sag", SAGITTAL_T2: "t2_tse_sag", AXIAL_T2: "t2_tse_tra"}
Series = dict[object, list[Dataset]]  # slices by description, or by any other name


def scanned_study(seed: int = 0) -> Series:
    """Return 14 sagittal T1 and T2 slices and 25 axial T2 ones around one lumbar spine, 24 x 20 pixels."""
    series: Series = {}
    for number, description in enumerate(TIMES, start=2):
        axial = description == AXIAL_T2
        count, distance, pixel = (25, 5.0, (8.0, 9.0)) if axial else (14, 4.4, (12.0, 14.0))
        start = [-85.0, -70.0, -60.0] if axial else [-28.6, -130.0, 140.0]
        series[description] = []
        for n in range(count):
            position = list(start)
            position[2 if axial else 0] += distance * n
            dataset = image_dataset(
                picture(seed=1000 * seed + 100 * number + n),
                StudyInstanceUID=f"1.2.{seed}",
                SeriesInstanceUID=f"1.2.{seed}.{number}",
                FrameOfReferenceUID="1.2.99",
                SeriesNumber=number,
                InstanceNumber=n + 1,
                Modality="MR",
                PatientID=f"P{seed}",
                PatientName=f"Phantom^{seed}",
                StudyDescription="MR lumbar spine",
                BodyPartExamined="LSPINE",
                SeriesDescription=TEXTS[description],
                ProtocolName=TEXTS[description],
                EchoTime=TIMES[description][0],
                RepetitionTime=TIMES[description][1],
                ScanningSequence="SE",
                SliceThickness=0.9 * distance,
                ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
                SeriesTime=f"10{number:02d}00",
                ImagePositionPatient=position,
                ImageOrientationPatient=AXIAL if axial else SAGITTAL,
                PixelSpacing=list(pixel),
            )
            series[description].append(dataset)
    return series


def every(series: Series) -> list[Dataset]:
    return [one for slices in series.values() for one in slices]


def retold(one: Dataset, number: int = 0, pixels: np.ndarray | None = None, **tags) -> Dataset:
    """Return a copy of a slice as another picture: of another series, with other pixels, with other tags."""
    other = copy.deepcopy(one)
    if number:
        other.SeriesNumber, other.SeriesInstanceUID = number, f"{one.SeriesInstanceUID}.{number}"
        other.SeriesTime = f"10{number:02d}00"
    other.SOPInstanceUID = f"{one.SOPInstanceUID}.{number}.{abs(hash(str(tags))) % 10**6}"
    if pixels is not None:
        set_pixels(other, pixels)
    for keyword, value in tags.items():
        setattr(other, keyword, value)
    return other


def pixels_of(one: Dataset) -> np.ndarray:
    """Return (row, column) uint16 as stored."""
    return np.frombuffer(one.PixelData, "<u2")[: one.Rows * one.Columns].reshape(one.Rows, one.Columns)


def set_pixels(one: Dataset, pixels: np.ndarray) -> None:
    one.Rows, one.Columns = pixels.shape
    one.PixelData = np.ascontiguousarray(pixels).tobytes()


def noise(one: Dataset, seed: int = 99) -> np.ndarray:
    """Return other pixels for a slice."""
    return picture(one.Rows, one.Columns, seed=seed + int(one.InstanceNumber))


def moved(one: Dataset, by: tuple[float, float, float], **tags) -> Dataset:
    """Return a copy of a slice at another place, mm."""
    place = [float(v) + d for v, d in zip(one.ImagePositionPatient, by, strict=True)]
    return retold(one, ImagePositionPatient=place, **tags)


def write_all(root: Path, series: Series) -> Path:
    """Write every slice as ``<SeriesNumber>/IM0001`` and so on."""
    written: dict[int, int] = {}
    for one in every(series):
        number = written[one.SeriesNumber] = written.get(one.SeriesNumber, 0) + 1
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        write(one, root / f"{one.SeriesNumber}/IM{number:04d}")
    return root


def group_item(**tags) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def enhanced_file(slices: list[Dataset], types: tuple[str, ...] = ()) -> Dataset:
    """Return one enhanced file; its frames keep the slices' places and times, and get the given kinds of picture."""
    first, out = slices[0], Dataset()
    out.file_meta = FileMetaDataset()
    out.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    kept = (
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "SeriesNumber",
        "Modality",
        "PatientID",
    )
    kept += (
        "PatientName",
        "StudyDescription",
        "SeriesDescription",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
    )
    kept += ("HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation", "SeriesTime")
    for keyword in kept:
        setattr(out, keyword, first[keyword].value)
    out.SOPClassUID = out.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    out.SOPInstanceUID = out.file_meta.MediaStorageSOPInstanceUID = f"{first.SOPInstanceUID}.900"
    out.ImageType = ["ORIGINAL", "PRIMARY", "MIXED" if types else "M", "NONE"]
    out.InstanceNumber, out.NumberOfFrames = 1, len(slices)
    out.SharedFunctionalGroupsSequence = [group_item()]
    out.PerFrameFunctionalGroupsSequence = [
        group_item(
            PlanePositionSequence=[group_item(ImagePositionPatient=one.ImagePositionPatient)],
            PlaneOrientationSequence=[group_item(ImageOrientationPatient=one.ImageOrientationPatient)],
            PixelMeasuresSequence=[
                group_item(PixelSpacing=one.PixelSpacing, SliceThickness=one.SliceThickness)
            ],
            MREchoSequence=[group_item(EffectiveEchoTime=float(one.EchoTime))],
            MRTimingAndRelatedParametersSequence=[group_item(RepetitionTime=float(one.RepetitionTime))],
        )
        for one in slices
    ]
    for frame, kind in zip(out.PerFrameFunctionalGroupsSequence, types, strict=False):
        frame.MRImageFrameTypeSequence = [group_item(FrameType=["ORIGINAL", "PRIMARY", "DIXON", kind])]
    out.PixelData = b"".join(one.PixelData for one in slices)
    out["PixelData"].VR = "OW"
    if "RescaleSlope" in first:
        transformation = group_item(RescaleSlope=first.RescaleSlope, RescaleIntercept=first.RescaleIntercept)
        out.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [transformation]
    return out


def read_only_study(root: Path) -> tuple[Study, dict[str, str]]:
    """Read the one study under a folder; return it, and the reason of each series that is left out."""
    found = find_dataset(root)
    (ref,) = found.studies
    return read_study(ref), {d["series_id"]: d["reason"] for d in found.decisions if d["description"] is None}


def assert_same_pictures(study: Study, series: Series) -> None:
    """Assert that a study's volumes are those of the series by description: pictures and places."""
    for description, slices in series.items():
        volume = study.volumes[description]
        places = sorted(tuple(map(float, one.ImagePositionPatient)) for one in slices)
        assert sorted(header.position for header in volume.headers) == places, description
    assert study.volumes.keys() == series.keys()
