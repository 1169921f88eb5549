"""Are the report's frequencies the shares of the labels? Judged across folds of out-of-fold predictions.

    python -m tests.benchmarks.frequency_error --members DIR/members.csv --labels DIR/train.csv

Fits the calibration of the members' plain mean on four fifths of the studies and judges the others. Compared are the
probabilities that are made for the metric and the frequencies that the report shows beside them. The error is the mean
distance from the share of labels, in ten bins (``training/evaluation/metric.py``).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from lumbar.outputs.report.frequencies import frequencies
from lumbar.sites import CONDITION_SITES, MISSING, SEVERITIES, SITE_NAMES
from training.data.labels import read_grades
from training.evaluation.ensemble_fit import best_calibration
from training.evaluation.members import member_table
from training.evaluation.metric import calibration

FOLDS = 5


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.frequency_error",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--members", type=Path, required=True, help="out-of-fold members.csv")
    parser.add_argument("--labels", type=Path, required=True, help="grades of the same studies, as train.csv")
    options = parser.parse_args(arguments)
    labels, mean = read_mean(options.members, options.labels)
    print(text(labels, mean, calibrated_across_folds(labels, mean)))


def read_mean(members: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (n, 25) and the members' mean (n, 25, 3) of the studies that have a grade at every site."""
    grades = read_grades(labels)
    means = member_table(members).groupby(["study_id", "site"])[list(SEVERITIES)].mean()
    index = pd.MultiIndex.from_product([grades.study_ids, SITE_NAMES], names=["study_id", "site"])
    mean = means.reindex(index).to_numpy().reshape(-1, len(SITE_NAMES), len(SEVERITIES))
    whole = ~np.isnan(mean).any(axis=(1, 2))
    return grades.labels[whole], mean[whole]


def calibrated_across_folds(labels: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the mean calibrated by a fit on the studies of the other folds."""
    folds = np.random.default_rng(0).permutation(len(mean)) % FOLDS
    calibrated = np.empty_like(mean)
    for fold in range(FOLDS):
        fit = best_calibration(labels[folds != fold], mean[folds != fold], by_level=False)
        calibrated[folds == fold] = fit.apply(mean[folds == fold])
    return calibrated


def text(labels: np.ndarray, mean: np.ndarray, calibrated: np.ndarray) -> str:
    """Return a line per condition and severity."""
    kinds = {"mean": mean, "calibrated": calibrated, "frequencies": frequencies(calibrated)}
    lines = [
        f"{len(labels)} studies; in percent: mean, error",
        f"{'':24} labels " + " ".join(f"{kind:>13}" for kind in kinds),
    ]
    for condition, sites in CONDITION_SITES.items():
        known = labels[:, sites] != MISSING
        for severity, name in enumerate(SEVERITIES):
            truth = labels[:, sites][known] == severity
            figures = [f"{100 * truth.mean():6.1f}"]
            for probabilities in kinds.values():
                share = probabilities[:, sites][known][:, severity]
                error = calibration(truth, share)["error"]
                figures.append(f"{100 * share.mean():7.1f} {100 * error:5.1f}")
            lines.append(f"{condition + ' ' + name:24} {' '.join(figures)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
