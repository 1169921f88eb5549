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

    A run of n = 3 or more bytes becomes (257 - n, byte), the n bytes between two runs (n - 1, bytes). n is at most 128.
    """
    data = plane.ravel()
    repeated, starts = _runs(plane)
    place, length = _split(np.flatnonzero(starts), data.size)
    packed = repeated.ravel()[place] & (length > 1)
    size = np.where(packed, 2, 1 + length)
    end = np.cumsum(size)
    header_at = end - size
    out = np.zeros(end[-1] + end[-1] % 2, np.uint8)
    out[header_at] = np.where(packed, 257 - length, length - 1)
    out[header_at[packed] + 1] = data[place[packed]]
    # All other bytes, neither header nor run, are literal, in order.
    literal_out = np.ones(out.size, bool)
    literal_out[end[-1] :] = False
    literal_out[header_at] = False
    literal_out[header_at[packed] + 1] = False
    literal_in = ~repeated.ravel()
    literal_in[place[~packed]] = True  # the single byte left over when a run is split
    out[literal_out] = data[literal_in]
    return out.tobytes()


def _runs(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which bytes lie in a run of three or more, and (flat) where a token must start."""
    same = plane[:, 1:] == plane[:, :-1]
    triple = same[:, 1:] & same[:, :-1]
    repeated = np.zeros(plane.shape, bool)
    width = triple.shape[1]
    for shift in range(3 if width > 0 else 0):
        repeated[:, shift : shift + width] |= triple
    starts = np.ones(plane.shape, bool)  # every row's first byte
    starts[:, 1:] = (repeated[:, 1:] & ~same) | (repeated[:, 1:] != repeated[:, :-1])
    return repeated, starts.ravel()


def _split(start: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return start and length of every token after cutting those longer than 128 bytes."""
    length = np.diff(np.append(start, size))
    parts = -(-length // _LONGEST)
    part = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    start = np.repeat(start, parts) + _LONGEST * part
    return start, np.minimum(_LONGEST, np.repeat(length, parts) - _LONGEST * part)
