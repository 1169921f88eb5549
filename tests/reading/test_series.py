"""Series folders: order by the files' tags, faults named, the others go on; any bytes survived."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data.data_manager import DATA_ROOT
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from lumbar.faults import FILE_REASONS
from lumbar.reading import series as dicom
from lumbar.reading.series import DicomError, read_file, read_series
from lumbar.sites import AXIAL_T2, SAGITTAL_T1
from tests.making.dicom_writer import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    enhanced_dataset,
    picture,
    write,
    write_series,
    write_slice,
)

TEST_FILES = Path(DATA_ROOT) / "test_files"


def test_names_never_matter(tmp_path):
    pictures = write_series(tmp_path / "7", 12)
    rng = np.random.default_rng(1)
    for name, new in zip(range(1, 13), rng.permutation(12), strict=True):
        shutil.move(tmp_path / "7" / f"{name}.dcm", tmp_path / "7" / f"IM{new:04d}")
    series = read_series(tmp_path / "7", SAGITTAL_T1)
    assert np.array_equal([s.pixels for s in series.slices], pictures)


def test_without_instance_numbers_names_count_as_numbers(tmp_path):
    pictures = write_series(tmp_path / "7", 12, InstanceNumber=None)
    assert np.array_equal([s.pixels for s in read_series(tmp_path / "7", SAGITTAL_T1).slices], pictures)


def test_faulty_files_are_named_and_the_others_go_on(tmp_path):
    folder = tmp_path / "7"
    pictures = write_series(folder, 8)
    (folder / "2.dcm").write_bytes(b"")
    (folder / "3.dcm").write_bytes((folder / "3.dcm").read_bytes()[:-10])
    write_slice(folder / "4.dcm", pictures[3], InstanceNumber=4, ImageOrientationPatient=CORONAL)
    write_slice(folder / "5.dcm", pictures[4], InstanceNumber=5, ImageType="LOCALIZER")
    (folder / ".hidden").write_text("x")
    series = read_series(folder, SAGITTAL_T1)
    assert [s.instance_number for s in series.slices] == [1, 6, 7, 8]
    reasons = {Path(file).name: reason for file, reason, _ in series.faults}
    assert reasons == {
        "2.dcm": "empty_file",
        "3.dcm": "truncated",
        "4.dcm": "other_orientation",
        "5.dcm": "localizer",
    }


@pytest.mark.parametrize(("degrees", "stays"), [(35, True), (44, True), (46, True), (59, True), (61, False)])
def test_oblique_blocks_are_one_plane(tmp_path, degrees, stays):
    write_series(tmp_path / "7", 3, orientation=AXIAL, axis=2)
    tilted = [1.0, 0.0, 0.0, 0.0, math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))]
    geometry = {"ImageOrientationPatient": tilted, "PixelSpacing": [0.5, 0.7]}
    write_slice(tmp_path / "7" / "4.dcm", InstanceNumber=4, **geometry)
    series = read_series(tmp_path / "7", AXIAL_T2)
    assert len(series.slices) == 3 + stays
    assert [fault.reason for fault in series.faults] == [] if stays else ["other_orientation"]


@pytest.mark.parametrize(("description", "kept"), [(SAGITTAL_T1, SAGITTAL), (AXIAL_T2, AXIAL)])
def test_a_tie_of_planes_goes_to_the_described_one(tmp_path, description, kept):
    for index, orientation in enumerate([SAGITTAL, AXIAL] * 2):
        write_slice(
            tmp_path / "7" / f"{index}.dcm", InstanceNumber=index, ImageOrientationPatient=orientation
        )
    assert {s.orientation for s in read_series(tmp_path / "7", description).slices} == {tuple(kept)}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (None, "folder_missing"),
        ({}, "empty_folder"),
        ({"1.dcm": b""}, "empty_file"),
        ({"1": b"", "2": b"x"}, "no_usable_slice"),
    ],
)
def test_series_without_a_usable_slice(tmp_path, files, reason):
    folder = tmp_path / "7"
    if files is not None:
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
    with pytest.raises(DicomError) as caught:
        read_series(folder, SAGITTAL_T1)
    assert caught.value.reason == reason
    assert len(caught.value.faults) == len(files or {})


def test_series_over_the_bound_is_refused(tmp_path, monkeypatch):
    write_series(tmp_path / "7", 5)
    monkeypatch.setattr(dicom, "MAX_SERIES_BYTES", 4 * picture().nbytes)
    with pytest.raises(DicomError) as caught:
        read_series(tmp_path / "7", SAGITTAL_T1)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("shared", [True, False])
def test_enhanced_multi_frame(tmp_path, shared):
    stack = np.stack([picture(seed=s) for s in range(4)])
    write(enhanced_dataset(stack, shared), tmp_path / "9" / "1.dcm")
    series = read_series(tmp_path / "9", AXIAL_T2)
    assert np.array_equal([s.pixels for s in series.slices], stack)
    assert [s.position for s in series.slices] == [(1.0, 2.0, 30.0 - 3 * i) for i in range(4)]
    assert {s.orientation for s in series.slices} == {tuple(AXIAL)}
    assert {s.spacing for s in series.slices} == {(0.5, 0.7)}
    assert [s.name for s in series.slices] == [f"1.dcm#{i}" for i in range(1, 5)]


def test_one_position_is_not_that_of_all_frames(tmp_path):
    stack = np.stack([picture(seed=s) for s in range(3)])
    slices, _ = read_file(write_slice(tmp_path / "1.dcm", stack, ImagePositionPatient=[1.0, 2.0, 3.0]))
    assert [s.position for s in slices] == [None] * 3


# Whatever the bytes: a slice, or a DicomError.
CORPUS = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("corpus")
    tags = {"ImagePositionPatient": [1.0, 2.0, 3.0], "ImageOrientationPatient": SAGITTAL, "InstanceNumber": 3}
    files = [
        write_slice(folder / name, syntax=syntax, **tags).read_bytes() for name, syntax in CORPUS.items()
    ]
    files.append(
        write(
            enhanced_dataset(np.stack([picture(seed=s) for s in range(2)]), True), folder / "enhanced"
        ).read_bytes()
    )
    files += [(TEST_FILES / f"MR_small_{kind}.dcm").read_bytes() for kind in ("jp2klossless", "RLE")]
    return files


@settings(max_examples=400, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files_are_read_or_refused(corpus, tmp_path, data):
    content = bytearray(data.draw(st.sampled_from(corpus)))
    for _ in range(data.draw(st.integers(1, 6))):
        # Headers are where structure is: most mutations go there.
        place = data.draw(st.integers(128, min(len(content), 900) - 1) | st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["replace", "insert", "delete", "repeat"]))
        chunk = data.draw(
            st.binary(min_size=1, max_size=4) | st.sampled_from([b"\xff\xff\xff\xff", bytes(4)])
        )
        if kind == "replace":
            content[place : place + len(chunk)] = chunk
        elif kind == "insert":
            content[place:place] = chunk
        elif kind == "delete":
            del content[place : place + len(chunk)]
        else:
            content[place:place] = content[place : place + 64]
    path = tmp_path / "mutated.dcm"
    path.write_bytes(content)
    try:
        slices, _ = read_file(path)
    except DicomError as error:
        assert error.reason in FILE_REASONS
    else:
        assert slices and all(s.pixels.ndim == 2 and s.pixels.size for s in slices)
