"""A doubt about a study's points: the reasons, their limits, and how many findings of a kind become one flag."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from lumbar.grading.patient_points import FARTHEST_LEVELS, NEAREST_LEVELS
from lumbar.sites import SITE_NAMES, SITES, site_words

SIDES_APART = 5.0  # mm; labelled foramina are about 30 apart, recesses 11 to 18
MIDLINE = 10.0  # mm between the canal and the middle of left and right; labelled: up to 6
LEVEL_HEIGHT = 15.0  # mm between series at one level, half a level; labelled: up to 8
DETECTORS_APART = 10.0  # mm
OVERRULED = 10.0  # mm

FLAG_REASONS = {
    "no_geometry": "slices have no place in the patient: left and right rest on their order alone,"
    " and no distance can be checked",
    "level_order": "a level does not lie below the one above it",
    "level_distance": f"neighbouring levels are nearer than {NEAREST_LEVELS:g} or farther than {FARTHEST_LEVELS:g} mm",
    "level_overruled": f"a point was moved by more than {OVERRULED:g} mm to fit the other levels",
    "side_swapped": "the left point lies on the patient's right of the right point: a mirrored series?",
    "sides_together": f"left and right are less than {SIDES_APART:g} mm apart: one side found twice?",
    "midline_off": f"the middle of left and right is more than {MIDLINE:g} mm from the canal: a mirrored series,"
    " or the patient moved",
    "shifted_level": "one series has all levels about one level off the others: a disc counted wrongly?",
    "transitional_vertebra": "the axial levels are those of the sagittal series but for one: six discs were found,"
    " because of a transitional vertebra or a disc counted wrongly",
    "levels_disagree": f"a level's height differs by more than {LEVEL_HEIGHT:g} mm between series",
    "detectors_disagree": f"detectors place the same site more than {DETECTORS_APART:g} mm apart",
    "black_place": "the point lies in air or in padding",
}


class Flag(NamedTuple):
    """One doubt: ``reason`` of FLAG_REASONS, the finding in words, and the worst figure in ``unit``."""

    reason: str
    message: str
    figure: float
    unit: str
    detector: str  # "" where it is about none alone
    sites: tuple[str, ...]


def flag_worst(
    reason: str,
    unit: str,
    where: tuple[str, str],
    found: list[tuple[float, tuple[str, ...]]],
    badness: Callable[[float], float] = float,
) -> Iterator[Flag]:
    """Yield one flag for all findings of a kind, with the worst figure; none without a finding.

    Args:
        reason: Key of FLAG_REASONS.
        unit: Of the figures.
        where: Detector, and the series or direction that was checked.
        found: Figures, each with its sites.
        badness: Orders figures; the worst has the largest.
    """
    if not found:
        return
    figure, sites = max(found, key=lambda item: badness(item[0]))
    words = [site_words(SITES[SITE_NAMES.index(name)]) for name in sites]
    message = f"{': '.join(where)}: {figure:.0f} {unit} at {' and '.join(words)}"
    if len(found) > 1:
        message += f", and {len(found) - 1} more"
    all_sites = dict.fromkeys(site for _, names in found for site in names)
    yield Flag(reason, message, float(figure), unit, where[0], tuple(all_sites))
