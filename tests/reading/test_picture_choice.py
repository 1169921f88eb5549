"""Of several pictures of one place one is read, whatever they are of: the volumes are the unaltered study's."""

import numpy as np
import pytest

from lumbar.faults import HEADER_REASONS
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import Study, read_study
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.dicom_writer import write
from tests.making.picture_variants import SAME, dixon_by_type, repeated_axial
from tests.making.scanner_files import (
    assert_same_pictures,
    enhanced_file,
    every,
    noise,
    read_only_study,
    retold,
    scanned_study,
    write_all,
)


@pytest.fixture(scope="module")
def unaltered(tmp_path_factory) -> Study:
    return read_only_study(write_all(tmp_path_factory.mktemp("unaltered"), scanned_study()))[0]


def assert_same_grids(study: Study, other: Study) -> None:
    assert study.volumes.keys() == other.volumes.keys()
    for description, volume in study.volumes.items():
        assert len(volume) == len(other.volumes[description]), description
        assert np.array_equal(volume.grid256, other.volumes[description].grid256), description


@pytest.mark.parametrize("alter", SAME, ids=lambda alter: alter.__name__)
def test_one_picture_of_each_place_is_read(tmp_path, unaltered, alter):
    series = scanned_study()
    alter(series)
    study, left_out = read_only_study(write_all(tmp_path, series))
    assert_same_grids(study, unaltered)
    assert left_out and set(left_out.values()) <= HEADER_REASONS.keys()
    assert not study.faults


def halves(slices) -> tuple[list, list]:
    return slices[: len(slices) // 2], slices[len(slices) // 2 :]


def odd_and_even(slices) -> tuple[list, list]:
    return slices[::2], slices[1::2]


def at_random(slices) -> tuple[list, list]:
    chosen = np.random.default_rng(3).random(len(slices)) < 0.5
    return [s for s, c in zip(slices, chosen, strict=True) if c], [
        s for s, c in zip(slices, chosen, strict=True) if not c
    ]


@pytest.mark.parametrize("split", [halves, odd_and_even, at_random])
@pytest.mark.parametrize("thickness", [True, False])
def test_parts_of_one_acquisition_are_joined(tmp_path, unaltered, split, thickness):
    series = scanned_study()
    for description, slices in list(series.items()):
        for one in split(slices)[1]:
            one.SeriesNumber, one.SeriesInstanceUID = one.SeriesNumber + 20, f"{one.SeriesInstanceUID}.2"
        for one in [] if thickness else slices:
            del one.SliceThickness
        assert description in series
    study, left_out = read_only_study(write_all(tmp_path, series))
    assert_same_grids(study, unaltered)
    assert not left_out


def test_frames_of_an_enhanced_file_are_grouped_by_what_they_are(tmp_path, unaltered):
    """Two echoes, and four kinds of Dixon picture, in one file each."""
    series = scanned_study()
    late, t1 = series.pop(SAGITTAL_T2), series.pop(SAGITTAL_T1)
    early = [retold(one, 0, noise(one), EchoTime=20) for one in late]
    write(
        enhanced_file([one for pair in zip(early, late, strict=True) for one in pair]), tmp_path / "3/e.dcm"
    )
    other = [retold(one, 0, noise(one, seed)) for seed in (1, 2, 3) for one in t1]
    types = tuple(kind for kind in ("FAT", "WATER", "OUT_PHASE") for _ in t1) + ("IN_PHASE",) * len(t1)
    write(enhanced_file([*other, *t1], types), tmp_path / "2/e.dcm")
    study, left_out = read_only_study(write_all(tmp_path, series))
    assert_same_grids(study, unaltered)
    assert sorted(left_out.values()) == ["other_picture", "other_picture", "other_sequence", "second_choice"]


def test_a_whole_study_in_one_enhanced_file(tmp_path, unaltered):
    """Planes, echoes and matrices that differ from frame to frame are series of their own."""
    series = scanned_study()
    for one in every(series):
        one.SeriesDescription = one.ProtocolName = ""
    write(enhanced_file(every(series)), tmp_path / "e.dcm")
    study, _ = read_only_study(tmp_path)
    assert_same_grids(study, unaltered)


def test_a_localizer_of_three_planes_in_one_enhanced_file(tmp_path, unaltered):
    series = scanned_study()
    frames = [series[SAGITTAL_T2][n] for n in (3, 6, 9)] + [series[AXIAL_T2][n] for n in (5, 12, 20)]
    coronal = [retold(one, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]) for one in frames[:3]]
    for one in [*frames, *coronal]:
        one.SeriesInstanceUID, one.SeriesNumber, one.SeriesDescription, one.EchoTime = "1.2.0.1", 1, "", 90
    write(enhanced_file([*frames, *coronal]), tmp_path / "1/e.dcm")
    study, left_out = read_only_study(write_all(tmp_path, scanned_study()))
    assert_same_grids(study, unaltered)
    assert list(left_out.values()) == ["localizer"]


def test_a_map_overrules_the_choice(tmp_path, unaltered):
    series = scanned_study()
    dixon_by_type(series)
    repeated_axial(series)
    root = write_all(tmp_path / "data", series)
    table = tmp_path / "map.csv"
    water = series["WATER"][0].SeriesInstanceUID
    rows = [f"1.2.0,{water},Sagittal T2", "1.2.0,1.2.0.1,Axial T2", "1.2.0,1.2.0.4,Axial T2"]
    table.write_text("\n".join(["study_id,series_id,series_description", *rows]) + "\n")
    study = read_study(find_dataset(root, series_map=table).studies[0])
    assert {h.series_id for h in study.volumes[SAGITTAL_T2].headers} == {water}
    assert len(study.volumes[AXIAL_T2]) == 50  # both were named: both are read
    assert_same_pictures(
        study,
        {
            SAGITTAL_T1: series[SAGITTAL_T1],
            SAGITTAL_T2: series["WATER"],
            AXIAL_T2: series[AXIAL_T2] + series["first"],
        },
    )
