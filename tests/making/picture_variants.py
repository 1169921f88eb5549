"""Ways in which a study shows a place several times, in several kinds of picture, or other parts of the body."""

from collections.abc import Callable

import numpy as np

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.scanner_files import Series, every, moved, noise, retold, set_pixels


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
    """GE and others: the kind of picture is in each series' text alone, not in ImageType."""
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
    """The kind of picture is in GE's private tag alone."""
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
    """Nothing but the order of the instances separates the second time."""
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
    """Three slices 18 mm apart, between the others, without the name of a localizer."""
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
    """Axial slices of another part of the body, which no text names."""
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
