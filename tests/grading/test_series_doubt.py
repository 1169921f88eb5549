"""A point in another series than the levels beside it is found, and no other."""

from dataclasses import replace

import pytest

from lumbar.grading.doubt import doubtful_sites
from lumbar.grading.series_doubt import sites_in_other_series
from lumbar.grading.study_record import record_graded
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, SITE_NAMES
from tests.making.report_studies import graded_study

FIRST = DESCRIPTION_SITES[AXIAL_T2].start


def study_of_two_stacks(reach: float = 1.0):
    """Return a study with every other axial slice in a second series, and all points in the first one.

    Args:
        reach: Share of the slices, from the lowest on, that the first series has.
    """
    study, graded = graded_study(0, ("fixed",))
    volume = study.volumes[AXIAL_T2]
    last = reach * len(volume)
    series = ["first" if z % 2 == 0 and z < last else "second" for z in range(len(volume))]
    headers = [replace(header, series_id=one) for header, one in zip(volume.headers, series, strict=True)]
    study.volumes[AXIAL_T2] = replace(volume, headers=tuple(headers))
    points = graded.detections["fixed"].points[AXIAL_T2].points
    points[:, :, 0] -= points[:, :, 0] % 2
    return study, graded, points


@pytest.mark.parametrize("site", range(10))
def test_one_point_in_the_other_stack_is_found(site):
    study, graded, points = study_of_two_stacks()
    assert sites_in_other_series(study.volumes, graded.detections) == set()
    points[site, :, 0] += 1
    name = SITE_NAMES[FIRST + site]
    assert name in sites_in_other_series(study.volumes, graded.detections)
    assert "other_series" in record_graded(study, graded, [], []).doubts[name]


def test_stacks_that_take_turns_raise_no_doubt():
    """Each half of the levels in a stack of its own, and a stack that does not reach the level."""
    study, graded, points = study_of_two_stacks()
    for site in (0, 1, 5, 6):
        points[site, :, 0] += 1
    assert sites_in_other_series(study.volumes, graded.detections) == set()
    study, graded, points = study_of_two_stacks(reach=0.8)
    above = [site for site in (0, 5) if points[site, 2, 0] >= 0.8 * len(study.volumes[AXIAL_T2])]
    assert above  # the highest level lies in the second series, because the first one ends below it
    assert sites_in_other_series(study.volumes, graded.detections) == set()


def test_one_series_and_lost_geometry_raise_no_doubt():
    study, graded = graded_study(0)
    assert sites_in_other_series(study.volumes, graded.detections) == set()
    study, graded, points = study_of_two_stacks()
    points[2, :, 0] += 1
    volume = study.volumes[AXIAL_T2]
    headers = tuple(replace(header, position=None) for header in volume.headers)
    study.volumes[AXIAL_T2] = replace(volume, headers=headers)
    assert sites_in_other_series(study.volumes, graded.detections) == set()


def test_the_reason_joins_the_others():
    _, graded = graded_study(0)
    name = SITE_NAMES[FIRST]
    plain = doubtful_sites(graded.probabilities, graded.members)
    found = doubtful_sites(graded.probabilities, graded.members, {name})
    assert found[name] == (*plain.get(name, ()), "other_series")
    assert {site: reasons for site, reasons in found.items() if site != name} == {
        site: reasons for site, reasons in plain.items() if site != name
    }
