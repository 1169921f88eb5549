"""A parsed DICOM file -> its stored pixel values."""

import struct
from typing import Any

import numpy as np
from pydicom import FileDataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import RLELossless

from lumbar.faults import DicomError
from lumbar.reading.pixel_header import Declared, read_declared
from lumbar.reading.tags import Notes, finite_numbers, frame_numbers, tag_value

# Encoded pixels longer than this times the decoded ones are no honest file: RLE's worst case is 129/128.
MAX_ENCODED_RATIO, ENCODED_SLACK_BYTES = 2, 2**20


def decode_frames(dataset: FileDataset, where: str, notes: Notes) -> np.ndarray:
    """Decode all frames of a parsed file to their stored values.

    Args:
        dataset: The file.
        where: The file's path, for messages.
        notes: Gets a note for each assumed or ignored value.

    Returns:
        (frame, row, column), integers or floats as stored, native byte order. Frames that are MONOCHROME1 or have a
        negative RescaleSlope, but not both, are inverted so that more is brighter: integers within the range of their
        samples, floats negated. Padding is as dark as the darkest other pixel of its frame.

    Raises:
        DicomError: Reasons "truncated", "not_an_image", "bad_header", "colour", "too_large", "no_decoder",
            "undecodable".
    """
    declared = read_declared(dataset, where, notes)
    data, representation = _pixel_bytes(dataset, declared.keyword, where)
    _check_length(len(data), declared, where, notes)
    frames = _decode(data, representation, dataset, declared, where)
    frames = _stored_bits(frames, declared, notes)
    padding = padding_mask(dataset, declared.keyword, frames, notes)
    frames = _more_is_brighter(dataset, declared, frames, notes)
    return frames if padding is None else _blacken(frames, padding)


def _pixel_bytes(dataset: FileDataset, keyword: str, where: str) -> tuple[bytes, str]:
    """Return the pixel data as stored, and its value representation."""
    try:
        element = dataset[keyword]
        data = element.value if element.value is not None else b""
    except Exception as error:  # pydicom converts on access; its errors depend on the bytes
        raise DicomError(
            "malformed", f"{where}: got {keyword} with {error}, expected bytes; copy the file anew"
        ) from error
    if not isinstance(data, bytes):
        raise DicomError(
            "malformed", f"{where}: got {keyword} as {element.VR}, expected bytes; copy the file anew"
        )
    return data, element.VR


def _check_length(length: int, declared: Declared, where: str, notes: Notes) -> None:
    """Compare the pixel data's length in bytes with the declared length."""
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


def _decode(
    data: bytes, representation: str, dataset: FileDataset, declared: Declared, where: str
) -> np.ndarray:
    """Return (frame, row, column) stored values in native byte order, writable."""
    if not declared.syntax.is_encapsulated:
        data = data[: declared.length + declared.length % 2]  # no frames out of what padding may hold
    offsets = [tag_value(dataset, f"ExtendedOffsetTable{end}", []) for end in ("", "Lengths")]
    options: dict[str, Any] = {
        "allow_excess_frames": False,
        "pixel_keyword": declared.keyword,
        "pixel_vr": representation,
        "number_of_frames": declared.frames,
        "rows": declared.rows,
        "columns": declared.columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": declared.photometric,
        "bits_allocated": declared.bits_allocated,
        "bits_stored": declared.high_bit + 1 if _in_words(declared) else declared.bits_stored,
        "pixel_representation": declared.signed,
        "extended_offsets": tuple(offsets) if all(offsets) else None,
    }
    try:
        if declared.syntax == RLELossless:
            _check_rle(data, declared)
        # raw: stored values, no colour conversion
        frames, _ = get_decoder(declared.syntax).as_array(data, raw=True, **options)
    except StopIteration as error:
        message = f"{where}: got fewer encoded frames than the declared {declared.frames}; copy the file anew"
        raise DicomError("truncated", message) from error
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a decoder's errors depend on the bytes; a panic in Rust is no Exception
        cause = " ".join(str(error).split())[:300]
        raise DicomError(
            "undecodable", f"{where}: got {declared.syntax.name}: {cause}; copy the file anew"
        ) from error
    frames = frames.reshape(declared.frames, declared.rows, declared.columns)
    return frames.astype(frames.dtype.newbyteorder("="), copy=not frames.flags.writeable)


def _in_words(declared: Declared) -> bool:
    """Return whether the syntax keeps whole words with their unused bits; the others encode the samples alone."""
    return not declared.syntax.is_encapsulated or declared.syntax == RLELossless


def _stored_bits(frames: np.ndarray, declared: Declared, notes: Notes) -> np.ndarray:
    """Shift the samples of words that HighBit aligns to the left; what lies below them goes.

    Files in which no pixel reaches HighBit are taken as aligned to the right.
    """
    unused = declared.high_bit + 1 - declared.bits_stored
    if not unused or frames.dtype.kind not in "iu" or not _in_words(declared):
        return frames
    bits = declared.bits_stored - declared.signed
    if frames.min() >= -(2**bits) * declared.signed and frames.max() < 2**bits:
        notes.append(
            ("assumed_bits", f"HighBit is {declared.high_bit}, but no pixel reaches it: not shifted")
        )
        return frames
    return frames >> unused


def padding_mask(dataset: FileDataset, keyword: str, frames: np.ndarray, notes: Notes) -> np.ndarray | None:
    """Return which stored pixels are padding (PS3.3 C.7.5.1.1.2), None where the header names no padding.

    Padding is PixelPaddingValue, or all from there to PixelPaddingRangeLimit.

    Args:
        keyword: The pixel tag; float pixels have padding tags of their own.
        frames: Stored values, not inverted yet.
    """
    kind = keyword.removesuffix("Data")
    ends = [finite_numbers(dataset, f"{kind}Padding{end}", 1, notes) for end in ("Value", "RangeLimit")]
    if ends[0] is None:
        return None
    first, last = (_as_stored((end or ends[0])[0], frames.dtype) for end in ends)
    mask = (frames >= min(first, last)) & (frames <= max(first, last))
    return mask if mask.any() else None


def _as_stored(value: float, dtype: np.dtype) -> float:
    """Return a padding value as pixels have it: some files write 63536 where a signed pixel is -2000."""
    if dtype.kind not in "iu" or np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        return value
    word = int(value) % 2 ** (8 * dtype.itemsize)
    return int(np.array(word, f"u{dtype.itemsize}").view(dtype))


def _blacken(frames: np.ndarray, padding: np.ndarray) -> np.ndarray:
    """Set padding, in place, to the smallest other value of its frame, so that it takes none of the contrast."""
    for frame, mask in zip(frames, padding, strict=True):
        frame[mask] = frame[~mask].min() if not mask.all() else 0
    return frames


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
    """Invert, in place, the frames in which less is brighter by photometric interpretation xor slope."""
    for index, frame in enumerate(frames):
        slope = frame_numbers(dataset, index, "RescaleSlope", 1, notes)
        negative = slope is not None and slope[0] < 0
        if negative != (declared.photometric == "MONOCHROME1"):
            _invert(frame, declared)
    return frames


def _invert(frame: np.ndarray, declared: Declared) -> None:
    """Invert a frame in place within the range of its samples, so that whoever inverted it gets his values back."""
    if frame.dtype.kind not in "iu":
        np.negative(frame, out=frame)
        return
    np.invert(frame, out=frame)  # keeps the type and can't overflow
    if frame.dtype.kind == "u":
        above = frame.dtype.type(np.iinfo(frame.dtype).max - (2**declared.bits_stored - 1))
        if frame.min() >= above:  # else a decoder gave more bits than are declared
            frame -= above
