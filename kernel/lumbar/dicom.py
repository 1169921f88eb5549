"""A series' folder -> its slices, with every file that can not be used named, and why.

One file gives one slice, or one a frame. Order depends on instance numbers and positions, never on names
while those are there.
"""

import logging
import re
import stat
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from lumbar.faults import DicomError, Fault
from lumbar.headers import finite_numbers, frame_geometry, plane_of, tag_value, whole_number
from lumbar.pixels import MAX_FILE_SAMPLES, PIXEL_KEYWORDS, decode_frames, pixel_keyword

__all__ = ["DicomError", "Series", "Slice", "read_file", "read_series"]

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 2**30  # 2**27 samples of 64 bits
MAX_SERIES_SAMPLES = 2**29  # 512 slices of 1024 x 1024; 1 GiB at 16 bits
MAX_SERIES_SLICES = 2048

# Only these tags are parsed: the rest of a header (private groups above all) costs time and can only hurt.
KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "ImageType", "InstanceNumber", "SliceLocation", "RescaleSlope"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "NumberOfFrames", "Rows", "Columns"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", *PIXEL_KEYWORDS),
)
TAGS = [tag_for_keyword(keyword) for keyword in KEYWORDS]


@dataclass(frozen=True)
class Slice:
    """One image: stored pixel values and where they lie.

    ``pixels`` (row, column), integers or floats as stored, inverted where the file says that less is brighter;
    ``position`` (x, y, z) of the first pixel's centre in mm, DICOM's LPS frame (+x = the patient's left);
    ``orientation`` (6,) direction cosines of increasing column, then of increasing row; ``spacing`` (between
    rows, between columns) in mm. What the file does not say is None, or "" for the UID.
    """

    pixels: np.ndarray
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    slice_location: float | None
    instance_number: int | None
    sop_instance_uid: str
    name: str


@dataclass
class Series:
    """The usable slices of one series in instance order, and the files that were left out."""

    series_id: str
    description: str
    slices: list[Slice]
    faults: list[Fault] = field(default_factory=list)


def read_series(folder: Path, description: str) -> Series:
    """Read every file of a series' folder (hidden files apart).

    :returns: slices by instance number, then SOP instance UID, then file name; by file name where any slice
        has no instance number. A file that can not be used is in ``faults``, and the others go on; so is a
        localizer, and a slice whose plane is not that of most.
    :raises DicomError: where no slice is usable (reason: the files' own where they all share one), the folder
        is missing or empty, or the whole series is over the bounds ("too_large").
    """
    folder = Path(folder)
    slices, faults, notes = [], [], Counter()
    samples = 0
    for path in _files(folder):
        try:
            found, file_notes = read_file(path)
        except DicomError as error:
            faults.append(Fault(str(path), error.reason, str(error)))
            continue
        notes.update(set(file_notes))
        slices += found
        samples += sum(s.pixels.size for s in found)
        if samples > MAX_SERIES_SAMPLES or len(slices) > MAX_SERIES_SLICES:
            raise DicomError(
                "too_large",
                f"{folder}: got over {MAX_SERIES_SAMPLES} samples or {MAX_SERIES_SLICES} slices in a series; refused",
            )
    slices, strays = _split_by_plane(slices, description, folder)
    faults += strays
    for note, count in notes.items():
        logger.info("%s: %s (%d files)", folder, note, count)
    for fault in faults:
        logger.warning("left out (%s): %s", fault.reason, fault.message)
    if not slices:
        reasons = {fault.reason for fault in faults}
        reason = reasons.pop() if len(reasons) == 1 else "no_usable_slice"
        raise DicomError(
            reason, f"{folder}: none of {len(faults)} files is usable; first: {faults[0].message}"
        )
    return Series(folder.name, description, _in_instance_order(slices), faults)


def read_file(path: Path) -> tuple[list[Slice], list[str]]:
    """Read one DICOM file into one slice a frame, and notes of what was assumed or ignored.

    :raises DicomError: for every fault of the file, with a reason of ``faults.FILE_REASONS``.
    """
    notes: list[str] = []
    dataset = _parse(Path(path))
    pixel_keyword(dataset, str(path))
    image_type = tag_value(dataset, "ImageType", notes) or ()
    image_type = (image_type,) if isinstance(image_type, str) else image_type
    if any("LOCALIZER" in str(value).upper() for value in image_type):
        raise DicomError(
            "localizer", f"{path}: got ImageType LOCALIZER, expected a diagnostic slice; it is left out"
        )
    frames = decode_frames(dataset, str(path), notes)
    location = finite_numbers(dataset, "SliceLocation", 1, notes)
    instance_number = whole_number(dataset, "InstanceNumber", notes)
    uid = str(tag_value(dataset, "SOPInstanceUID", notes) or "")
    slices = []
    for index, pixels in enumerate(frames):
        geometry = frame_geometry(dataset, index, len(frames), notes)
        slices.append(
            Slice(
                pixels,
                geometry.position,
                geometry.orientation,
                geometry.spacing,
                location[0] if location and len(frames) == 1 else None,
                instance_number,
                uid,
                path.name if len(frames) == 1 else f"{path.name}#{index + 1}",
            )
        )
    return slices, notes


