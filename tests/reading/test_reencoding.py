"""Whatever DICOM allows without changing the patient changes neither points nor probabilities."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

import lumbar
from lumbar.reading.orientation import TURNS
from lumbar.sites import SEVERITIES
from tests.making.dicom_writer import encode_pixels, write
from tests.making.scanner_files import enhanced_file, pixels_of, scanned_study, write_all
from tests.making.tiny_bundle import write_tiny_bundle
from tests.reading.test_orientation import stored_turned

TEXTS = (
    "MR lumbar spine",
    "Lendenwirbelsäule",
    "RM colonna dorsale e lombare",
    "МРТ пояснично-крестцового",
    "腰椎",
)
ENCODINGS = st.fixed_dictionaries(
    {
        "turn": st.sampled_from(TURNS),
        "enhanced": st.booleans(),
        "parts": st.sampled_from(["one", "halves", "odd and even"]),
        "bits": st.sampled_from(
            [(16, 12, 11, 0), (16, 16, 15, 0), (16, 12, 15, 0), (16, 13, 12, 1), (32, 32, 31, 0)]
        ),
        "inverted": st.sampled_from(["", "MONOCHROME1", "slope"]),
        "syntax": st.sampled_from(
            [
                ExplicitVRLittleEndian,
                ImplicitVRLittleEndian,
                ExplicitVRBigEndian,
                DeflatedExplicitVRLittleEndian,
                RLELossless,
            ]
        ),
    }
)


@pytest.fixture(scope="module")
def grader(tmp_path_factory) -> lumbar.Grader:
    return lumbar.load(write_tiny_bundle(tmp_path_factory.mktemp("bundle")), device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def expected(tmp_path_factory, grader):
    return grader.grade(write_all(tmp_path_factory.mktemp("unaltered"), scanned_study())).table


def store(one: Dataset, encoding: dict) -> None:
    """Store a slice's picture in other bits, inverted, with slope and intercept; the meaning of the values stays."""
    allocated, stored, high, signed = encoding["bits"]
    values = pixels_of(one).astype(np.int64)
    if encoding["inverted"]:
        values = (-1 if signed else 2**stored - 1) - values
    one.PhotometricInterpretation = "MONOCHROME1" if encoding["inverted"] == "MONOCHROME1" else "MONOCHROME2"
    one.RescaleSlope, one.RescaleIntercept = -2 if encoding["inverted"] == "slope" else 3, -100
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = allocated, stored, high, signed
    words = (values % 2**stored) << (high + 1 - stored)
    one.PixelData = words.astype(f"<u{allocated // 8}").tobytes()


def in_parts(slices: list[Dataset], how: str) -> list[list[Dataset]]:
    """Return a series as one or two, as a scanner that was interrupted writes it."""
    half = len(slices) // 2
    parts = {
        "one": [slices],
        "halves": [slices[:half], slices[half:]],
        "odd and even": [slices[::2], slices[1::2]],
    }
    for number, part in enumerate(parts[how]):
        for one in part:
            one.SeriesInstanceUID, one.SeriesNumber = (
                f"{one.SeriesInstanceUID}.{number}",
                one.SeriesNumber + 10 * number,
            )
    return parts[how]


def put(dataset: Dataset, path: Path, syntax) -> None:
    """Write a dataset in a transfer syntax."""
    kind = f"<{'i' if dataset.PixelRepresentation else 'u'}{dataset.BitsAllocated // 8}"
    shape = (int(dataset.get("NumberOfFrames", 1)), dataset.Rows, dataset.Columns)
    stack = np.frombuffer(dataset.PixelData, kind)[: int(np.prod(shape))].reshape(shape)
    if syntax == RLELossless and dataset.BitsAllocated == 32:
        syntax = ExplicitVRLittleEndian  # pydicom's encoder takes up to 16 bits
    dataset.file_meta.TransferSyntaxUID = syntax
    stored = dataset.BitsStored
    dataset.BitsStored = dataset.BitsAllocated  # the encoder refuses words with bits above HighBit
    encode_pixels(dataset, stack if "NumberOfFrames" in dataset else stack[0])
    dataset.BitsStored = stored
    write(dataset, path)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    encodings=st.tuples(ENCODINGS, ENCODINGS, ENCODINGS),
    order=st.randoms(use_true_random=False),
    study_text=st.sampled_from(TEXTS),
    one_uid=st.booleans(),
    private=st.booleans(),
)
def test_no_reencoding_changes_points_or_probabilities(
    tmp_path, grader, expected, encodings, order, study_text, one_uid, private
):
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
    files: list[tuple[Dataset, object]] = []
    for slices, encoding in zip(scanned_study().values(), encodings, strict=True):
        for one in slices:
            stored_turned(one, encoding["turn"])
            store(one, encoding)
            one.StudyDescription, one.BodyPartExamined, one.SpecificCharacterSet = (
                study_text,
                "TSPINE",
                "ISO_IR 192",
            )
            if one_uid:
                one.SeriesInstanceUID = "1.2.0.7"
            if private:
                one.add_new(0x00290010, "LO", "SOMEBODY")
                one.add_new(0x00291010, "OB", bytes(range(200)))
        for part in in_parts(slices, encoding["parts"]):
            order.shuffle(part)
            whole = [enhanced_file(part)] if encoding["enhanced"] else part
            for dataset in whole:
                dataset.SpecificCharacterSet, dataset.StudyDescription = "ISO_IR 192", study_text
            files += [(dataset, encoding["syntax"]) for dataset in whole]
    order.shuffle(files)
    for number, (dataset, syntax) in enumerate(files):
        put(dataset, tmp_path / f"data/{number % 3}/{number:04d}", syntax)
    table = grader.grade(tmp_path / "data").table
    columns = [*SEVERITIES, "x", "y", "z"]
    assert np.isfinite(expected[columns].to_numpy()).all()
    assert np.abs(table[columns].to_numpy() - expected[columns].to_numpy()).max() < 1e-6
