"""How a trained run, or a bundle, does on the studies that a fold leaves out, from DICOM to score.

    python -m tests.benchmarks.unseen_studies --data DIR --run RUN
    python -m tests.benchmarks.unseen_studies --data DIR --bundle . --recipe nfn_small

The first exports RUN. Then ``kernel/infer.py`` grades the studies that the first fold of RUN, or of the recipe, leaves
out, and ``kernel/evaluate.py`` evaluates them. Points are found, not labelled, and crops are those of inference. The
second never trains: it measures any bundle on the studies on which a run of the recipe is measured.
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
from training.fitting.run_file import RUN_FILE, recipe_identity
from training.recipes.reading import read_recipe

TABLES = (COORDINATES_FILE, "train_series_descriptions.csv")


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.unseen_studies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the folder that RUN was trained on")
    add("--run", type=Path, metavar="RUN", help="a finished run of train.py")
    add("--bundle", type=Path, help="a bundle instead of --run")
    add("--recipe", help="with --bundle: the recipe whose first fold leaves the studies out")
    add("--studies", type=int, help="how many of them, in the order of train.csv (default: all)")
    add("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    if bool(options.run) == bool(options.bundle) or bool(options.bundle) != bool(options.recipe):
        parser.error("expected --run, or --bundle and --recipe")
    if options.run:
        recipe = json.loads((options.run / RUN_FILE).read_text())["recipe"]
    else:
        recipe = recipe_identity(read_recipe(options.recipe))["recipe"]
    studies = held_out_studies(options.data, recipe)[: options.studies]
    with tempfile.TemporaryDirectory() as scratch:
        bundle = options.bundle or Path(scratch) / "bundle"
        if options.run:
            call("train.py", "export", options.run, "--out", bundle, "--trained-on", options.data)
        return judge(options.data, studies, bundle, Path(scratch), options.json)


def judge(data: Path, studies: list[str], bundle: Path, scratch: Path, figures: Path | None) -> dict:
    """Grade the studies and evaluate, in ``scratch``; print the evaluation and return it."""
    shown, dump = scratch / "data", scratch / "dump"
    submission, figures = scratch / "submission.csv", figures or scratch / "figures.json"
    lay_out(data, set(studies), shown)
    # Without --max-fallback-share a data set of one description ends with status 3.
    answer = ("--out", submission, "--dump", dump, "--max-fallback-share", 1)
    call("infer.py", "--data", shown, "--bundle", bundle, *answer)
    call(
        *("evaluate.py", "--data", shown, "--submission", submission),
        *("--points", dump / "points.csv", "--members", dump / "members.csv", "--json", figures),
    )
    return json.loads(figures.read_text())


def held_out_studies(data: Path, recipe: dict) -> list[str]:
    """Return the studies that a recipe's first fold is validated on, in the order of ``train.csv``."""
    folder = data / "train_images"
    studies = tuple(s for s in read_grades(data / GRADES_FILE).study_ids if (folder / s).is_dir())
    folds = study_folds(studies, recipe["fold_count"], recipe["fold_seed"])
    return [study for study in studies if folds[study] == recipe["folds"][0]]


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
