"""A UID alone is no key: studies and series are separated by other tags as well."""

from collections.abc import Callable

import pytest

from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2
from tests.making.scanner_files import Series, every, read_only_study, retold, scanned_study, write_all
from tests.reading.test_picture_choice import assert_same_grids


@pytest.fixture(scope="module")
def unaltered(tmp_path_factory):
    return read_only_study(write_all(tmp_path_factory.mktemp("unaltered"), scanned_study()))[0]


def other_patient(**tags) -> Series:
    """Return another phantom under the first one's study UID."""
    series = scanned_study(1)
    for one in every(series):
        one.StudyInstanceUID = "1.2.0"
        for keyword, value in tags.items():
            setattr(one, keyword, value)
    return series


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"PatientID": "P0"},  # the names differ
        {"PatientID": "", "PatientName": "Other"},
        {"PatientID": "P0", "PatientName": "Phantom^0", "StudyDate": "20240101"},
        {"PatientID": "P0", "PatientName": "Phantom^0", "PatientBirthDate": "19700101"},
    ],
)
@pytest.mark.parametrize("shared_series", [False, True])
def test_two_patients_under_one_study_uid_are_two_studies(tmp_path, unaltered, tags, shared_series):
    first, second = scanned_study(), other_patient(**tags)
    for one in every(first):
        one.StudyDate, one.PatientBirthDate = "20230101", "19600101"
    for one in every(second) if shared_series else ():
        one.SeriesInstanceUID = one.SeriesInstanceUID.replace("1.2.1", "1.2.0")
    write_all(tmp_path / "a", first)
    write_all(tmp_path / "b", second)
    found = find_dataset(tmp_path)
    assert [study.study_id for study in found.studies] == ["1.2.0", "1.2.0-2"]
    studies = [read_study(ref) for ref in found.studies]
    assert_same_grids(next(s for s in studies if same_first_slice(s, unaltered)), unaltered)
    for study in studies:
        (fault,) = study.faults
        assert fault.reason == "shared_uid" and "PatientID" in fault.message and len(study.volumes) == 3


def same_first_slice(study, other) -> bool:
    return bool((study.volumes[AXIAL_T2].grid256[0] == other.volumes[AXIAL_T2].grid256[0]).all())


def names_spelled_otherwise(series: Series) -> None:
    for number, one in enumerate(every(series)):
        one.PatientName = ("Phantom^0", "PHANTOM 0", "0, Phantom")[number % 3]


def patient_in_some_files(series: Series) -> None:
    for one in every(series)[::2]:
        one.PatientID, one.PatientName = "", ""


def patient_id_of_each_file(series: Series) -> None:
    for number, one in enumerate(every(series)):
        one.PatientID = f"ANON{number}"


def one_series_uid(series: Series) -> None:
    for one in every(series):
        one.SeriesInstanceUID = "1.2.0.7"


def one_series_uid_and_number(series: Series) -> None:
    for one in every(series):
        one.SeriesInstanceUID, one.SeriesNumber = "1.2.0.7", 1


def one_series_uid_and_nothing_said(series: Series) -> None:
    """Echo time, plane and matrix alone separate the series."""
    one_series_uid_and_number(series)
    for one in every(series):
        one.SeriesDescription = one.ProtocolName = ""


def no_series_uid(series: Series) -> None:
    for one in every(series):
        del one.SeriesInstanceUID


def series_uid_of_each_file(series: Series) -> None:
    for number, one in enumerate(every(series)):
        one.SeriesInstanceUID = f"1.2.0.7.{number}"


def study_uid_of_each_file(series: Series) -> None:
    for number, one in enumerate(every(series)):
        one.StudyInstanceUID = f"1.2.0.{number}"


def one_sop_uid(series: Series) -> None:
    for one in every(series):
        one.SOPInstanceUID = "1.2.0.8"


def frame_of_reference_of_each_file(series: Series) -> None:
    for number, one in enumerate(every(series)):
        one.FrameOfReferenceUID = f"1.2.99.{number}"


def frame_of_reference_of_each_series(series: Series) -> None:
    for number, slices in enumerate(series.values()):
        for one in slices:
            one.FrameOfReferenceUID = f"1.2.99.{number}"


ALTERATIONS: tuple[Callable[[Series], None], ...] = (
    *(names_spelled_otherwise, patient_in_some_files, patient_id_of_each_file, one_series_uid),
    *(one_series_uid_and_number, one_series_uid_and_nothing_said, no_series_uid, series_uid_of_each_file),
    *(
        study_uid_of_each_file,
        one_sop_uid,
        frame_of_reference_of_each_file,
        frame_of_reference_of_each_series,
    ),
)


@pytest.mark.parametrize("alter", ALTERATIONS, ids=lambda alter: alter.__name__)
@pytest.mark.parametrize("flat", [False, True])
def test_one_patient_is_one_study_whatever_the_uids(tmp_path, unaltered, alter, flat):
    series = scanned_study()
    alter(series)
    root = write_all(tmp_path / "data", series)
    for number, path in enumerate(sorted(root.rglob("IM*")) if flat else ()):
        path.rename(root / f"{number:03d}")
    study, _ = read_only_study(root)
    assert_same_grids(study, unaltered)
    assert {fault.reason for fault in study.faults} <= {"same_number"}


def test_small_studies_of_several_patients_stay_apart(tmp_path):
    series = {
        n: [retold(one, StudyInstanceUID=f"1.3.{n}", PatientID=f"Q{n}")]
        for n, one in enumerate(scanned_study()[AXIAL_T2][:5])
    }
    assert len(find_dataset(write_all(tmp_path, series)).studies) == 5