def _files(folder: Path) -> list[Path]:
    """List a folder's entries in the natural order of their names (2.dcm before 10.dcm)."""
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        reason = "no_permission" if isinstance(error, PermissionError) else "folder_missing"
        raise DicomError(reason, f"{folder}: {error.strerror}; expected the series' folder") from error
    if not paths:
        raise DicomError("empty_folder", f"{folder}: got no files, expected the series' DICOM files")
    return sorted(paths, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sorting key in which numbers inside a name compare as numbers."""
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"([0-9]+)", name)]


def _parse(path: Path) -> pydicom.FileDataset:
    """Parse the tags that are used; raise DicomError where the file can't be opened or is no DICOM file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise DicomError("not_a_file", f"{path}: got a folder or a special file, expected a DICOM file")
        if status.st_size == 0:
            raise DicomError("empty_file", f"{path}: got 0 bytes, expected a DICOM file; copy it anew")
        if status.st_size > MAX_FILE_BYTES:
            raise DicomError(
                "too_large", f"{path}: got {status.st_size} bytes, expected at most {MAX_FILE_BYTES}"
            )
        with path.open("rb") as file:
            return _parse_opened(file, path)
    except FileNotFoundError as error:
        raise DicomError("broken_link", f"{path}: got a link that leads nowhere") from error
    except PermissionError as error:
        raise DicomError("no_permission", f"{path}: got no permission to read it; change its mode") from error
    except OSError as error:
        raise DicomError("unreadable", f"{path}: {error.strerror or error}") from error


def _parse_opened(file, path: Path) -> pydicom.FileDataset:
    try:
        _refuse_deflate_bomb(file, path)
        file.seek(0)
        return pydicom.dcmread(file, specific_tags=TAGS)
    except (DicomError, OSError):
        raise
    except InvalidDicomError as error:
        raise DicomError(
            "not_dicom", f"{path}: got no DICM mark at byte 128, expected a DICOM file"
        ) from error
    except Exception as error:  # pydicom's parser raises whatever the bytes make it raise
        raise DicomError("malformed", f"{path}: {type(error).__name__}: {error}") from error


def _refuse_deflate_bomb(file, path: Path) -> None:
    """Inflate a deflated file piece by piece, keeping nothing, to know its size before pydicom does."""
    head = file.read(4096)
    if DeflatedExplicitVRLittleEndian.encode() not in head:
        return
    length = int.from_bytes(head[140:144], "little")  # value of (0002,0000), which leads the file meta
    file.seek(144 + length)
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    data = file.read(2**16)
    while data and not inflater.eof:
        size += len(inflater.decompress(data, 2**22))
        data = inflater.unconsumed_tail or file.read(2**16)
        if size > 2 * MAX_FILE_SAMPLES:
            raise DicomError("too_large", f"{path}: inflates to over {2 * MAX_FILE_SAMPLES} bytes; refused")


def _split_by_plane(slices: list[Slice], description: str, folder: Path) -> tuple[list[Slice], list[Fault]]:
    """Part the slices whose plane is not that of most; among equals the described plane wins."""
    planes = [plane_of(s.orientation) for s in slices]
    votes = Counter(plane for plane in planes if plane)
    if len(votes) < 2:
        return slices, []
    plane = max(votes, key=lambda p: (votes[p], description.lower().startswith(p)))
    kept = [s for s, p in zip(slices, planes, strict=True) if p in (None, plane)]
    strays = [
        Fault(
            str(folder / s.name),
            "other_orientation",
            f"{folder / s.name}: got a {p} slice, expected {plane} as most of its series; it is left out",
        )
        for s, p in zip(slices, planes, strict=True)
        if p not in (None, plane)
    ]
    return kept, strays


def _in_instance_order(slices: list[Slice]) -> list[Slice]:
    if any(s.instance_number is None for s in slices):
        return sorted(slices, key=lambda s: _natural(s.name))
    return sorted(slices, key=lambda s: (s.instance_number, s.sop_instance_uid, _natural(s.name)))
