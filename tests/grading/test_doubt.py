"""A site is doubtful where no severity reaches a half, and where the members deviate from each other."""

import numpy as np

from lumbar.grading.doubt import MEMBERS_APART, UNDECIDED, doubtful_sites, members_deviation
from lumbar.sites import SITE_NAMES

CLEAR = np.tile((0.8, 0.15, 0.05), (len(SITE_NAMES), 1))


def ensemble(*changed: tuple[int, int, tuple[float, float, float]]) -> dict[tuple[str, str], np.ndarray]:
    """Return four members that agree but for (member, site, probabilities)."""
    members = {(d, c): CLEAR.copy() for d in "ab" for c in "cd"}
    for member, site, row in changed:
        list(members.values())[member][site] = row
    return members


def test_a_clear_and_unanimous_study_has_no_doubt():
    assert doubtful_sites(CLEAR, ensemble()) == {}
    assert doubtful_sites(None, {}) == doubtful_sites(CLEAR, {}) == {}


def test_a_site_below_the_limit_is_undecided_and_one_on_it_is_not():
    rows = CLEAR.copy()
    rows[2], rows[9] = (UNDECIDED - 0.01, 0.3, 0.21), (UNDECIDED, 0.3, 0.2)
    assert doubtful_sites(rows, {}) == {SITE_NAMES[2]: ("undecided",)}


def test_the_deviation_is_the_sample_s_of_the_severity_on_which_members_differ_most():
    deviation = members_deviation(ensemble((0, 4, (0.2, 0.75, 0.05)), (1, 4, (0.7, 0.2, 0.1))))
    assert deviation[4] == np.std([0.75, 0.2, 0.15, 0.15], ddof=1) > MEMBERS_APART
    assert np.flatnonzero(deviation).tolist() == [4]
    assert not members_deviation({("a", "c"): CLEAR}).any()


def test_members_that_did_not_grade_a_site_are_left_out_of_its_deviation():
    members = ensemble((0, 4, (0.2, 0.75, 0.05)))
    for number, rows in enumerate(members.values()):
        rows[4] = np.nan if number > 1 else rows[4]
        rows[5] = np.nan if number > 0 else rows[5]
    deviation = members_deviation(members)
    assert deviation[4] == np.std([0.75, 0.15], ddof=1) and deviation[5] == 0


def test_both_reasons_can_hold_and_sites_without_grades_have_none():
    rows = CLEAR.copy()
    rows[0], rows[20] = (0.4, 0.3, 0.3), np.nan
    members = ensemble((0, 0, (0.0, 0.0, 1.0)), (3, 24, (0.1, 0.1, 0.8)))
    for member in members.values():
        member[20] = np.nan
    assert doubtful_sites(rows, members) == {
        SITE_NAMES[0]: ("undecided", "members_apart"),
        SITE_NAMES[24]: ("members_apart",),
    }
