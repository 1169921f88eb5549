"""A card per site: its probabilities, its crops and the members' probabilities."""

from dataclasses import dataclass

import numpy as np

from lumbar.grading.patient_points import Places
from lumbar.outputs.report.display_text import GROUP_ORDER, is_ungraded, millimetres
from lumbar.outputs.report.frequencies import frequencies
from lumbar.outputs.report.members import SiteMembers, site_members
from lumbar.outputs.report.result import Result
from lumbar.sites import DESCRIPTION_SITES, SITES, Site


@dataclass(frozen=True)
class Crop:
    """One detector's crop of a site.

    Attributes:
        detector: The detector's name.
        picture: A strip of five slices as a data: URI; "" if it is left out.
        where: The point's place in words; None if the detector lacks the site's description.
        value: Of the heatmap at the point.
    """

    detector: str
    picture: str
    where: str | None
    value: float


@dataclass(frozen=True)
class SiteCard:
    """One site's card.

    Attributes:
        probabilities: (3,) made for the metric; None at a site that was not graded.
        frequencies: (3,) of severities at sites with such probabilities; None without a calibration.
    """

    site: Site
    probabilities: np.ndarray | None
    frequencies: np.ndarray | None
    crops: tuple[Crop, ...]
    members: SiteMembers | None


def site_cards(
    result: Result, places: dict[str, dict[str, Places]], crops: dict[str, list[str]], calibrated: bool
) -> list[tuple[str, list[SiteCard]]]:
    """Return the cards of each group, in the order of the pages.

    Args:
        crops: 25 pictures by detector; without the detectors that are left out.
        calibrated: Whether the probabilities are calibrated, so that the cards have frequencies.
    """

    def card(site: Site) -> SiteCard:
        row = None if result.probabilities is None else result.probabilities[site.index]
        shown = tuple(site_crop(site, name, seen, crops.get(name)) for name, seen in places.items())
        probabilities = None if row is None or is_ungraded(row) else row
        often = frequencies(probabilities) if calibrated and probabilities is not None else None
        return SiteCard(site, probabilities, often, shown, site_members(site, result))

    return [(group, [card(site) for site in SITES if site.group == group]) for group in GROUP_ORDER]


def site_crop(site: Site, detector: str, seen: dict[str, Places], strip: list[str] | None) -> Crop:
    """Return a detector's crop of a site and where its point lies in the patient, if the slices have a geometry."""
    if site.description not in seen:
        return Crop(detector, "", None, 0.0)
    found, row = seen[site.description], site.index - DESCRIPTION_SITES[site.description].start
    where = f"slice {found.slices[row] + 1}"
    if not np.isnan(found.patient[row]).any():
        where += f" · {millimetres(found.patient[row])}"
    return Crop(detector, strip[site.index] if strip else "", where, float(found.values[row]))
