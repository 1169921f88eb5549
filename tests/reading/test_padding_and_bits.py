"""Which pixels and which bits count: padding takes no contrast and is black, samples end at HighBit."""

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
)

from lumbar.reading.normalization import normalize_slice
from lumbar.reading.series import read_file
from tests.making.dicom_writer import image_dataset, one_slice, picture, write

SYNTAXES = (ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless)


def written(path, values, padding=None, limit=None, vr="US", **tags):
    dataset = image_dataset(values, **tags)
    for element, value in ((0x00280120, padding), (0x00280121, limit)):
        if value is not None:
            dataset.add_new(element, vr, value)
    return write(dataset, path)


def cornered(values: np.ndarray, value: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture with a corner of another value, and which pixels that are."""
    mask = np.zeros(values.shape, bool)
    mask[:6, :7] = True
    return np.where(mask, values.dtype.type(value), values), mask


@pytest.mark.parametrize(
    ("dtype", "stored", "said", "vr"),
    [
        (np.uint16, 63536, 63536, "US"),
        (np.int16, -2000, -2000, "SS"),
        (np.int16, -2000, 63536, "US"),  # the same word, written as unsigned
        (np.uint16, 63536, -2000, "SS"),
        (np.uint16, 0, 0, "US"),
        (np.uint8, 255, 255, "US"),
    ],
)
def test_padding_is_black_and_takes_no_contrast(tmp_path, dtype, stored, said, vr):
    values = picture(dtype=dtype, top=200) + dtype(20)
    padded, mask = cornered(values, stored)
    read = one_slice(written(tmp_path / "1.dcm", padded, said, vr=vr)).pixels
    assert np.array_equal(read[~mask], values[~mask])
    assert (read[mask] == values[~mask].min()).all()
    assert normalize_slice(read)[~mask].max() == 255 and not normalize_slice(read)[mask].any()


@pytest.mark.parametrize(("first", "last"), [(3000, 3100), (3100, 3000)])
def test_a_range_of_padding(tmp_path, first, last):
    values, mask = cornered(picture(top=2000), 3050)
    read = one_slice(written(tmp_path / "1.dcm", values, first, last)).pixels
    assert read[mask].max() == values[~mask].min()


@pytest.mark.parametrize(("photometric", "slope"), [("MONOCHROME1", 1), ("MONOCHROME2", -1)])
def test_padding_of_an_inverted_picture_is_black_too(tmp_path, photometric, slope):
    values, mask = cornered(picture(top=2000), 0)
    tags = {"PhotometricInterpretation": photometric, "RescaleSlope": slope}
    read = normalize_slice(one_slice(written(tmp_path / "1.dcm", values, 0, **tags)).pixels)
    assert not read[mask].any() and read[~mask].max() == 255


def test_padding_of_each_frame(tmp_path):
    stack = np.stack([picture(seed=n, top=500) + np.uint16(100 * n) for n in range(3)])
    stack[1, :3] = 9999
    slices, _ = read_file(written(tmp_path / "1.dcm", stack, 9999))
    assert np.array_equal(slices[0].pixels, stack[0]) and np.array_equal(slices[2].pixels, stack[2])
    assert (slices[1].pixels[:3] == stack[1, 3:].min()).all()


def test_padding_of_float_pixels(tmp_path):
    values = picture(dtype=np.float32, top=100)
    values[:4] = -1e6
    dataset = image_dataset(values)
    dataset.FloatPixelPaddingValue = -1e6
    read = one_slice(write(dataset, tmp_path / "1.dcm")).pixels
    assert (read[:4] == values[4:].min()).all()


def test_nothing_but_padding_and_padding_that_no_pixel_has(tmp_path):
    whole = np.full((8, 9), 7, np.uint16)
    assert not one_slice(written(tmp_path / "1.dcm", whole, 7)).pixels.any()
    assert np.array_equal(one_slice(written(tmp_path / "2.dcm", picture(), 60000)).pixels, picture())
    path = write(image_dataset(picture(), PixelPaddingValue=None), tmp_path / "3.dcm")
    assert np.array_equal(one_slice(path).pixels, picture())


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
@pytest.mark.parametrize(("stored", "high"), [(12, 15), (12, 13), (10, 11), (16, 15), (12, 11)])
@pytest.mark.parametrize("signed", [False, True])
def test_samples_end_at_high_bit(tmp_path, syntax, stored, high, signed):
    """Bits below and above the sample hold an old overlay."""
    top = 2 ** (stored - signed) - 1
    values = picture(top=top).astype(np.int32) - (top // 2 if signed else 0)
    values[0, 0] = top if not signed else top - top // 2
    unused = high + 1 - stored
    words = (values % 2**stored).astype(np.uint16) << np.uint16(unused)
    words |= np.uint16(2**unused - 1)  # below
    if high < 15:
        words[::2] |= np.uint16(1 << 15)  # above
    pixels = words.view(np.int16) if signed else words
    tags = {"BitsStored": stored, "HighBit": high}
    assert np.array_equal(
        one_slice(write(image_dataset(pixels, syntax=syntax, **tags), tmp_path / "1.dcm")).pixels, values
    )


def test_a_high_bit_that_no_pixel_reaches_shifts_nothing(tmp_path):
    path = write(image_dataset(picture(top=1200), BitsStored=12, HighBit=15), tmp_path / "1.dcm")
    slices, notes = read_file(path)
    assert np.array_equal(slices[0].pixels, picture(top=1200))
    assert [reason for reason, _ in notes] == ["assumed_bits"] and "HighBit" in notes[0][1]


@pytest.mark.parametrize("high", [3, 16, 99])
def test_an_impossible_high_bit_is_said(tmp_path, high):
    path = write(image_dataset(picture(top=4095), BitsStored=12, HighBit=high), tmp_path / "1.dcm")
    slices, notes = read_file(path)
    assert np.array_equal(slices[0].pixels, picture(top=4095)) and "HighBit" in notes[0][1]


def test_padding_counts_in_samples_not_in_words(tmp_path):
    values, mask = cornered(picture(top=2000), 4000)
    path = written(tmp_path / "1.dcm", values << np.uint16(4), 4000, BitsStored=12, HighBit=15)
    assert (one_slice(path).pixels[mask] == values[~mask].min()).all()
