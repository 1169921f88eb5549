"""A DICOM header -> the declared properties of its pixels, with every bound checked before decoding."""

from dataclasses import dataclass

from pydicom import FileDataset
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lumbar.faults import DicomError
from lumbar.reading.tags import Notes, tag_value, whole_number

# Bounds against decompression bombs, in samples (a lumbar MR slice is 192 to 1024 pixels square).
MAX_SIDE = 2**14
MAX_FRAME_SAMPLES = 2**24  # one slice: 4096 x 4096
MAX_FILE_SAMPLES = 2**27  # one file: 512 frames of 512 x 512; 256 MiB at 16 bits
MAX_FRAMES = 2048  # of a file, and slices of a series

PIXEL_KEYWORDS = {"PixelData": (8, 16, 32), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}


@dataclass(frozen=True)
class Declared:
    """The declared properties of a file's pixels; a frame has one sample per pixel.

    A sample is the ``bits_stored`` bits of its word up to ``high_bit`` (PS3.5 8.1.1); the bits below may hold
    anything, in older files an overlay.
    """

    keyword: str
    syntax: UID
    frames: int
    rows: int
    columns: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: int

    @property
    def length(self) -> int:
        """Bytes of the decoded frames."""
        return self.frames * self.rows * self.columns * self.bits_allocated // 8


def read_declared(dataset: FileDataset, where: str, notes: Notes) -> Declared:
    """Read and check the declared properties of the pixels; raise DicomError as ``pixels.decode_frames``."""
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


def _read_bits(dataset: FileDataset, keyword: str, where: str, notes: Notes) -> tuple[int, int, int, int]:
    """Return BitsAllocated, BitsStored, HighBit and PixelRepresentation; the latter three have usual values."""
    allocated = whole_number(dataset, "BitsAllocated", notes)
    if allocated is None or allocated not in PIXEL_KEYWORDS[keyword]:
        allowed = " or ".join(map(str, PIXEL_KEYWORDS[keyword]))
        message = f"{where}: got BitsAllocated {allocated}, expected {allowed} for {keyword}"
        raise DicomError("bad_header", message)
    if keyword != "PixelData":
        return allocated, allocated, allocated - 1, 0
    stored = whole_number(dataset, "BitsStored", notes)
    if stored is None or not 1 <= stored <= allocated:
        notes.append(("assumed_bits", f"BitsStored is absent or impossible: taken as {allocated}"))
        stored = allocated
    high = whole_number(dataset, "HighBit", notes)
    if high is None or not stored - 1 <= high < allocated:
        if high is not None:
            notes.append(("assumed_bits", f"HighBit is impossible: taken as {stored - 1}"))
        high = stored - 1
    signed = whole_number(dataset, "PixelRepresentation", notes)
    if signed is None or signed not in (0, 1):
        notes.append(("assumed_bits", "PixelRepresentation is absent or impossible: taken as 0 (unsigned)"))
        signed = 0
    return allocated, stored, high, signed


def _transfer_syntax(dataset: FileDataset, where: str) -> UID:
    """Return the transfer syntax; one that the file does not name is inferred from how it was parsed."""
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
