"""Stored values out of every encoding that has a decoder; bounds and bombs refused before decoding."""

import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from lumbar.reading import dicom_file as instance
from lumbar.reading import pixels
from lumbar.reading.series import DicomError, read_file
from tests.making.dicom_writer import (
    image_dataset,
    one_slice,
    picture,
    reason_of,
    write,
    write_slice,
)

SYNTAXES = Path(__file__).parents[2] / "../shared/dicom/transfer_syntaxes/In"


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64]
)
@pytest.mark.parametrize("big_endian", [False, True])
def test_every_sample_type_is_read_as_stored(tmp_path, dtype, big_endian):
    if big_endian and np.dtype(dtype).kind == "f":
        pytest.skip("the standard has no big endian float pixel data in use")
    values = picture(23, 21, dtype=np.int64, top=200) - (100 if np.dtype(dtype).kind in "if" else 0)
    syntax = ExplicitVRBigEndian if big_endian else ExplicitVRLittleEndian
    read = one_slice(write_slice(tmp_path / "1.dcm", values.astype(dtype), syntax=syntax)).pixels
    assert read.dtype == dtype and read.dtype.isnative
    assert np.array_equal(read, values)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("frames", [1, 3])
def test_syntaxes_decode_alike(tmp_path, syntax, frames):
    stack = np.stack([picture(seed=s) for s in range(frames)])
    slices, _ = read_file(write_slice(tmp_path / "1.dcm", stack, syntax=syntax))
    assert np.array_equal([s.pixels for s in slices], stack)


def test_both_rle_decoders_give_the_same(tmp_path, monkeypatch):
    path = write_slice(tmp_path / "1.dcm", picture(64, 48), syntax=RLELossless)
    decoder = pydicom.pixels.get_decoder(RLELossless)
    assert "pydicom" in decoder._available
    monkeypatch.setattr(decoder, "_available", {"pydicom": decoder._available["pydicom"]})
    assert np.array_equal(one_slice(path).pixels, picture(64, 48))


def test_twelve_bits_of_sixteen(tmp_path):
    values = picture(top=4095)
    read = one_slice(write_slice(tmp_path / "1.dcm", values, BitsStored=12, HighBit=11))
    assert np.array_equal(read.pixels, values)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize(
    ("photometric", "slope", "inverted"),
    [
        ("MONOCHROME2", 1, False),
        ("MONOCHROME1", 1, True),
        ("MONOCHROME2", -2, True),
        ("MONOCHROME1", -2, False),
    ],
)
def test_monochrome1_xor_negative_slope_inverts(tmp_path, dtype, photometric, slope, inverted):
    values = picture(dtype=dtype, top=120)
    tags = {"PhotometricInterpretation": photometric, "RescaleSlope": slope}
    read = one_slice(write_slice(tmp_path / "1.dcm", values, **tags)).pixels
    assert read.dtype == dtype
    order = np.argsort(values, axis=None, kind="stable")
    steps = np.diff(read.ravel()[order].astype(np.int64))
    assert (steps <= 0).all() if inverted else np.array_equal(read, values)
    spread = int(read.max()) - int(read.min())
    assert spread == int(values.max()) - int(values.min())


@pytest.mark.skipif(not SYNTAXES.is_dir(), reason="../shared/dicom is not here")
def test_nine_transfer_syntaxes_decode_alike_or_name_the_decoder():
    expected = one_slice(SYNTAXES / "1.dcm").pixels
    assert expected.shape == (384, 384)
    for number in range(2, 10):
        try:
            assert np.array_equal(one_slice(SYNTAXES / f"{number}.dcm").pixels, expected)
        except DicomError as error:
            assert error.reason == "no_decoder" and number not in (2, 3, 4)
            assert "pylibjpeg" in str(error)


def test_unknown_transfer_syntax_has_no_decoder(tmp_path):
    dataset = image_dataset(picture())
    dataset.file_meta.TransferSyntaxUID = "1.2.826.0.1.3680043.9.9999"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    path = tmp_path / "1.dcm"
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    assert reason_of(path) == "no_decoder"


def test_deflate_bomb_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    path = write_slice(tmp_path / "1.dcm", syntax=DeflatedExplicitVRLittleEndian)
    monkeypatch.setattr(instance, "MAX_FILE_BYTES", 2**20)
    data = path.read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(data[:start] + packer.compress(bytes(2**23)) + packer.flush())
    assert path.stat().st_size < 20000

    def never(*_args, **_kwargs):
        raise AssertionError("inflated")

    monkeypatch.setattr(pydicom, "dcmread", never)
    assert reason_of(path) == "too_large"


def test_encoded_pixels_that_could_not_be_honest_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "ENCODED_SLACK_BYTES", 0)
    dataset = image_dataset(picture(), syntax=RLELossless)
    dataset.PixelData = pydicom.encaps.encapsulate([bytes(5000)])
    assert reason_of(write(dataset, tmp_path / "1.dcm")) == "too_large"


@pytest.mark.parametrize("offset", [0, 63, 10**6, 2**32 - 1])
@pytest.mark.parametrize("place", [4, 8])
def test_rle_offsets_that_lead_astray(tmp_path, offset, place):
    """A decoder in Rust panics on some of these, which is no Exception."""
    dataset = image_dataset(picture(), syntax=RLELossless)
    data = bytearray(dataset.PixelData)
    start = 12 + 8 + place  # past the offset table and the header of the item that is the frame
    data[start : start + 4] = offset.to_bytes(4, "little")
    path = write_slice(tmp_path / "1.dcm", picture(), syntax=RLELossless, PixelData=bytes(data))
    assert reason_of(path) in ("undecodable", "truncated")
