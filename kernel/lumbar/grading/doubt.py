"""Sites with a grade that is wrong more often than others: undecided, members disagree, or a point in another series.

Share of wrong grades, and doubtful sites per study (``tests/benchmarks/disagreement.py``):

| sites | 200 phantoms, shipped bundle of 4 members | 1,975 real studies, 2 members of another solution |
|---|---|---|
| all | 19% | 16% |
| most probable severity below ``UNDECIDED`` | 54%, 3.4 per study | 54%, 1.0 per study |
| members' deviation from ``MEMBERS_APART`` on | 37%, 1.7 per study | 37%, 0.9 per study |
| any reason (real studies: of these two) | 46%, 4.5 per study | 46%, 1.7 per study |
| none | 13% | 14% |

A deviation beyond the limit is no surer sign: from 10% to 30% the share stays about the same.

A point in another series than the levels beside it is hardly a sign: 25% of 55 grades at such points are wrong, and 17%
of the 36 without another reason.
"""

from collections.abc import Container

import numpy as np

from lumbar.sites import SITE_NAMES

UNDECIDED = 0.5  # probability of the most probable severity
MEMBERS_APART = 0.15  # standard deviation of the members' probabilities of a severity
DOUBT_REASONS = {
    "undecided": f"no severity has a probability of {UNDECIDED:.0%}",
    "members_apart": f"the members' probabilities of a severity deviate by {MEMBERS_APART:.0%} or more",
    "other_series": "the point lies in another series than those of the levels beside it, which shows the site too",
}


def doubtful_sites(
    probabilities: np.ndarray | None,
    members: dict[tuple[str, str], np.ndarray],
    in_other_series: Container[str] = (),
) -> dict[str, tuple[str, ...]]:
    """Return the doubtful sites of a graded study and why each is doubtful, by reasons of DOUBT_REASONS.

    Args:
        probabilities: (25, 3) of the ensemble, NaN at sites that were not graded. None: no site was graded.
        members: (25, 3) by detector and classifier.
        in_other_series: Names of the sites with a point in another series than the levels beside it.
    """
    if probabilities is None:
        return {}
    undecided = probabilities.max(axis=1) < UNDECIDED  # not true of NaN
    apart = members_deviation(members) >= MEMBERS_APART
    stray = [name in in_other_series for name in SITE_NAMES]
    found = {}
    for name, *is_doubtful in zip(SITE_NAMES, undecided, apart, stray, strict=True):
        reasons = tuple(reason for reason, true in zip(DOUBT_REASONS, is_doubtful, strict=True) if true)
        if reasons:
            found[name] = reasons
    return found


def members_deviation(members: dict[tuple[str, str], np.ndarray]) -> np.ndarray:
    """Return the standard deviation of the members at each site, (25,), the largest of the three severities.

    It is 0 at a site that fewer than two members graded.
    """
    if len(members) < 2:
        return np.zeros(len(SITE_NAMES))
    graded = np.ma.masked_invalid(np.stack(list(members.values())))
    return graded.std(axis=0, ddof=1).filled(0).max(axis=1)
