"""The second round of a recipe: labels that an earlier classifier's out-of-fold predictions contradict count less."""

import logging
from pathlib import Path

import numpy as np

from lumbar.grading.ensemble import weighted_mean
from lumbar.sites import MISSING
from training.data.label_noise import contradicted
from training.errors import LabelError
from training.fitting.classifier_step import PREDICTIONS, read_run_predictions
from training.recipes.schema import LabelNoise

log = logging.getLogger(__name__)


def chances_left_out(
    labels: np.ndarray, study_ids: list[str], noise: LabelNoise, classifiers: Path
) -> np.ndarray:
    """Return each label's chance per epoch of being left out, (n, 25): 0 where the named classifiers agree with it.

    Args:
        labels: Severities, -1 where missing.
        study_ids: The n studies that are trained on.
        noise: The recipe's option.
        classifiers: The run's folder of classifiers, with all folds of those that judge.

    Raises:
        LabelError: A study has no prediction.
    """
    judged = [predictions_by_study(classifiers / name) for name in noise.judged_by]
    for name, predictions in zip(noise.judged_by, judged, strict=True):
        if unknown := [study for study in study_ids if study not in predictions]:
            raise LabelError(
                f"{classifiers / name}: got no out-of-fold prediction of {len(unknown)} studies ({unknown[0]}, ...), "
                "expected one of each. Train all its folds first."
            )
    members = [np.stack([predictions[study] for study in study_ids]) for predictions in judged]
    wrong = contradicted(labels, weighted_mean(members, [1.0] * len(members)), noise.threshold)
    known = (labels != MISSING).sum()
    log.info("%d of %d labels are contradicted and have the weight %g", wrong.sum(), known, noise.weight)
    return np.where(wrong, 1 - noise.weight, 0.0)


def predictions_by_study(folder: Path) -> dict[str, np.ndarray]:
    """Return a classifier's probabilities (25, 3) of each study, from the fold that was not trained on it."""
    found = {}
    for file in sorted(folder.glob(f"fold*/{PREDICTIONS}")):
        predictions = read_run_predictions(file)
        found |= dict(zip(predictions.study_ids, predictions.probabilities, strict=True))
    return found
