"""Of several pictures of one place one is read, whatever they are of: the volumes are the unaltered study's."""

from collections.abc import Callable

import numpy as np
import pytest

from lumbar.faults import HEADER_REASONS
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import Study, read_study
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.dicom_writer import write
from tests.making.scanner_files import (
    Series,
    assert_same_pictures,
    enhanced_file,
    every,
    moved,
    noise,
    read_only_study,
    retold,
    scanned_study,
    set_pixels,
    write_all,
)


def kinds(series: Series, values: dict[str, str], **tags) -> None:
    """Add a series of noise beside the T2 for each ImageType value; the T2 itself gets the value "in"."""
    for number, (value, third) in enumerate(values.items(), start=20):
        type_ = ["ORIGINAL", "PRIMARY", third, value]
        series[value] = [
            retold(one, number, noise(one, number), ImageType=type_, **tags) for one in series[SAGITTAL_T2]
        ]


def dixon_by_type(series: Series) -> None:
    kinds(series, {"WATER": "DIXON", "FAT": "DIXON", "OUT_PHASE": "DIXON"}, SeriesDescription="t2_dixon_sag")
    for one in series[SAGITTAL_T2]:
        one.ImageType, one.SeriesDescription = ["ORIGINAL", "PRIMARY", "DIXON", "IN_PHASE"], "t2_dixon_sag"


def dixon_by_letters(series: Series) -> None:
    kinds(series, {"W": "W", "F": "F", "OP": "OP"}, SeriesDescription="T2W_mDIXON_TSE")
    for one in series[SAGITTAL_T2]:
        one.ImageType, one.SeriesDescription = ["ORIGINAL", "PRIMARY", "IP", "IP"], "T2W_mDIXON_TSE"


def dixon_by_text(series: Series) -> None:
    """GE and others: ImageType says nothing, each series' text what it is."""
    for number, text in enumerate(
        ("WATER: Sag T2 FLEX", "FAT: Sag T2 FLEX", "OutPhase: Sag T2 FLEX"), start=20
    ):
        series[text] = [
            retold(one, number, noise(one, number), SeriesDescription=text, ProtocolName="Sag T2 FLEX")
            for one in series[SAGITTAL_T2]
        ]
    for one in series[SAGITTAL_T2]:
        one.SeriesDescription, one.ProtocolName = "InPhase: Sag T2 FLEX", "Sag T2 FLEX"


def dixon_in_one_series(series: Series) -> None:
    dixon_by_letters(series)
    for one in every({name: series[name] for name in "WF"}) + series["OP"]:
        one.SeriesInstanceUID, one.SeriesNumber = series[SAGITTAL_T2][0].SeriesInstanceUID, 3


def water_without_in_phase(series: Series) -> None:
    kinds(series, {"FAT": "DIXON", "OUT_PHASE": "DIXON"})
    for one in series[SAGITTAL_T2]:
        one.ImageType = ["DERIVED", "PRIMARY", "DIXON", "WATER"]


def fat_fraction_and_maps(series: Series) -> None:
    kinds(series, {"FF": "FF", "T2 MAP": "T2 MAP", "R2_STAR": "R2_STAR"})


def magnitude_and_phase(series: Series) -> None:
    kinds(series, {"P": "P", "R": "R", "I": "I"}, SeriesInstanceUID="1.2.0.3", SeriesNumber=3)


def phase_by_component(series: Series) -> None:
    series["phase"] = [
        retold(one, 20, noise(one), ComplexImageComponent="PHASE") for one in series[SAGITTAL_T2]
    ]


def phase_by_raw_data_type(series: Series) -> None:
    """GE's private tag alone says it."""
    series["phase"] = [retold(one, 0, noise(one)) for one in series[SAGITTAL_T2]]
    for value, slices in ((0, series[SAGITTAL_T2]), (1, series["phase"])):
        for one in slices:
            one.add_new(0x00430010, "LO", "GEMS_PARM_01")
            one.add_new(0x0043102F, "SS", value)


def phase_by_text(series: Series) -> None:
    series["phase"] = [
        retold(one, 20, noise(one), SeriesDescription="t2_tse_sag_Pha", ProtocolName="t2_tse_sag")
        for one in series[SAGITTAL_T2]
    ]


def three_echoes(series: Series) -> None:
    for echo in (20, 60, 160):
        series[echo] = [retold(one, 0, noise(one, echo), EchoTime=echo) for one in series[SAGITTAL_T2]]


def three_echoes_of_t1(series: Series) -> None:
    for echo in (45, 90):
        series[echo] = [retold(one, 0, noise(one, echo), EchoTime=echo) for one in series[SAGITTAL_T1]]


