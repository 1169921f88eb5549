"""Everything that ``evaluate.py`` computes, in the order of its flags."""

import argparse

from lumbar.faults import DataNotFoundError
from lumbar.grading.ensemble import weighted_mean
from lumbar.outputs.submission import SubmissionError
from lumbar.reading.listing import find_dataset
from training.data.cache import build_cache
from training.data.label_noise import write_contradicted
from training.data.labels import (
    COORDINATES_FILE,
    GRADES_FILE,
    Grades,
    read_coordinates,
    read_grades,
    report_faults,
)
from training.data.study_headers import read_study_headers
from training.data.targets import place_targets
from training.errors import LabelError
from training.evaluation.ensemble_fit import Wanted, fit_ensemble
from training.evaluation.grade_figures import grading_figures, read_submitted_grades
from training.evaluation.members import member_figures, members_mean, read_members
from training.evaluation.metric import best_constant
from training.evaluation.phantom_bound import best_on_studies
from training.evaluation.point_figures import point_figures, point_table, read_found_points
from training.evaluation.text_and_plots import draw_evaluation
from training.json_files import write_strict_json

REFUSED = (LabelError, SubmissionError, DataNotFoundError, OSError)


def all_figures(options: argparse.Namespace) -> dict:
    """Compute the figures that the flags of ``evaluate.py`` request, write its files, and return the figures.

    Raises:
        LabelError, SubmissionError, DataNotFoundError, OSError: A file is missing or can't be used.
    """
    split = options.split or ("train" if (options.data / GRADES_FILE).is_file() else "test")
    grades = read_grades(options.data / GRADES_FILE.replace("train", split))
    figures = graded_figures(options, grades) if options.submission or options.members else {}
    table = None
    if options.points:
        found = read_found_points(options.points)  # first: decoding takes minutes
        source = find_dataset(options.data, split)
        decoded = build_cache(source, options.cache, 0) if options.cache else read_study_headers(source)
        coordinates, faults = read_coordinates(options.data / COORDINATES_FILE.replace("train", split))
        targets, more = place_targets(coordinates, decoded)
        report_faults([*decoded.faults, *faults, *more], strict=False)
        table = point_table(found, targets, decoded, grades)
        figures["points"] = point_figures(table)
    if options.json:
        write_strict_json(options.json, figures)
    if options.png:
        draw_evaluation(options.png, figures, table)
    return figures


def graded_figures(options: argparse.Namespace, grades: Grades) -> dict:
    """Return the figures of predictions and labels: the score and its terms, members, and the ensemble's fit."""
    prior = best_constant(grades.labels)
    studies, members = None, None
    if options.submission:
        studies, probabilities = read_submitted_grades(options.submission, grades)
    if options.members:
        studies, members = read_members(options.members, grades, studies)
        if not options.submission:
            probabilities = members_mean(members, prior)
    labels = grades.of(studies)
    figures = grading_figures(labels, probabilities, prior)
    if best := best_on_studies(options.data, studies, labels):
        figures["best_possible"] = best
    if members:
        figures["members"] = member_figures(labels, members, prior)
        wanted = Wanted(options.fit_weights, options.fit_calibration, options.by_level)
        if wanted.weights or wanted.calibration:
            figures["fit"] = fit_ensemble(labels, members, prior, wanted)
        if options.contradicted:
            mean = weighted_mean(list(members.values()), [1.0] * len(members))  # NaN where none graded
            figures["contradicted"] = write_contradicted(
                options.contradicted, studies, labels, mean, options.threshold
            )
    return figures
