"""Predictions and labels in; score, AUC, calibration, point errors and pictures out.

    python kernel/evaluate.py --data DIR --submission submission.csv
    python kernel/evaluate.py --data DIR --points dump/points.csv
    python kernel/evaluate.py --data DIR --submission submission.csv --points dump/points.csv \\
        --members dump/members.csv --fit-weights --json figures.json --png figures.png
    python kernel/evaluate.py --data DIR --members RUN/members.csv --fit-weights --fit-calibration --json fit.json
    python build_dataset.py calibrate BUNDLE --with fit.json
    python kernel/evaluate.py --data DIR --members RUN/members.csv --contradicted labels.csv

The official score is the mean of three weighted log losses and the any-severe term; "score" in the JSON. A
term without a label is left empty, and so is then the score.
"""

import argparse
import sys
from pathlib import Path

from lumbar.command_line import add_shared_flags, start_logging, write_any_text

EXIT_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 and the number of SIGINT


def share(text: str) -> float:
    """Return a number of 0 to 1 from the command line."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected 0 to 1")
    return value


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_shared_flags(parser)
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
        help="submission.csv of infer.py, of which only labelled studies count (default: the mean of --members). "
        "--points alone needs none",
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
        help="with --members: fit the weights of two or more classifiers; judged across folds",
    )
    add(
        "--fit-calibration",
        action="store_true",
        help="with --members, out of fold: fit the calibration of their mean; judged across folds",
    )
    add("--by-level", action="store_true", help="with --fit-calibration: each level has its own")
    add(
        "--contradicted",
        type=Path,
        metavar="FILE.csv",
        help="with --members, out of fold: list the labels that their mean contradicts",
    )
    add(
        "--threshold",
        type=share,
        default=0.8,
        help="of --contradicted: label - probability (default: %(default)s)",
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
    if not (options.submission or options.members or options.points):
        parser.error("expected --submission, --members or --points")
    if options.png and not (options.submission or options.members):
        parser.error("--png: expected --submission or --members as well")
    for flag, needed in (
        ("fit_weights", "members"),
        ("fit_calibration", "members"),
        ("by_level", "fit_calibration"),
        ("contradicted", "members"),
    ):
        if getattr(options, flag) and not getattr(options, needed):
            parser.error(f"--{flag.replace('_', '-')}: expected --{needed.replace('_', '-')} as well")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Evaluate and print; 2 for input that can't be used, with one line that gives the reason."""
    write_any_text()
    options = parse(arguments)
    start_logging(options.log_level, "%(levelname)s %(message)s")
    try:
        return evaluate(options)
    except KeyboardInterrupt:
        print("\nevaluate.py: interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


def evaluate(options: argparse.Namespace) -> int:
    """Import the libraries, which take seconds and which ``--help`` does not need; evaluate and print."""
    from training.evaluation.all_figures import REFUSED, all_figures
    from training.evaluation.text_and_plots import evaluation_text

    try:
        print(evaluation_text(all_figures(options)))
    except REFUSED as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return EXIT_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
