"""Predictions against labels: score, AUC and calibration, and the loss of each site."""

from pathlib import Path

import numpy as np

from lumbar.outputs.submission import read_submission
from lumbar.sites import CONDITION_SITES, MISSING, SEVERITIES, SITE_NAMES, SITES
from training.data.labels import Grades
from training.errors import LabelError
from training.evaluation.metric import (
    calibration,
    grade_log_loss,
    score,
    severity_auc,
)


def read_submitted_grades(file: Path, grades: Grades) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the graded studies of a submission and their probabilities (n, 25, 3).

    Raises LabelError if no study has grades, or a study lacks a row.
    """
    row_ids, rows = read_submission(file)
    by_id = dict(zip(row_ids, rows, strict=True))
    first, known = f"_{SITE_NAMES[0]}", set(grades.study_ids)
    studies = tuple(
        r.removesuffix(first) for r in row_ids if r.endswith(first) and r.removesuffix(first) in known
    )
    if not studies:
        raise LabelError(f"{file}: got no study of the labels, expected at least one; check --data")
    missing = [f"{s}_{name}" for s in studies for name in SITE_NAMES if f"{s}_{name}" not in by_id]
    if missing:
        raise LabelError(
            f"{file}: got no row {missing[0]} ({len(missing)} missing), expected 25 rows a study"
        )
    return studies, np.array([[by_id[f"{s}_{name}"] for name in SITE_NAMES] for s in studies])


def grading_figures(labels: np.ndarray, probabilities: np.ndarray, prior: np.ndarray) -> dict:
    """Return the score, its terms, the same of the prior, AUC, calibration, and each site's figures.

    Args:
        labels: (n, 25) of the predicted studies.
        probabilities: (n, 25, 3) of them.
        prior: (25, 3), the constant to compare with.
    """
    return {
        **score(labels, probabilities),
        "prior": score(labels, np.broadcast_to(prior, probabilities.shape)),
        "studies": len(labels),
        "labels": int((labels != MISSING).sum()),
        "auc": severity_auc(labels, probabilities),
        "calibration": {
            condition: severity_calibration(labels[:, sites], probabilities[:, sites])
            for condition, sites in CONDITION_SITES.items()
        },
        "sites": {
            site.name: site_figures(labels[:, site.index], probabilities[:, site.index]) for site in SITES
        },
    }


def severity_calibration(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, dict]:
    known = labels != MISSING
    return {
        name: calibration(labels[known] == severity, probabilities[known][:, severity])
        for severity, name in enumerate(SEVERITIES)
    }


def site_figures(labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """Return one site's loss, labels of each severity, and the loss of the rows of each severity."""
    counts = [int((labels == severity).sum()) for severity in range(len(SEVERITIES))]
    by_severity = {
        name: grade_log_loss(np.where(labels == severity, labels, MISSING), probabilities)
        for severity, name in enumerate(SEVERITIES)
    }
    return {"loss": grade_log_loss(labels, probabilities), "counts": counts, "loss_by_severity": by_severity}
