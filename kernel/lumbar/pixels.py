"""A parsed DICOM dataset -> its stored pixel values, every bound checked before anything is decoded."""

import logging
import warnings

import numpy as np
import pydicom.uid
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder

from lumbar.faults import DicomError
from lumbar.headers import frame_numbers, tag_value, whole_number

# Bounds against decompression bombs, in samples (a lumbar MR slice is 192 to 1024 pixels square).
MAX_SIDE = 2**14
MAX_FRAME_SAMPLES = 2**24  # one slice: 4096 x 4096
MAX_FILE_SAMPLES = 2**27  # one file: 512 frames of 512 x 512; 256 MiB at 16 bits
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


def decode_frames(dataset: Dataset, where: str, notes: list[str]) -> np.ndarray:
    """Decode all frames of a dataset to their stored values.

    :param dataset: a parsed file with ``file_meta``; defaults for absent optional tags are written into it.
    :param where: the file, for messages.
    :param notes: gets what was assumed or ignored.
    :returns: (frame, row, column), integers or floats as stored, native byte order; frames that are
        MONOCHROME1 or have a negative RescaleSlope, but not both, inverted so that more is brighter
        (integers by bitwise not, which keeps the type and can't overflow; floats negated).
    :raises DicomError: reasons "truncated", "not_an_image", "bad_header", "colour", "too_large",
        "no_decoder", "undecodable".
    """
    keyword = pixel_keyword(dataset, where)
    shape = declared_shape(dataset, where, notes)
    _check_monochrome(dataset, where, notes)
    _complete_header(dataset, where, keyword, notes)
    syntax = _transfer_syntax(dataset, where)
    _check_length(dataset, where, keyword, shape, syntax, notes)
    frames = _decode(dataset, where, syntax).reshape(shape)
    frames = frames.astype(frames.dtype.newbyteorder("="), copy=False)
    return _more_is_brighter(dataset, frames, notes)


def pixel_keyword(dataset: Dataset, where: str) -> str:
    """Return which of the three pixel tags the dataset has; raise DicomError where it has none."""
    for keyword in PIXEL_KEYWORDS:
        if keyword in dataset:
            return keyword
    storage = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or ""
    name = pydicom.uid.UID(str(storage)).name
    if "Rows" in dataset or not name or "Image Storage" in name:
        raise DicomError(
            "truncated", f"{where}: got no pixel data, expected it after the header; copy the file anew"
        )
    raise DicomError("not_an_image", f"{where}: got {name}, expected an image; it is left out")


def declared_shape(dataset: Dataset, where: str, notes: list[str]) -> tuple[int, int, int]:
    """Return (frames, rows, columns) as the header declares them.

    :raises DicomError: "bad_header" where Rows or Columns is absent, malformed or 0; "too_large" above the
        bounds.
    """
    rows, columns = (whole_number(dataset, keyword, notes) for keyword in ("Rows", "Columns"))
    if not rows or not columns or rows < 0 or columns < 0:
        raise DicomError(
            "bad_header", f"{where}: got Rows {rows}, Columns {columns}, expected two positive numbers"
        )
    frames = whole_number(dataset, "NumberOfFrames", notes)
    frames = 1 if frames is None or frames < 1 else frames
    if (
        max(rows, columns) > MAX_SIDE
        or rows * columns > MAX_FRAME_SAMPLES
        or frames * rows * columns > MAX_FILE_SAMPLES
    ):
        raise DicomError(
            "too_large",
            f"{where}: got {frames} frames of {rows} x {columns}, expected a side up to {MAX_SIDE}, a frame up to"
            f" {MAX_FRAME_SAMPLES} and a file up to {MAX_FILE_SAMPLES} samples; refused before decoding",
        )
    return frames, rows, columns


def _check_monochrome(dataset: Dataset, where: str, notes: list[str]) -> None:
    samples = whole_number(dataset, "SamplesPerPixel", notes) or 1
    photometric = str(tag_value(dataset, "PhotometricInterpretation", notes) or "MONOCHROME2").strip().upper()
    if samples != 1 or not photometric.startswith("MONOCHROME"):
        raise DicomError(
            "colour", f"{where}: got {samples} samples a pixel, {photometric}, expected MONOCHROME1 or 2"
        )
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric


