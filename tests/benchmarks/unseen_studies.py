"""How a trained run does on the studies it was not trained on, from DICOM to score.

    python -m tests.benchmarks.unseen_studies --data DIR --run RUN

Exports RUN, grades the studies that its first fold leaves out with ``kernel/infer.py``, and evaluates them with
``kernel/evaluate.py``. Points are found, not labelled, and crops are those of inference.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.scaling import REPOSITORY, link_tree
from training.data.labels import COORDINATES_FILE, GRADES_FILE, read_grades, study_folds
from training.fitting.run_recipe import RUN_FILE

TABLES = (COORDINATES_FILE, "train_series_descriptions.csv")


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.unseen_studies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the folder that RUN was trained on")
    add("--run", type=Path, required=True, metavar="RUN", help="a finished run of train.py")
    add("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        return judge(options.data, options.run, Path(scratch), options.json)


def judge(data: Path, run: Path, scratch: Path, figures: Path | None) -> dict:
    """Export, grade and evaluate in ``scratch``; print the evaluation and return it."""
    shown, bundle, dump = scratch / "data", scratch / "bundle", scratch / "dump"
    submission, figures = scratch / "submission.csv", figures or scratch / "figures.json"
    lay_out(data, held_out_studies(data, run), shown)
    call("train.py", "export", run, "--out", bundle, "--trained-on", data)
    call("infer.py", "--data", shown, "--bundle", bundle, "--out", submission, "--dump", dump)
    call(
        *("evaluate.py", "--data", shown, "--submission", submission),
        *("--points", dump / "points.csv", "--members", dump / "members.csv", "--json", figures),
    )
    return json.loads(figures.read_text())


def held_out_studies(data: Path, run: Path) -> set[str]:
    """Return the studies that the run's first fold is validated on."""
    recipe = json.loads((run / RUN_FILE).read_text())["recipe"]
    folder = data / "train_images"
    studies = tuple(s for s in read_grades(data / GRADES_FILE).study_ids if (folder / s).is_dir())
    folds = study_folds(studies, recipe["fold_count"], recipe["fold_seed"])
    return {study for study, fold in folds.items() if fold == recipe["folds"][0]}


def lay_out(data: Path, studies: set[str], folder: Path) -> None:
    """Write a competition folder of these studies; the grades of all stay, for the prior is fitted on them."""
    for study in studies:
        link_tree(data / "train_images" / study, folder / "train_images" / study)
    (folder / GRADES_FILE).write_bytes((data / GRADES_FILE).read_bytes())
    for name in TABLES:
        with (data / name).open(newline="") as source, (folder / name).open("w", newline="") as target:
            rows = csv.DictReader(source)
            writer = csv.DictWriter(target, rows.fieldnames, lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row in rows if row["study_id"] in studies)


def call(script: str, *arguments) -> None:
    subprocess.run([sys.executable, REPOSITORY / "kernel" / script, *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
