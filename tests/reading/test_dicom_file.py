"""One file: its slices, or one named reason; never a hang, never a wrong picture."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data.data_manager import DATA_ROOT
from pydicom.uid import (
    BasicTextSRStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from lumbar.reading.series import read_file
from tests.making.dicom_writer import (
    SAGITTAL,
    image_dataset,
    one_slice,
    picture,
    reason_of,
    write,
    write_slice,
)

TEST_FILES = Path(DATA_ROOT) / "test_files"

# All that must be read; every other one of its files must be refused.
READABLE = {
    *("693_J2KI", "CT_small", "J2K_pixelrep_mismatch", "JPEG2000", "MR_small", "MR_small_RLE"),
    *("MR_small_bigendian", "MR_small_expb", "MR_small_implicit", "MR_small_jp2klossless", "MR_small_padded"),
    *("examples_overlay", "image_dfl", "rtdose", "rtdose_1frame", "rtdose_expb", "rtdose_expb_1frame"),
    *("rtdose_rle", "rtdose_rle_1frame"),
}
NEED_A_DECODER = {"JPEGLSNearLossless_08", "JPEGLSNearLossless_16", "MR_small_jpeg_ls_lossless", "JPEG-lossy"}
NEED_A_DECODER |= {"JPGExtended", "JPEG2000-embedded-sequence-delimiter"}


@pytest.mark.parametrize("path", sorted(p for p in TEST_FILES.iterdir() if p.is_file()), ids=lambda p: p.name)
def test_files_of_pydicom_are_read_or_refused(path):
    if path.stem in READABLE and path.suffix == ".dcm":
        assert all(s.pixels.ndim == 2 and s.pixels.any() for s in read_file(path)[0])
    elif path.stem not in NEED_A_DECODER:
        reason_of(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", "truncated"),
        ("badVR.dcm", "bad_header"),
        ("no_meta.dcm", "not_dicom"),
        ("README.txt", "not_dicom"),
        ("test-SR.dcm", "not_an_image"),
        ("rtplan.dcm", "not_an_image"),
        ("SC_rgb_jpeg.dcm", "colour"),
        ("examples_palette.dcm", "colour"),
        ("liver_1frame.dcm", "bad_header"),
    ],
)
def test_reasons_of_pydicom_files(name, reason):
    assert reason_of(TEST_FILES / name) == reason


def test_rle_of_pydicom_files_equals_uncompressed():
    plain, packed = (one_slice(TEST_FILES / f"MR_small{suffix}.dcm") for suffix in ("", "_RLE"))
    assert np.array_equal(plain.pixels, packed.pixels)


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.dcm").mkdir()
    (tmp_path / "link.dcm").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.dcm").symlink_to(tmp_path / "loop.dcm")
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "text.dcm").write_text("not an image\n" * 50)
    (tmp_path / "noise.dcm").write_bytes(np.random.default_rng(0).bytes(5000))
    reasons = {p.stem: reason_of(p) for p in tmp_path.iterdir()}
    assert reasons == {
        "folder": "not_a_file",
        "link": "broken_link",
        "loop": "unreadable",
        "pipe": "not_a_file",
        "empty": "empty_file",
        "text": "not_dicom",
        "noise": "not_dicom",
    }


def test_no_permission(tmp_path, monkeypatch):
    path = write_slice(tmp_path / "1.dcm")
    if os.geteuid() == 0:  # root reads everything

        def refuse(*_args, **_kwargs):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    else:
        path.chmod(0)
    assert reason_of(path) == "no_permission"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
def test_truncated_at_any_place(tmp_path, syntax):
    whole = write_slice(tmp_path / "whole.dcm", syntax=syntax).read_bytes()
    path, reasons = tmp_path / "1.dcm", set()
    end = len(whole) - (8 if syntax == RLELossless else 0)  # an absent closing delimiter costs no pixel
    for length in [*range(1, 700, 3), *range(700, end, 101), end - 1]:
        path.write_bytes(whole[:length])
        reasons.add(reason_of(path))
    assert reasons <= {"not_dicom", "truncated", "malformed"}


@pytest.mark.parametrize("storage", [BasicTextSRStorage, GrayscaleSoftcopyPresentationStateStorage])
def test_objects_without_pixels(tmp_path, storage):
    dataset = image_dataset(picture(), SOPClassUID=storage, Rows=None, PixelData=None)
    dataset.file_meta.MediaStorageSOPClassUID = storage
    assert reason_of(write(dataset, tmp_path / "1.dcm")) == "not_an_image"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Rows": None}, "bad_header"),
        ({"Columns": 0}, "bad_header"),
        ({"Rows": 25}, "truncated"),
        ({"BitsAllocated": None}, "bad_header"),
        ({"BitsAllocated": 12}, "bad_header"),
        ({"BitsAllocated": 1}, "bad_header"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "truncated"),
        ({"PixelData": b""}, "truncated"),
        ({"PixelData": b"\0" * 958}, "truncated"),
        ({"PixelData": None}, "truncated"),
        ({"NumberOfFrames": 2}, "truncated"),
        ({"NumberOfFrames": 10**6}, "too_large"),
        ({"Rows": 65535, "Columns": 65535}, "too_large"),
        ({"Rows": 20000, "Columns": 1}, "too_large"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"ImageType": "LOCALIZER"}, "localizer"),
    ],
)
def test_one_harmed_tag_one_reason(tmp_path, tags, reason):
    assert reason_of(write_slice(tmp_path / "1.dcm", **tags)) == reason


def harm(path: Path, keyword: str, value: bytes) -> None:
    """Overwrite a tag's value in a written file with bytes of the same length."""
    element = pydicom.dcmread(path)[keyword]
    data = bytearray(path.read_bytes())
    start = element.file_tell
    data[start : start + len(value)] = value
    path.write_bytes(data)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_malformed_optional_numbers_are_missing(tmp_path, keyword):
    tags = {
        "ImagePositionPatient": [1.0, 2.0, 3.0],
        "ImageOrientationPatient": SAGITTAL,
        "PixelSpacing": [0.5, 0.5],
    }
    path = write_slice(tmp_path / "1.dcm", **tags)
    harm(path, keyword, b"x.y")
    slices, notes = read_file(path)
    values = {"ImagePositionPatient": slices[0].position, "ImageOrientationPatient": slices[0].orientation}
    values["PixelSpacing"] = slices[0].spacing
    assert [k for k, v in values.items() if v is None] == [keyword]
    assert [reason for reason, _ in notes] == ["malformed_tag"]


