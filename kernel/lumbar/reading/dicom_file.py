"""One DICOM file -> its slices: one, or one a frame."""

import io
import re
import stat
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from lumbar.faults import DicomError
from lumbar.reading.orientation import AS_STORED, Turn, to_own, turned, turned_pair
from lumbar.reading.pixel_header import PIXEL_KEYWORDS, pixel_keyword
from lumbar.reading.pixels import decode_frames
from lumbar.reading.tags import Notes, finite_numbers, frame_geometry, point, tag_value, whole_number

HEADER_BYTES = 2**24  # inflated of a deflated file where only its header is wanted
MAX_FILE_BYTES = 2**29  # as stored, and as inflated: twice a file of MAX_FILE_SAMPLES at 16 bits

HEAD_BYTES = 1024  # of a file, enough to recognise its kind
MARK = slice(128, 132)  # the place of "DICM" in a DICOM file
# A file that stands for content which was not fetched: of git-lfs, git-annex, DVC.
POINTER = re.compile(rb"^version https://git-lfs|annex/objects/|^(?:md5: .*\n)?outs:\s*\n\s*- ", re.MULTILINE)

# Only these tags are parsed: the rest of a header (private groups above all) costs time and can only hurt.
KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "ImageType", "InstanceNumber", "SliceLocation", "RescaleSlope"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "NumberOfFrames", "Rows", "Columns"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", *PIXEL_KEYWORDS),
    *(
        f"{keyword.removesuffix('Data')}Padding{end}"
        for keyword in PIXEL_KEYWORDS
        for end in ("Value", "RangeLimit")
    ),
)
TAGS = [tag for keyword in KEYWORDS if (tag := tag_for_keyword(keyword)) is not None]


@dataclass(frozen=True)
class Slice:
    """One image: stored pixel values and where they lie.

    An absent value is None, or "" for the UID. Geometry is that of the file's own picture.

    Attributes:
        pixels: (row, column), integers or floats as stored, turned by ``turn``. Pictures in which less is
            brighter are inverted. Padding is as dark as the darkest pixel.
        position: (x, y, z) of the own first pixel's centre in mm, DICOM's LPS frame (+x = the patient's left).
        orientation: (6,) direction cosines of increasing column, then of increasing row.
        spacing: Between rows, between columns, in mm.
        frame: Number from 1 in a file of several frames, None in a file of one.
        turn: From the own picture to the usual directions.
        slice_axis: Of a researchers' volume, the voxel axis that ``frame`` counts along; None of DICOM.
    """

    pixels: np.ndarray
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    slice_location: float | None
    instance_number: int | None
    sop_instance_uid: str
    name: str
    frame: int | None = None
    turn: Turn = AS_STORED
    slice_axis: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the own picture."""
        return turned_pair(self.pixels.shape, self.turn)

    @property
    def corner(self) -> tuple[float, float, float] | None:
        """Position in mm of the first pixel of the turned picture, None where the own one's is unknown."""
        if (
            self.turn == AS_STORED
            or self.position is None
            or self.orientation is None
            or self.spacing is None
        ):
            return self.position
        row, column = to_own(self.turn, self.shape, 0, 0)
        steps = np.reshape(self.orientation, (2, 3)) * [[self.spacing[1] * column], [self.spacing[0] * row]]
        return point(*(np.array(self.position) + steps.sum(axis=0)))

    def turned(self, turn: Turn) -> "Slice":
        """Return the slice, as it was stored, turned."""
        return replace(self, pixels=turned(self.pixels, turn), turn=turn)


def read_file(path: Path, wanted: tuple[int, ...] | None = None) -> tuple[list[Slice], Notes]:
    """Read one DICOM file into one slice a frame, and notes of assumed and ignored values.

    Args:
        path: The file.
        wanted: Indices of the frames to return. None returns all, as does an index that the file lacks.

    Raises:
        DicomError: For every fault of the file, with a reason of ``faults.FILE_REASONS``.
    """
    notes: Notes = []
    dataset = parse(Path(path), TAGS)
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
    for index in wanted if wanted and max(wanted) < len(frames) else range(len(frames)):
        geometry = frame_geometry(dataset, index, len(frames), notes)
        slices.append(
            Slice(
                frames[index],
                geometry.position,
                geometry.orientation,
                geometry.spacing,
                location[0] if location and len(frames) == 1 else None,
                instance_number,
                uid,
                path.name if len(frames) == 1 else f"{path.name}#{index + 1}",
                None if len(frames) == 1 else index + 1,
            )
        )
    return slices, notes


