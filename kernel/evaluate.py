"""Predictions and labels in; score, AUC, calibration, point errors and pictures out.

    python kernel/evaluate.py --data DIR --submission submission.csv
    python kernel/evaluate.py --data DIR --submission submission.csv --points dump/points.csv \\
        --members dump/members.csv --fit-weights --json figures.json --png figures.png
    python kernel/evaluate.py --data DIR --members RUN/members.csv --fit-weights

The official score is the mean of three weighted log losses and the any-severe term; "score" in the JSON. A
term without a label is left empty, and so is then the score.
"""

import argparse
import sys
from pathlib import Path

from lumbar.faults import DataNotFoundError
from lumbar.outputs.submission import SubmissionError
from lumbar.reading.listing import find_dataset
from training.data.cache import build_cache
from training.data.labels import COORDINATES_FILE, GRADES_FILE, read_coordinates, read_grades, report_faults
from training.data.study_headers import read_study_headers
from training.data.targets import place_targets
from training.errors import LabelError
from training.evaluation.grade_figures import grading_figures, read_submitted_grades
from training.evaluation.member_weights import fit_weights, member_figures, members_mean, read_members
from training.evaluation.phantom_bound import best_on_studies
from training.evaluation.point_figures import point_figures, point_table, read_found_points
from training.evaluation.text_and_plots import draw_evaluation, evaluation_text
from training.json_files import write_strict_json


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        required=True,
        help="folder with the labels, train.csv; with --points also coordinates and images",
    )
    add(
        "--submission",
        type=Path,
        help="submission.csv of infer.py; only labelled studies count (default: the mean of --members)",
    )
    add("--points", type=Path, help="points.csv of infer.py --dump: errors of the detectors' points")
    add(
        "--members",
        type=Path,
        help="members.csv of infer.py --dump or of a training run: each member's score",
    )
    add(
        "--fit-weights",
        action="store_true",
        help="with --members: fit the weights of two or more classifiers, cross-checked",
    )
    add(
        "--split",
        choices=("test", "train"),
        help="which tables and images: {split}.csv, ...; default: train if it is there",
    )
    add("--cache", type=Path, help="with --points: decoded studies, kept there (default: read anew)")
    add("--json", type=Path, help="write all figures to this file")
    add("--png", type=Path, help="write calibration and point errors as a picture")
    options = parser.parse_args(arguments)
    if not (options.submission or options.members):
        parser.error("expected --submission, --members or both")
    if options.fit_weights and not options.members:
        parser.error("--fit-weights: expected --members as well")
    return options


def evaluate(options: argparse.Namespace) -> dict:
    """Compute everything that was asked for, write the files, and return the figures."""
    split = options.split or ("train" if (options.data / GRADES_FILE).is_file() else "test")
    grades = read_grades(options.data / GRADES_FILE.replace("train", split))
    studies = None
    if options.submission:
        studies, probabilities = read_submitted_grades(options.submission, grades)
    if options.members:
        studies, members = read_members(options.members, grades, studies)
    if not options.submission:
        probabilities = members_mean(members)
    labels = grades.of(studies)
    figures = grading_figures(labels, probabilities, grades.labels)
    if best := best_on_studies(options.data, studies, labels):
        figures["best_possible"] = best
    if options.members:
        figures["members"] = member_figures(labels, members)
        if options.fit_weights:
            figures["weights"] = fit_weights(labels, members)
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


def main(arguments: list[str] | None = None) -> int:
    """Evaluate and print; 2 for input that can't be used, with one line saying why."""
    options = parse(arguments)
    try:
        print(evaluation_text(evaluate(options)))
    except (LabelError, SubmissionError, DataNotFoundError, OSError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
