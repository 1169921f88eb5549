"""Labelled coordinates as if a detector had found them: a classifier's crops without any detector."""

from lumbar.sites import DESCRIPTIONS
from training.classifier_data import SitePoints
from training.materials import Materials
from training.points import labelled_points
from training.stage2 import PointsByStudy

LONGEST = 192  # slices; no volume is squeezed


def true_points(materials: Materials) -> PointsByStudy:
    """Return the labelled points by study and description, of volumes whose sites are all labelled.

    Other volumes are left out, and so count as missing: their crops are zero and their grades unknown.
    """
    points: PointsByStudy = {study: {} for study in materials.study_ids}
    for description in DESCRIPTIONS:
        found = labelled_points(materials.targets, description, LONGEST)
        for study, kinds in found.studies.items():
            if study in points:
                points[study][description] = SitePoints(kinds["fixed"], LONGEST)
    return points