def parse(path: Path, tags: list[int] | None, pixels: bool = True) -> pydicom.FileDataset:
    """Parse a DICOM file: the only place where one is opened, so that every bound holds everywhere.

    Args:
        path: The file.
        tags: Tags to parse; None parses all.
        pixels: Whether the pixel data, and what follows it, is parsed.

    Raises:
        DicomError: The file can't be opened, is no DICOM file or is too large.
    """
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
            data = file.read(status.st_size)
    except FileNotFoundError as error:
        raise DicomError("broken_link", f"{path}: got a link that leads nowhere") from error
    except PermissionError as error:
        raise DicomError("no_permission", f"{path}: got no permission to read it; change its mode") from error
    except OSError as error:
        raise DicomError("unreadable", f"{path}: {error.strerror or error}; copy the file anew") from error
    try:
        data = _bounded_deflate(_with_preamble(data, path), path, pixels)
        # From memory: a damaged length field read from a file would allocate up to 4 GiB first.
        dataset = pydicom.dcmread(
            io.BytesIO(data), specific_tags=tags, stop_before_pixels=not pixels, force=True
        )
    except DicomError:
        raise
    except (EOFError, struct.error) as error:
        raise DicomError("truncated", f"{path}: ends inside its header; copy the file anew") from error
    except Exception as error:  # pydicom's parser raises whatever the bytes make it raise
        cause = f"{type(error).__name__}: {error}"[:300]
        raise DicomError("malformed", f"{path}: got {cause}, expected a DICOM file; copy it anew") from error
    if not dataset and data[MARK] != b"DICM":
        raise DicomError("not_dicom", f"{path}: got a data set without one tag of an image, expected DICOM")
    return dataset


def is_data_set(head: bytes) -> bool:
    """Return whether bytes begin a DICOM file, or a data set without preamble (PS3.10 7.1).

    The latter begins with its first tag: of the file meta, group 0002, or of group 0008, followed by two letters or
    a small length.
    """
    if head[MARK] == b"DICM" or head.startswith(b"DICM"):
        return True
    little, big = head[:2] in (b"\x02\0", b"\x08\0"), head[:2] == b"\0\x08"
    if len(head) < 16 or not (little or big) or head[3 if little else 2] != 0:
        return False
    letters = head[4:6].isalpha() and head[4:6].isupper()
    return letters or (little and int.from_bytes(head[4:8], "little") <= 1024)


def _with_preamble(data: bytes, path: Path) -> bytes:
    """Return a file's bytes with the preamble that it may lack, unless it has no file meta either.

    Raises:
        DicomError: It is no DICOM.
    """
    if data[MARK] == b"DICM":
        return data
    if data.startswith(b"DICM"):
        return bytes(MARK.start) + data
    if POINTER.search(data[:HEAD_BYTES]) is not None:
        message = "got a file that stands for content which was not fetched (git-lfs, git-annex or DVC)"
        raise DicomError("broken_link", f"{path}: {message}; fetch it")
    if not is_data_set(data[:HEAD_BYTES]):
        message = "got no DICM mark at byte 128, nor a data set without it, expected a DICOM file"
        raise DicomError("not_dicom", f"{path}: {message}")
    return bytes(MARK.start) + b"DICM" + data if data.startswith(b"\x02\0") else data


def _bounded_deflate(data: bytes, path: Path, pixels: bool) -> bytes:
    """Return a file's bytes, those of a deflated file only if its inflated size is within bounds.

    Without pixels only the head of a deflated file is returned, inflated. With pixels the file is inflated piece by
    piece, keeping nothing, to know its size before pydicom does.

    Raises:
        DicomError: It inflates to more than MAX_FILE_BYTES.
    """
    syntax = DeflatedExplicitVRLittleEndian.encode()
    if syntax not in data[:4096]:
        return data
    # The file meta (never deflated) is led by its own length, (0002,0000).
    start = 144 + int.from_bytes(data[140:144], "little")
    inflater, size, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, data[start:]
    if not pixels:
        plain = ExplicitVRLittleEndian.encode().ljust(len(syntax), b"\0")
        return data[:start].replace(syntax, plain) + inflater.decompress(rest, HEADER_BYTES)
    while rest and not inflater.eof:
        size += len(inflater.decompress(rest, 2**22))
        rest = inflater.unconsumed_tail
        if size > MAX_FILE_BYTES:
            raise DicomError("too_large", f"{path}: got over {MAX_FILE_BYTES} bytes inflated; refused")
    return data
