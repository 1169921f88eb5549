"""RLE Lossless encoding of one 16-bit frame, the same bytes everywhere (DICOM PS3.5 annex G)."""

import numpy as np

_LONGEST = 128  # bytes per token


def encode_rle(pixels: np.ndarray) -> bytes:
    """Encode a (rows, columns) uint16 frame: a 64-byte header, then high bytes, then low bytes."""
    values = np.ascontiguousarray(pixels, dtype="<u2").view(np.uint8).reshape(*pixels.shape, 2)
    segments = [encode_segment(np.ascontiguousarray(values[..., byte])) for byte in (1, 0)]
    offsets = np.zeros(16, dtype="<u4")
    offsets[:3] = len(segments), 64, 64 + len(segments[0])
    return offsets.tobytes() + b"".join(segments)


def encode_segment(plane: np.ndarray) -> bytes:
    """PackBits-encode (rows, columns) uint8, each row on its own, padded to an even length.

    Runs of three or more bytes become (257 - n, byte); what lies between them (n - 1, bytes); n is at most 128.
    """
    rows, columns = plane.shape
    data = plane.ravel()
    place = np.arange(data.size)
    row_start = np.zeros(data.size, bool)
    row_start[::columns] = True
    new_run = row_start.copy()
    new_run[1:] |= data[1:] != data[:-1]
    run_start = np.flatnonzero(new_run)
    run_length = np.diff(np.append(run_start, data.size))
    repeated = np.repeat(run_length >= 3, run_length)
    # A token starts where a repeated run starts, where literals follow one, at each row, and every 128 bytes.
    starts = row_start | (repeated & new_run)
    starts[1:] |= repeated[1:] != repeated[:-1]
    group_start = np.maximum.accumulate(np.where(starts, place, 0))
    starts |= (place - group_start) % _LONGEST == 0
    token_start = np.flatnonzero(starts)
    length = np.diff(np.append(token_start, data.size))
    packed = repeated[token_start] & (length > 1)
    end = np.cumsum(np.where(packed, 2, 1 + length))
    header_at = end - np.where(packed, 2, 1 + length)
    out = np.zeros(end[-1] + end[-1] % 2, np.uint8)
    out[header_at] = np.where(packed, 257 - length, length - 1)
    out[header_at[packed] + 1] = data[token_start[packed]]
    literal = np.repeat(~packed, length)
    shift = np.repeat(header_at + 1 - token_start, length)
    out[(place + shift)[literal]] = data[literal]
    return out.tobytes()
