"""Labelled coordinates as if a detector had found them: a classifier's crops without any detector."""

from lumbar.sites import DESCRIPTIONS
from training.data.classifier_dataset import SitePoints
from training.data.training_data import TrainingData
from training.fitting.out_of_fold_points import labelled_points
from training.fitting.train_classifier import PointsByStudy

LONGEST = 192  # slices; no volume is squeezed


def true_points(training_data: TrainingData) -> PointsByStudy:
    """Return the labelled points by study and description, of volumes with labels for all sites.

    Other volumes are left out, and so count as missing: their crops are zero and their grades unknown.
    """
    points: PointsByStudy = {study: {} for study in training_data.study_ids}
    for description in DESCRIPTIONS:
        found = labelled_points(training_data.targets, description, LONGEST)
        for study, kinds in found.studies.items():
            if study in points:
                points[study][description] = SitePoints(kinds["fixed"], LONGEST)
    return points
