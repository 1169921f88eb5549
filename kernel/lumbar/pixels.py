"""A parsed DICOM dataset -> its stored pixel values, every bound checked before anything is decoded."""

import logging
import struct
import warnings
from dataclasses import dataclass

import numpy as np
from pydicom import FileDataset, config
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from lumbar.faults import DicomError
from lumbar.headers import Notes, frame_numbers, tag_value, whole_number

# Bounds against decompression bombs, in samples (a lumbar MR slice is 192 to 1024 pixels square).
MAX_SIDE = 2**14
MAX_FRAME_SAMPLES = 2**24  # one slice: 4096 x 4096
MAX_FILE_SAMPLES = 2**27  # one file: 512 frames of 512 x 512; 256 MiB at 16 bits
MAX_FRAMES = 2048  # of a file, and slices of a series
# Encoded pixels longer than this times the decoded ones are no honest file: RLE's worst case is 129/128.
MAX_ENCODED_RATIO, ENCODED_SLACK_BYTES = 2, 2**20

PIXEL_KEYWORDS = {"PixelData": (8, 16, 32), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}

# pydicom says every warning twice, as a log record and as a Python warning; and logs every failing plugin
# although the error reaches us. Invalid UIDs (all of the competition's) are no news. What remains in its
# log is real.
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
for _name in ("pydicom", "pydicom.pixels.decoders.base"):
    logging.getLogger(_name).addFilter(lambda record: record.levelno < logging.ERROR)


@dataclass(frozen=True)
class Declared:
    """What a header declares of its pixels; a frame has one sample a pixel."""

    keyword: str
    syntax: UID
    frames: int
    rows: int
    columns: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: int

    @property
    def length(self) -> int:
        """Bytes of the decoded frames."""
        return self.frames * self.rows * self.columns * self.bits_allocated // 8


def decode_frames(dataset: FileDataset, where: str, notes: Notes) -> np.ndarray:
    """Decode all frames of a parsed file to their stored values.

    :param where: the file, for messages.
    :param notes: gets what was assumed or ignored.
    :returns: (frame, row, column), integers or floats as stored, native byte order; frames that are
        MONOCHROME1 or have a negative RescaleSlope, but not both, inverted so that more is brighter
        (integers by bitwise not, which keeps the type and can't overflow; floats negated).
    :raises DicomError: reasons "truncated", "not_an_image", "bad_header", "colour", "too_large",
        "no_decoder", "undecodable".
    """
    declared = read_declared(dataset, where, notes)
    _check_length(dataset, declared, where, notes)
    frames = _decode(dataset, declared, where)
    return _more_is_brighter(dataset, declared, frames, notes)


