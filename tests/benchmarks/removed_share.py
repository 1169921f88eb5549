"""The share of the constant's loss that a run's classifiers remove on the studies left out, and what points cost.

    python -m tests.benchmarks.removed_share --data DIR --run RUN

RUN is a finished run of a recipe such as ``nfn_plus``: classifiers that end in -1, -2, ... are one variant in several
seeds, and a single condition has crops. ``kernel/infer.py`` grades the studies that the first fold leaves out at the
points that each detector finds. RUN/members.csv has their grades at the labelled points. The studies are halved, every
second one in the order of train.csv: a calibration is fitted on one half, at the same points, and judged on the other.
The constant is the training studies' best.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path

import numpy as np

from lumbar.sites import CONDITION_SITES, MISSING
from tests.benchmarks.paired_differences import compare, lines
from tests.benchmarks.unseen_studies import call, held_out_studies, judge
from training.data.labels import GRADES_FILE, read_grades
from training.evaluation.ensemble_fit import best_calibration
from training.evaluation.members import Members, completed, members_mean, read_members
from training.evaluation.metric import best_constant, grade_log_loss
from training.fitting.run_file import RUN_FILE
from training.json_files import write_strict_json

SEED = re.compile(r"-\d+$")  # at the end of a classifier's name
PLACES = ("labelled", "found")
HALVES = {"first half": slice(0, None, 2), "second half": slice(1, None, 2), "all": slice(None)}


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.removed_share",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the folder that RUN was trained on")
    add("--run", type=Path, required=True, metavar="RUN", help="a finished run of train.py")
    add("--condition", choices=CONDITION_SITES, default="foraminal", help="default: %(default)s")
    add("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    recipe = json.loads((options.run / RUN_FILE).read_text())["recipe"]
    studies, grades = tuple(held_out_studies(options.data, recipe)), read_grades(options.data / GRADES_FILE)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        call("train.py", "export", options.run, "--out", bundle, "--trained-on", options.data)
        judge(options.data, list(studies), bundle, Path(scratch), None)
        files = dict(zip(PLACES, (options.run, Path(scratch) / "dump"), strict=True))
        members = {
            place: read_members(folder / "members.csv", grades, studies)[1] for place, folder in files.items()
        }
    prior = best_constant(grades.of([study for study in grades.study_ids if study not in set(studies)]))
    result = removed_shares(grades.of(studies), members, prior, options.condition)
    for name, comparison in result["shares"].items():
        print("\n".join(lines(name, comparison)))
    print("the constant's loss: " + ", ".join(f"{k} {v:.3f}" for k, v in result["constant"].items()))
    if options.json:
        write_strict_json(options.json, result)
    return result


def removed_shares(
    labels: np.ndarray, members: dict[str, Members], prior: np.ndarray, condition: str
) -> dict:
    """Return the shares that are removed, by detector and variant, of one member and of the mean of all seeds.

    Args:
        labels: (n, 25) of the studies left out, -1 where missing.
        members: Probabilities of each member at the labelled and at the found points.
        prior: (25, 3), the constant. It also stands for sites that a member did not grade.
        condition: The condition that is judged.

    Returns:
        "constant": its loss by half. "shares": comparisons of found with labelled points, by half.
    """
    sites = CONDITION_SITES[condition]
    own = np.full_like(labels, MISSING)
    own[:, sites] = labels[:, sites]
    constant = np.broadcast_to(prior, (*labels.shape, 3))
    shares = {}
    for detector, variant in dict.fromkeys((d, SEED.sub("", c)) for d, c in members["found"]):
        # A run's own grades are at the labelled points, whichever detector its recipe names.
        found = {key: p for key, p in members["found"].items() if key[0] == detector}
        seeds = {"labelled": of_variant(members["labelled"], variant), "found": of_variant(found, variant)}
        one = {place: [completed(p, prior) for p in known.values()] for place, known in seeds.items()}
        mean = {place: [members_mean(known, prior)] for place, known in seeds.items()}
        for words, each in (("one member", one), (f"mean of {len(one['found'])}", mean)):
            for end, change in (("", lambda p: p), (", calibrated", lambda p: across_halves(own, p))):
                figures = {
                    place: [removed(own, change(p), constant) for p in known] for place, known in each.items()
                }
                shares[f"{variant} at {detector}, {words}{end}"] = compare(figures, tuple(HALVES))
    losses = {name: grade_log_loss(own[half], constant[half]) for name, half in HALVES.items()}
    return {"constant": losses, "shares": shares}


def of_variant(members: Members, variant: str) -> Members:
    return {key: p for key, p in members.items() if SEED.sub("", key[1]) == variant}


def removed(labels: np.ndarray, probabilities: np.ndarray, constant: np.ndarray) -> dict[str, float]:
    """Return by half the share of the constant's loss that probabilities (n, 25, 3) remove."""
    return {
        name: 1
        - grade_log_loss(labels[half], probabilities[half]) / grade_log_loss(labels[half], constant[half])
        for name, half in HALVES.items()
    }


def across_halves(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return probabilities (n, 25, 3), each half by the calibration that fits the other half best."""
    halves = HALVES["first half"], HALVES["second half"]
    result = np.empty_like(probabilities)
    for half, other in (halves, halves[::-1]):
        fitted = best_calibration(labels[other], probabilities[other], by_level=False)
        result[half] = fitted.apply(probabilities[half])
    return result


if __name__ == "__main__":
    main()
