"""A study's record: it comes back from JSON as it was, or is refused by name."""

import json

import numpy as np
import pytest

from lumbar.faults import Fault
from lumbar.grading.flag import Flag
from lumbar.grading.point_search import Points
from lumbar.grading.study_record import VERSION, RecordError, StudyRecord, record_graded, record_ungraded
from lumbar.grading.time_limit import NO_MEMBERS, Plan
from lumbar.grids import squeeze
from lumbar.sites import DESCRIPTION_SITES, SAGITTAL_T1, SITE_NAMES
from tests.making.report_studies import graded_study


@pytest.fixture
def record() -> StudyRecord:
    study, graded = graded_study(0)
    graded.faults.append(Fault("a.dcm", "truncated", "a.dcm: got 3 bytes"))
    flags = [Flag("side_swapped", "swapped", -12.0, "mm", "fixed", (SITE_NAMES[5],))]
    return record_graded(study, graded, flags, [{"site": SITE_NAMES[0]}])


def as_json(record: StudyRecord) -> dict:
    return json.loads(json.dumps(record.to_json(), allow_nan=False))


def test_a_record_comes_back_from_json(record):
    back = StudyRecord.from_json(as_json(record))
    assert back.to_json() == record.to_json()
    np.testing.assert_array_equal(back.probabilities, record.probabilities)
    assert back.members.keys() == record.members.keys()
    for member, rows in record.members.items():
        np.testing.assert_array_equal(back.members[member], rows)
    assert (back.faults, back.flags, back.points) == (record.faults, record.flags, record.points)
    assert (back.plan, back.members_run) == (Plan(2, 2), 4)


def test_an_ungraded_study_comes_back(record):
    back = StudyRecord.from_json(as_json(record_ungraded("7", "reader_died", "it died")))
    assert back.probabilities is None and back.plan == NO_MEMBERS and back.faults[0].reason == "reader_died"


def test_without_details_it_says_the_same_of_the_grade(record):
    small = StudyRecord.from_json(as_json(record.without_details()))
    assert not (small.members or small.points or small.findings)
    assert (small.members_run, small.faults, small.flags) == (4, record.faults, record.flags)
    np.testing.assert_array_equal(small.probabilities, record.probabilities)


@pytest.mark.parametrize("version", [None, 1, VERSION + 1, "2"])
def test_another_version_is_refused_by_name(record, version):
    content = as_json(record) | {"version": version}
    with pytest.raises(RecordError, match=f"version {version}, expected version {VERSION}"):
        StudyRecord.from_json(content)


@pytest.mark.parametrize("key", ["study_id", "probabilities", "faults", "flags", "plan", "members", "points"])
def test_what_is_no_record_is_refused(record, key):
    content = as_json(record)
    for spoilt in (content | {key: 7}, {k: v for k, v in content.items() if k != key}):
        with pytest.raises(RecordError):
            StudyRecord.from_json(spoilt)


@pytest.mark.parametrize("length", [36, 32, 9])
def test_points_are_in_the_volumes_own_slices(length):
    """A point found on a squeezed volume lies where the squeeze took it from."""
    study, graded = graded_study(0, ("one",))
    volume = study.volumes[SAGITTAL_T1]
    marked = np.zeros((len(volume), 1, 1), np.float32)
    truth = len(volume) // 3
    marked[truth] = 1
    slices = min(length, len(volume))
    z = int(squeeze(marked, slices)[:, 0, 0].argmax())
    points = np.zeros((10, 5, 3), np.int64)
    points[..., 0] = z + np.arange(-2, 3)
    found = Points(points, np.ones((10, 5), np.float32), slices, "dynamic", 0)
    graded.detections["one"].points.clear()
    graded.detections["one"].points[SAGITTAL_T1] = found
    record = record_graded(study, graded, [], [])
    assert len(record.points) == 50
    assert {point.site for point in record.points} == set(SITE_NAMES[DESCRIPTION_SITES[SAGITTAL_T1]])
    for point in record.points:
        assert 0 <= point.slice <= len(volume) - 1
        if point.offset == 0:
            assert abs(point.slice - truth) <= 0.5 * len(volume) / slices
            assert isinstance(point.slice, int) == (slices == len(volume))
