"""One limit of tilt for a block and for a series of its own; pictures made later, where there are no others."""

import numpy as np
import pytest

from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SAGITTAL_T2
from tests.making.scanner_files import every, noise, read_only_study, retold, scanned_study, write_all
from tests.reading.test_picture_choice import assert_same_grids


def tilted(slices, degrees: float) -> None:
    """Turn slices about the patient's x axis and their middle, as a block along a disc lies."""
    turn = np.radians(degrees)
    to_row = np.array([0.0, np.cos(turn), -np.sin(turn)])
    across = np.cross([1.0, 0.0, 0.0], to_row)
    middle = np.mean([one.ImagePositionPatient[2] for one in slices])
    for one in slices:
        half = one.Rows * float(one.PixelSpacing[0]) / 2
        centre = np.add(one.ImagePositionPatient, [0, half, 0])
        centre = np.array([centre[0], centre[1], middle]) + across * (centre[2] - middle)
        one.ImagePositionPatient = list(centre - to_row * half)
        one.ImageOrientationPatient = [1.0, 0.0, 0.0, *to_row]


def blocks(series, text: str, degrees: float):
    """Make each five axial slices a series of its own, the lowest tilted."""
    slices = series.pop(AXIAL_T2)
    for number in range(5):
        part = slices[5 * number : 5 * number + 5]
        if number == 0:
            tilted(part, degrees)
        series[number] = [retold(one, 20 + number, SeriesDescription=text, ProtocolName=text) for one in part]
    return series


@pytest.mark.parametrize("degrees", [-59, -48, 30, 44, 46, 48, 59])
@pytest.mark.parametrize("text", ["t2_tse_tra", "T2 block"])
def test_a_tilted_block_of_its_own_is_axial(tmp_path, degrees, text):
    """By its text, or as it is thin."""
    study, _ = read_only_study(write_all(tmp_path, blocks(scanned_study(), text, degrees)))
    assert len(study.volumes[AXIAL_T2]) == 25 and not study.faults
    assert len({header.orientation for header in study.volumes[AXIAL_T2].headers}) == 2


@pytest.mark.parametrize("degrees", [62, 80, 90])
def test_what_is_tilted_further_is_coronal(tmp_path, degrees):
    study, left_out = read_only_study(write_all(tmp_path, blocks(scanned_study(), "T2 block", degrees)))
    assert len(study.volumes[AXIAL_T2]) == 20 and "other_plane" in left_out.values()


def test_a_coronal_series_along_the_lordosis_is_no_axial_block(tmp_path):
    """Twenty slices of 5 mm, tilted by 35 degrees out of the coronal plane: too deep for a block."""
    series = scanned_study()
    series["coronal"] = [
        retold(one, 30, SeriesDescription="T2", ProtocolName="T2") for one in series[AXIAL_T2][:20]
    ]
    tilted(series["coronal"], 55)
    study, left_out = read_only_study(write_all(tmp_path, series))
    assert list(left_out.values()) == ["other_plane"] and len(study.volumes[AXIAL_T2]) == 25


@pytest.fixture(scope="module")
def unaltered(tmp_path_factory):
    return read_only_study(write_all(tmp_path_factory.mktemp("unaltered"), scanned_study()))[0]


@pytest.mark.parametrize(
    "image_type",
    [
        ["DERIVED", "SECONDARY"],
        ["DERIVED", "SECONDARY", "MPR"],
        ["ORIGINAL", "SECONDARY"],
        ["DERIVED", "PRIMARY", "MPR"],
    ],
)
@pytest.mark.parametrize("of", ["all", AXIAL_T2])
def test_secondary_pictures_are_graded_and_flagged_where_there_are_no_others(
    tmp_path, unaltered, image_type, of
):
    series = scanned_study()
    for one in every(series) if of == "all" else series[of]:
        one.ImageType = image_type
    study, _ = read_only_study(write_all(tmp_path, series))
    assert_same_grids(study, unaltered)
    assert [fault.reason for fault in study.faults] == ["derived_used"] * (3 if of == "all" else 1)


@pytest.mark.parametrize("third", ["MIP", "PROJECTION IMAGE", "ADC", "SCREEN SAVE", "CPR"])
def test_computed_pictures_are_never_graded(tmp_path, third):
    series = scanned_study()
    for one in series[AXIAL_T2]:
        one.ImageType = ["DERIVED", "SECONDARY", third]
    study, _ = read_only_study(write_all(tmp_path, series))
    assert AXIAL_T2 not in study.volumes and "derived" in {fault.reason for fault in study.faults}


def test_originals_inside_a_series_come_before_what_was_made_of_them(tmp_path, unaltered):
    series = scanned_study()
    series["made"] = [
        retold(
            one,
            0,
            noise(one),
            ImageType=["DERIVED", "SECONDARY"],
            InstanceNumber=int(one.InstanceNumber) + 50,
        )
        for one in series[SAGITTAL_T2]
    ]
    study, _ = read_only_study(write_all(tmp_path, series))
    assert_same_grids(study, unaltered)
    assert not study.faults


@pytest.mark.parametrize(
    "text",
    ["Reperage", "plan scan", "pilot", "Übersicht", "centratura", "локалайзер", "定位像", "Scout SAG T2"],
)
def test_localizers_of_any_name_join_nothing(tmp_path, unaltered, text):
    """Also where the localizer is all that a description has: it is reported, and not graded."""
    series = scanned_study()
    series["l"] = [
        retold(one, 30, SeriesDescription=text, ProtocolName=text, SpecificCharacterSet="ISO_IR 192")
        for one in series[SAGITTAL_T2][3:12:4]
    ]
    study, left_out = read_only_study(write_all(tmp_path / "a", series))
    assert_same_grids(study, unaltered)
    assert list(left_out.values()) == ["localizer"]
    del series[SAGITTAL_T2]
    study = read_study(find_dataset(write_all(tmp_path / "b", series)).studies[0])
    assert study.volumes.keys() == set(DESCRIPTIONS) - {SAGITTAL_T2}
    assert [fault.reason for fault in study.faults] == ["localizer"]
