"""A whole recipe, member after member: networks, points, classifiers, figures. Finished members are skipped.

A run's folder: ``networks/NAME/foldK``, ``points/NAME.npz``, ``classifiers/NAME/foldK``, ``members.csv``,
``faults.csv``, ``extra_studies/faults.csv``, ``run.json``.
"""

import logging
import time
from functools import partial
from pathlib import Path

import numpy as np

from lumbar.outputs.tables import MEMBER_COLUMNS, member_rows, open_table
from lumbar.run.summary import versions
from training.evaluation.metric import best_constant
from training.fitting.classifier_step import Predictions, grade_figures
from training.fitting.jobs import Engine, one_after_another, plan_jobs
from training.fitting.member_starts import ensemble_names
from training.fitting.ranks import from_first
from training.fitting.run_file import RUN_FILE, check_same_run, read_run, recipe_identity
from training.fitting.train_classifier import finished_predictions
from training.fitting.train_detector import TrainingSetup
from training.json_files import known_only, write_strict_json
from training.recipes.schema import ClassifierRecipe, NetworkRecipe, Recipe

log = logging.getLogger(__name__)


def run_recipe(
    recipe: Recipe,
    setup: TrainingSetup,
    out: Path,
    networks: tuple[NetworkRecipe, ...],
    classifiers: tuple[ClassifierRecipe, ...],
    engine: Engine = one_after_another,
) -> dict:
    """Train the unfinished members of a recipe; return the content of ``run.json``, which this process alone writes.

    Args:
        recipe: The recipe that the folder belongs to.
        setup: Data, device and starts.
        out: The run's folder.
        networks: Networks to train now, all of the recipe's or some.
        classifiers: Classifiers to train now. They need all networks but those with points from the labels.
        engine: Does the jobs and yields the figures of each as it is done.

    Raises:
        LabelError: The folder is another recipe's or other data's, or a network for the points is missing.
    """
    identity = recipe_identity(recipe) | {
        "data": setup.data.fingerprint,
        "extra_studies": setup.extra_data.fingerprint if setup.extra_data else None,
    }
    from_first(partial(check_same_run, out, identity))
    about = identity | environment(setup) | {"counts": setup.data.counts()}
    if setup.extra_data:
        about["extra_counts"] = setup.extra_data.counts()
    about["figures"] = before = from_first(partial(figures_so_far, out))
    about["prior"] = best_constant(setup.data.grades.labels).round(5).tolist()
    save = partial(from_first, partial(write_strict_json, out / RUN_FILE, about))
    save()
    folds = setup.data.folds(recipe.fold_count, recipe.fold_seed)
    jobs = plan_jobs(recipe, networks, classifiers, folds, out)
    done: dict[str, dict] = {}
    for name, figures in engine(jobs, setup):
        if figures is not None:
            done[name] = figures
            # In the order of the jobs, in whichever order they end.
            about["figures"] = before | {job.name: done[job.name] for job in jobs if job.name in done}
            save()
    about["figures"] |= from_first(partial(judge_ensemble, recipe, setup, out))
    save()
    return known_only(about)


def figures_so_far(out: Path) -> dict:
    return read_run(out)["figures"] if (out / RUN_FILE).is_file() else {}


def judge_ensemble(recipe: Recipe, setup: TrainingSetup, out: Path) -> dict:
    """Write the predictions of all finished classifiers, and return their mean's figures; none without a classifier."""
    predictions = all_predictions(recipe, out / "classifiers")
    if not predictions:
        return {}
    write_members(out / "members.csv", predictions)
    return {"ensemble": ensemble_figures(predictions, setup)}


def all_predictions(recipe: Recipe, folder: Path) -> dict[tuple[str, str], Predictions]:
    """Return the ensemble's finished predictions of the studies left out, whichever command trained the members."""
    members = ensemble_names({c.name: c.start_from for c in recipe.classifiers})
    last = [c for c in recipe.classifiers if c.name in members]
    names = [(c.detector, f"{c.name}/fold{fold}") for c in last for fold in recipe.folds]
    found = {(detector, name): finished_predictions(folder / name) for detector, name in names}
    return {key: said for key, said in found.items() if said is not None}


def ensemble_figures(predictions: dict[tuple[str, str], Predictions], setup: TrainingSetup) -> dict:
    """Return the out-of-fold figures of the mean of all members, and those of the prior of the same studies.

    The prior is fitted on the other studies where some are left, so it is out of fold as well.
    """
    sums: dict[str, list[np.ndarray]] = {}
    for said in predictions.values():
        for study, probabilities in zip(said.study_ids, said.probabilities, strict=True):
            sums.setdefault(study, []).append(probabilities)
    if not sums:
        return {}
    grades, studies = setup.data.grades, list(sums)
    labels = grades.of(studies)
    others = [study for study in grades.study_ids if study not in sums] or studies
    prior = np.broadcast_to(best_constant(grades.of(others)), (len(studies), *best_constant(labels).shape))
    mean = np.stack([np.mean(members, axis=0) for members in sums.values()])
    return {
        "studies": len(studies),
        "members": grade_figures(labels, mean / mean.sum(-1, keepdims=True)),
        "prior": grade_figures(labels, prior),
    }


def write_members(file: Path, predictions: dict[tuple[str, str], Predictions]) -> None:
    """Write the out-of-fold probabilities in the columns of ``infer.py --dump``'s members.csv."""
    with open_table(file, MEMBER_COLUMNS) as table:
        for (detector, classifier), said in predictions.items():
            for study, sites in zip(said.study_ids, said.probabilities.round(6), strict=True):
                table.writerows(member_rows(study, detector, classifier, sites))


def environment(setup: TrainingSetup) -> dict:
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "device": str(setup.device.torch),
        "precision": setup.device.precision,
        "imagenet": setup.imagenet or "none",
        "versions": versions(),
    }