def _complete_header(dataset: Dataset, where: str, keyword: str, notes: list[str]) -> None:
    """Check the bits and write the standard's defaults for what is absent, so that the decoders find it."""
    allocated = whole_number(dataset, "BitsAllocated", notes)
    if allocated not in PIXEL_KEYWORDS[keyword]:
        raise DicomError(
            "bad_header",
            f"{where}: got BitsAllocated {allocated}, expected one of {PIXEL_KEYWORDS[keyword]} for {keyword}",
        )
    stored = whole_number(dataset, "BitsStored", notes)
    if stored is None or not 1 <= stored <= allocated:
        notes.append("BitsStored is absent or impossible: taken as BitsAllocated")
        stored = allocated
    representation = whole_number(dataset, "PixelRepresentation", notes)
    if representation not in (0, 1):
        notes.append("PixelRepresentation is absent or impossible: taken as 0 (unsigned)")
        representation = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.PixelRepresentation = allocated, stored, representation
    dataset.HighBit = stored - 1
    frames = whole_number(dataset, "NumberOfFrames", notes)
    dataset.NumberOfFrames = 1 if frames is None or frames < 1 else frames


def _transfer_syntax(dataset: Dataset, where: str) -> pydicom.uid.UID:
    """Return the transfer syntax; one that the file does not name is told from how it was parsed."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:
        implicit, little = dataset.original_encoding
        if not little:
            syntax = pydicom.uid.ExplicitVRBigEndian
        else:
            syntax = pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        remedy = "install " + " or ".join(decoder.missing_dependencies) if decoder else "no decoder is known"
        raise DicomError(
            "no_decoder", f"{where}: got transfer syntax {syntax.name}, expected one with a decoder; {remedy}"
        )
    return syntax


def _check_length(dataset, where, keyword, shape, syntax, notes) -> None:
    """Compare the pixel data's length with what the header declares."""
    length = len(dataset[keyword].value or b"")
    frames, rows, columns = shape
    expected = frames * rows * columns * dataset.BitsAllocated // 8
    if syntax.is_encapsulated:
        if not length:
            raise DicomError("truncated", f"{where}: got no encoded pixel data; copy the file anew")
        bound = MAX_ENCODED_RATIO * expected + ENCODED_SLACK_BYTES
        if length > bound:
            raise DicomError(
                "too_large", f"{where}: got {length} encoded bytes, expected at most {bound}; refused"
            )
    elif length < expected:
        raise DicomError(
            "truncated", f"{where}: got {length} bytes of {keyword}, expected {expected}; copy the file anew"
        )
    elif length > expected + expected % 2:
        notes.append(f"{keyword} is longer than declared: the rest is ignored")


def _decode(dataset: Dataset, where: str, syntax: pydicom.uid.UID) -> np.ndarray:
    try:
        # raw: stored values, no colour conversion. The declared frames only, not what padding might hold.
        return get_decoder(syntax).as_array(dataset, raw=True, allow_excess_frames=False)[0]
    except StopIteration as error:
        raise DicomError(
            "truncated", f"{where}: got fewer encoded frames than declared; copy the file anew"
        ) from error
    except Exception as error:  # what a decoder raises on damaged bytes depends on the bytes
        raise DicomError("undecodable", f"{where}: {type(error).__name__}: {error}") from error


def _more_is_brighter(dataset: Dataset, frames: np.ndarray, notes: list[str]) -> np.ndarray:
    inverted_lut = dataset.PhotometricInterpretation == "MONOCHROME1"
    invert = np.zeros(len(frames), bool)
    for index in range(len(frames)):
        slope = frame_numbers(dataset, index, "RescaleSlope", 1, notes)
        invert[index] = inverted_lut != (slope is not None and slope[0] < 0)
    if invert.any():
        frames = frames.copy()
        frames[invert] = ~frames[invert] if frames.dtype.kind in "iu" else -frames[invert]
    return frames