@pytest.mark.parametrize(
    "tags",
    [
        {"ImagePositionPatient": [1.0, 2.0]},
        {"ImageOrientationPatient": [0.0] * 6},
        {"ImageOrientationPatient": [1.0, 0, 0, 1.0, 0, 0]},
        {"PixelSpacing": [0.0, 0.5]},
        {"PixelSpacing": 0.5},
    ],
)
def test_impossible_geometry_is_missing(tmp_path, tags):
    slices, notes = read_file(write_slice(tmp_path / "1.dcm", **tags))
    assert (slices[0].position, slices[0].orientation, slices[0].spacing) == (None, None, None)
    assert [reason for reason, _ in notes] == ["malformed_tag"]


def test_header_with_the_bare_minimum(tmp_path):
    dataset = image_dataset(picture())
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SamplesPerPixel", "PhotometricInterpretation"):
        del dataset[keyword]
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation"):
        del dataset[keyword]
    dataset.preamble = bytes(128)
    path = tmp_path / "1.dcm"
    pydicom.dcmwrite(path, dataset)
    slices, notes = read_file(path)
    assert np.array_equal(slices[0].pixels, picture())
    assert (
        slices[0].position is None and slices[0].instance_number is None and slices[0].sop_instance_uid == ""
    )
    assert {reason for reason, _ in notes} == {"assumed_bits"}


@pytest.mark.parametrize("representation", [b"O.", b"O\xff", b"OS", b"SQ", b"US", b"UI"])
def test_pixel_data_of_a_strange_representation(tmp_path, representation):
    path = write_slice(tmp_path / "1.dcm")
    data = path.read_bytes()
    assert data.count(b"\xe0\x7f\x10\x00OW") == 1
    path.write_bytes(data.replace(b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00" + representation))
    assert reason_of(path) in ("malformed", "truncated")


def test_longer_pixel_data_is_cut(tmp_path):
    path = write_slice(tmp_path / "1.dcm", PixelData=picture().tobytes() * 2)
    slices, notes = read_file(path)
    assert np.array_equal(slices[0].pixels, picture())
    assert [reason for reason, _ in notes] == ["long_pixel_data"]


def test_fewer_encoded_frames_than_declared(tmp_path):
    stack = np.stack([picture(seed=s) for s in range(2)])
    path = write_slice(tmp_path / "1.dcm", stack, syntax=RLELossless, NumberOfFrames=3)
    assert reason_of(path) in ("truncated", "undecodable")


def test_damaged_rle_is_no_picture(tmp_path):
    dataset = image_dataset(picture(), syntax=RLELossless)
    damaged = bytearray(dataset.PixelData)
    damaged[8 + 8 + 12 :] = bytes(len(damaged) - 28)  # all but the header of the one frame
    path = write_slice(tmp_path / "1.dcm", picture(), syntax=RLELossless, PixelData=bytes(damaged))
    assert reason_of(path) in ("undecodable", "truncated")


def test_compressed_without_decoder_names_it(tmp_path):
    dataset = image_dataset(picture(), syntax=RLELossless)
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    path = write(dataset, tmp_path / "1.dcm")
    if pydicom.pixels.get_decoder(JPEGLSLossless).is_available:
        assert reason_of(path) == "undecodable"
    else:
        assert reason_of(path) == "no_decoder"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, pydicom.uid.JPEGBaseline8Bit])
def test_damaged_jpeg(tmp_path, syntax):
    dataset = image_dataset(picture(dtype=np.uint8, top=200), syntax=RLELossless)
    dataset.file_meta.TransferSyntaxUID = syntax
    assert reason_of(write(dataset, tmp_path / "1.dcm")) in ("undecodable", "no_decoder")