def read_declared(dataset: FileDataset, where: str, notes: Notes) -> Declared:
    """Read and check what a header declares of its pixels; raise DicomError as ``decode_frames``."""
    keyword = pixel_keyword(dataset, where)
    rows, columns = (whole_number(dataset, side, notes) for side in ("Rows", "Columns"))
    if not rows or not columns or min(rows, columns) < 0:
        message = f"{where}: got Rows {rows}, Columns {columns}, expected two positive numbers"
        raise DicomError("bad_header", message)
    odd = len(notes)
    frames = max(1, whole_number(dataset, "NumberOfFrames", notes) or 1)
    if len(notes) > odd:
        raise DicomError(
            "bad_header", f"{where}: got a malformed NumberOfFrames, expected a whole number or none"
        )
    frame = rows * columns
    too_many = frames > min(MAX_FRAMES, MAX_FILE_SAMPLES // frame)
    if max(rows, columns) > MAX_SIDE or frame > MAX_FRAME_SAMPLES or too_many:
        raise DicomError(
            "too_large",
            f"{where}: got {frames} frames of {rows} x {columns}, expected sides up to {MAX_SIDE}, a frame up to"
            f" {MAX_FRAME_SAMPLES}, a file up to {MAX_FILE_SAMPLES} samples, {MAX_FRAMES} frames; refused",
        )
    samples = whole_number(dataset, "SamplesPerPixel", notes) or 1
    photometric = str(tag_value(dataset, "PhotometricInterpretation", notes) or "MONOCHROME2").strip().upper()
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        message = f"{where}: got {samples} samples a pixel, {photometric}, expected 1, MONOCHROME1 or 2"
        raise DicomError("colour", message)
    bits = _read_bits(dataset, keyword, where, notes)
    return Declared(keyword, _transfer_syntax(dataset, where), frames, rows, columns, photometric, *bits)


def pixel_keyword(dataset: FileDataset, where: str) -> str:
    """Return which of the three pixel tags the file has; raise DicomError where it has none."""
    for keyword in PIXEL_KEYWORDS:
        if keyword in dataset:
            return keyword
    storage = tag_value(dataset, "SOPClassUID", []) or tag_value(
        dataset.file_meta, "MediaStorageSOPClassUID", []
    )
    storage = UID(str(storage or ""))
    if "Rows" in dataset or storage.type != "SOP Class" or "Image Storage" in storage.name:
        message = f"{where}: got no pixel data, expected it after the header; copy the file anew"
        raise DicomError("truncated", message)
    raise DicomError("not_an_image", f"{where}: got {storage.name}, expected an image; it is left out")


def _read_bits(dataset: FileDataset, keyword: str, where: str, notes: Notes) -> tuple[int, int, int]:
    """Return BitsAllocated, BitsStored and PixelRepresentation; the latter two have usual values."""
    allocated = whole_number(dataset, "BitsAllocated", notes)
    if allocated not in PIXEL_KEYWORDS[keyword]:
        allowed = " or ".join(map(str, PIXEL_KEYWORDS[keyword]))
        message = f"{where}: got BitsAllocated {allocated}, expected {allowed} for {keyword}"
        raise DicomError("bad_header", message)
    if keyword != "PixelData":
        return allocated, allocated, 0
    stored = whole_number(dataset, "BitsStored", notes)
    if stored is None or not 1 <= stored <= allocated:
        notes.append(("assumed_bits", f"BitsStored is absent or impossible: taken as {allocated}"))
        stored = allocated
    signed = whole_number(dataset, "PixelRepresentation", notes)
    if signed not in (0, 1):
        notes.append(("assumed_bits", "PixelRepresentation is absent or impossible: taken as 0 (unsigned)"))
        signed = 0
    return allocated, stored, signed


def _transfer_syntax(dataset: FileDataset, where: str) -> UID:
    """Return the transfer syntax; one that the file does not name is told from how it was parsed."""
    syntax = tag_value(dataset.file_meta, "TransferSyntaxUID", [])
    if syntax is None:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        syntax = ImplicitVRLittleEndian if implicit else explicit
    syntax = UID(str(syntax))
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        remedy = "install " + " or ".join(decoder.missing_dependencies) if decoder else "no decoder is known"
        message = f"{where}: got transfer syntax {syntax.name}, expected one with a decoder; {remedy}"
        raise DicomError("no_decoder", message)
    return syntax


def _check_length(dataset: FileDataset, declared: Declared, where: str, notes: Notes) -> None:
    """Compare the pixel data's length with what the header declares."""
    length = len(dataset[declared.keyword].value or b"")
    if declared.syntax.is_encapsulated:
        bound = MAX_ENCODED_RATIO * declared.length + ENCODED_SLACK_BYTES
        if not length:
            raise DicomError("truncated", f"{where}: got no encoded pixel data; copy the file anew")
        if length > bound:
            message = f"{where}: got {length} encoded bytes, expected at most {bound}; refused"
            raise DicomError("too_large", message)
    elif length < declared.length:
        message = f"{where}: got {length} bytes of {declared.keyword}, expected {declared.length}; copy the file anew"
        raise DicomError("truncated", message)
    elif length > declared.length + declared.length % 2:
        notes.append(("long_pixel_data", f"{declared.keyword} is longer than declared: the rest is ignored"))


def _decode(dataset: FileDataset, declared: Declared, where: str) -> np.ndarray:
    """Return (frame, row, column) stored values in native byte order, writable."""
    element = dataset[declared.keyword]
    data = element.value
    if not declared.syntax.is_encapsulated:
        data = data[: declared.length + declared.length % 2]  # no frames out of what padding may hold
    offsets = [tag_value(dataset, f"ExtendedOffsetTable{end}", []) for end in ("", "Lengths")]
    try:
        if declared.syntax == RLELossless:
            _check_rle(data, declared)
        frames, _ = get_decoder(declared.syntax).as_array(
            data,
            raw=True,  # stored values, no colour conversion
            allow_excess_frames=False,
            pixel_keyword=declared.keyword,
            pixel_vr=element.VR,
            number_of_frames=declared.frames,
            rows=declared.rows,
            columns=declared.columns,
            samples_per_pixel=1,
            photometric_interpretation=declared.photometric,
            bits_allocated=declared.bits_allocated,
            bits_stored=declared.bits_stored,
            pixel_representation=declared.signed,
            extended_offsets=tuple(offsets) if all(offsets) else None,
        )
    except StopIteration as error:
        message = f"{where}: got fewer encoded frames than the declared {declared.frames}; copy the file anew"
        raise DicomError("truncated", message) from error
    except (KeyboardInterrupt, SystemExit):
        raise
    except (
        BaseException
    ) as error:  # what a decoder raises depends on the bytes; a panic in Rust is no Exception
        cause = " ".join(str(error).split())[:300]
        raise DicomError(
            "undecodable", f"{where}: got {declared.syntax.name}: {cause}; copy the file anew"
        ) from error
    frames = frames.reshape(declared.frames, declared.rows, declared.columns)
    return frames.astype(frames.dtype.newbyteorder("="), copy=not frames.flags.writeable)


def _check_rle(data: bytes, declared: Declared) -> None:
    """Check every frame's RLE header (PS3.5 G.5): the decoders follow some that lead astray, or panic."""
    for frame in generate_frames(data, number_of_frames=declared.frames):
        count, *offsets = struct.unpack("<16L", frame[:64])
        segments = offsets[: declared.bits_allocated // 8]
        ends = [*segments[1:], len(frame)]
        in_order = segments[0] >= 64 and all(a < b for a, b in zip(segments, ends, strict=True))
        if count != len(segments) or not in_order:
            raise ValueError(
                f"got an RLE header of {count} segments at {segments}, expected {len(segments)} in order"
            )


def _more_is_brighter(
    dataset: FileDataset, declared: Declared, frames: np.ndarray, notes: Notes
) -> np.ndarray:
    """Invert, in place, the frames whose photometric interpretation xor slope says that less is brighter."""
    for index, frame in enumerate(frames):
        slope = frame_numbers(dataset, index, "RescaleSlope", 1, notes)
        negative = slope is not None and slope[0] < 0
        if negative != (declared.photometric == "MONOCHROME1"):
            (np.invert if frame.dtype.kind in "iu" else np.negative)(frame, out=frame)
    return frames
