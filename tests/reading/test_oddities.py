"""Oddities of the slices of a series or a volume are named once, with a count, and cost no slice."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from lumbar.faults import ODDITIES
from lumbar.reading.references import SeriesRef, StudyRef
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2, SAGITTAL_T1
from tests.making.dicom_writer import AXIAL, encode_pixels, enhanced_dataset, picture, write, write_series


def read(description: str, *folders: Path) -> tuple[dict[str, str], int]:
    """Read series of one description; return the messages by reason, none twice, and how many slices came."""
    refs = tuple(SeriesRef(folder.name, folder, description) for folder in folders)
    study = read_study(StudyRef("1", refs))
    messages = {fault.reason: fault.message for fault in study.faults}
    assert len(messages) == len(study.faults) and messages.keys() <= ODDITIES.keys()
    return messages, len(study.volumes[description])


def change(path: Path, **tags) -> None:
    """Set tags of a file; None removes one."""
    dataset = pydicom.dcmread(path)
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    write(dataset, path)


@pytest.mark.parametrize(
    ("reason", "told", "tags"),
    [
        ("same_number", "2 of 5 files", {"InstanceNumber": 2}),
        ("same_position", "2 of 5 slices", {"ImagePositionPatient": [12.0, 0.0, 0.0]}),
        ("no_orientation", "1 of 5 slices", {"ImageOrientationPatient": None}),
        ("no_spacing", "1 of 5 slices", {"PixelSpacing": None}),
    ],
)
def test_what_slices_share_or_lack_is_said(tmp_path, reason, told, tags):
    write_series(tmp_path, 5)
    assert read(SAGITTAL_T1, tmp_path) == ({}, 5)
    change(tmp_path / "4.dcm", **tags)
    messages, slices = read(SAGITTAL_T1, tmp_path)
    assert list(messages) == [reason] and told in messages[reason] and slices == 5


def test_slices_of_another_size_than_the_first_are_said(tmp_path):
    write_series(tmp_path, 5)
    for number in (2, 4):
        dataset = pydicom.dcmread(tmp_path / f"{number}.dcm")
        dataset.Rows, dataset.Columns = 48, 40
        encode_pixels(dataset, picture(48, 40))
        write(dataset, tmp_path / f"{number}.dcm")
    messages, slices = read(SAGITTAL_T1, tmp_path)
    assert list(messages) == ["mixed_sizes"] and slices == 5
    assert "2 of 5 slices not of size (24, 20)" in messages["mixed_sizes"]


def test_joined_series_may_share_numbers_but_not_positions(tmp_path):
    """Two axial stacks are the competition's usual, each numbered from 1."""
    for name, count in (("1", 3), ("2", 4)):
        write_series(tmp_path / name, count, AXIAL, axis=2)
    messages, slices = read(AXIAL_T2, tmp_path / "1", tmp_path / "2")
    assert list(messages) == ["same_position"] and slices == 7
    assert "6 of 7 slices" in messages["same_position"]


@pytest.mark.parametrize("shared", [True, False])
def test_frames_of_one_file_share_its_number_without_being_odd(tmp_path, shared):
    frames = np.stack([picture(seed=n) for n in range(4)])
    write(enhanced_dataset(frames, shared), tmp_path / "1.dcm")
    assert read(AXIAL_T2, tmp_path) == ({}, 4)