def repeated_later(series: Series) -> None:
    """The unaltered pictures are the second try; the first one's patient lay 2 mm off and a little turned."""
    first = [moved(one, (2.0, 1.0, 3.0), SeriesNumber=1, SeriesTime="0901") for one in series[SAGITTAL_T2]]
    for one in first:
        one.SeriesInstanceUID = "1.2.0.1"
        one.ImageOrientationPatient = [0.0, np.cos(0.05), -np.sin(0.05), 0.0, -np.sin(0.05), -np.cos(0.05)]
        set_pixels(one, noise(one))
    series["first"] = first


def repeated_axial(series: Series) -> None:
    series["first"] = [
        moved(one, (0.0, 0.0, 2.4), SeriesNumber=1, SeriesInstanceUID="1.2.0.1", SeriesTime="0901")
        for one in series[AXIAL_T2]
    ]


def broken_off_later(series: Series) -> None:
    """The second try was stopped after five slices: the complete one is read."""
    series["broken off"] = [retold(one, 20, noise(one)) for one in series[SAGITTAL_T2][:5]]


def repeated_in_one_series(series: Series) -> None:
    for one in series[SAGITTAL_T2]:
        one.AcquisitionNumber = 2
    series["first"] = [retold(one, 0, noise(one), AcquisitionNumber=1) for one in series[SAGITTAL_T2]]


def repeated_without_a_number(series: Series) -> None:
    """Nothing but the order of the instances tells the second time apart."""
    series["first"] = [retold(one, 0, noise(one)) for one in series[SAGITTAL_T2]]
    for one in series[SAGITTAL_T2]:
        one.InstanceNumber += 100


def repeated_without_times(series: Series) -> None:
    series["first"] = [
        retold(one, 0, noise(one), SeriesNumber=1, SeriesInstanceUID="1.2.0.1") for one in series[SAGITTAL_T2]
    ]
    for one in every(series):
        del one.SeriesTime


def derived_beside_original(series: Series) -> None:
    series["filtered"] = [
        retold(one, 20, noise(one), ImageType=["DERIVED", "SECONDARY", "M"]) for one in series[SAGITTAL_T2]
    ]


def sparse_localizer(series: Series) -> None:
    """Three slices 18 mm apart, between the others, without a telling name."""
    series["planning"] = [
        moved(one, (1.9, 0, 0), SeriesNumber=30, SeriesInstanceUID="1.2.0.30", SeriesTime="1130")
        for one in series[SAGITTAL_T2][1::4]
    ]


def with_station(series: Series, by: float, descriptions=(SAGITTAL_T2,), **tags) -> None:
    """Add stations so many mm further up, with more slices than the others."""
    for number, description in enumerate(descriptions, start=40):
        slices = series[description]
        extra = [moved(slices[0], (-4.4, 0, by), InstanceNumber=50)]
        series[description, by] = [moved(one, (0, 0, by)) for one in slices] + extra
        for one in series[description, by]:
            one.SeriesNumber, one.SeriesInstanceUID = number, f"1.2.0.{number}.{abs(by):.0f}"
            for keyword, value in tags.items():
                setattr(one, keyword, value)


def station_above(series: Series) -> None:
    with_station(series, 250)


def station_below(series: Series) -> None:
    """A pelvis: the lowest station is not the one that the axial series shows."""
    with_station(series, -250)


def three_stations_of_all(series: Series) -> None:
    """Both weightings of the whole spine, axial slices of the lumbar spine alone."""
    with_station(series, 230, (SAGITTAL_T1, SAGITTAL_T2))
    with_station(series, 460, (SAGITTAL_T1, SAGITTAL_T2))


def stations_with_cervical_axials(series: Series) -> None:
    with_station(series, 500, (SAGITTAL_T1, SAGITTAL_T2))
    series["neck"] = [moved(one, (0, 0, 500)) for one in series[AXIAL_T2][4:12]]


def stations_in_one_series(series: Series) -> None:
    with_station(series, 250, SeriesNumber=3, SeriesInstanceUID="1.2.0.3")


def brain_in_one_study(series: Series) -> None:
    """Axial slices of another part of the body, of which no text says so."""
    series["head"] = [
        moved(one, (0, 0, 700), SeriesNumber=50, SeriesInstanceUID="1.2.0.50") for one in series[AXIAL_T2]
    ]


SAME: tuple[Callable[[Series], None], ...] = (
    *(dixon_by_type, dixon_by_letters, dixon_by_text, dixon_in_one_series, water_without_in_phase),
    *(fat_fraction_and_maps, magnitude_and_phase, phase_by_component, phase_by_raw_data_type, phase_by_text),
    *(three_echoes, three_echoes_of_t1, repeated_later, repeated_axial, broken_off_later),
    *(repeated_in_one_series, repeated_without_a_number, repeated_without_times, derived_beside_original),
    *(sparse_localizer, station_above, station_below, three_stations_of_all, stations_with_cervical_axials),
    *(stations_in_one_series, brain_in_one_study),
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
