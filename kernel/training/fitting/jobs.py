"""The trainings of a recipe as jobs, each with the jobs that have to be done before it.

A job writes its results to a place of its own in the run's folder. It goes on from its checkpoint there, and returns at
once where it is finished. Jobs may therefore run in any processes that share the run's folder.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lumbar.networks.device import give_back_freed_memory
from training.data.classifier_dataset import SitePoints
from training.fitting.out_of_fold_points import read_points
from training.fitting.ranks import from_first
from training.fitting.train_classifier import PointsByStudy, train_classifier
from training.fitting.train_detector import TrainingSetup, collect_points, train_network
from training.recipes.schema import ClassifierRecipe, NetworkRecipe, Recipe


@dataclass(frozen=True)
class Job:
    """One training, or one network's points.

    Attributes:
        name: Its name in ``run.json``, such as ``"small-axial/fold0"``.
        after: Names of the jobs that have to be done before.
        run: Setup -> the figures for ``run.json``; None for points.
    """

    name: str
    after: tuple[str, ...]
    run: Callable[[TrainingSetup], dict | None]


Engine = Callable[[Sequence[Job], TrainingSetup], Iterator[tuple[str, dict | None]]]


def one_after_another(jobs: Sequence[Job], setup: TrainingSetup) -> Iterator[tuple[str, dict | None]]:
    """Do the jobs in this process, in their order; yield each one's name and figures."""
    for job in jobs:
        yield job.name, job.run(setup)
        give_back_freed_memory()  # the next member's tensors are of other sizes


def plan_jobs(
    recipe: Recipe,
    networks: Sequence[NetworkRecipe],
    classifiers: Sequence[ClassifierRecipe],
    folds: dict[str, int],
    out: Path,
) -> list[Job]:
    """Return the jobs that train members of a recipe, in an order in which they can be done.

    Args:
        recipe: The recipe.
        networks: Networks to train, all of the recipe's or some.
        classifiers: Classifiers to train. They need the points of all networks of their detector.
        folds: The fold in which each study is validated.
        out: The run's folder.
    """
    jobs: list[Job] = []
    for network in recipe.networks:
        names = [f"{network.name}/fold{fold}" for fold in recipe.folds]
        for fold, name in zip(recipe.folds, names, strict=True) if network in networks else ():
            start = (f"{network.start_from}/fold{fold}",) if network.start_from else ()
            run = partial(network_job, network, fold, folds, out)
            jobs.append(Job(name, known(start, jobs), run))
        every_fold = set(recipe.folds) == set(folds.values())
        if classifiers or (network in networks and (every_fold or network.stage2_points != "out_of_fold")):
            run = partial(points_job, network, recipe.folds, folds, out)
            jobs.append(Job(points_name(network.name), known(names, jobs), run))
    for classifier in classifiers:
        detector = next(d for d in recipe.detectors if d.name == classifier.detector)
        judges = classifier.label_noise.judged_by if classifier.label_noise else ()
        before = [points_name(name) for name in detector.networks]
        before += [f"{judge}/fold{fold}" for judge in judges for fold in recipe.folds]
        used = tuple(network for network in recipe.networks if network.name in detector.networks)
        for fold in recipe.folds:
            start = [f"{classifier.start_from}/fold{fold}"] if classifier.start_from else []
            run = partial(classifier_job, classifier, detector.point_kind, used, fold, folds, out)
            jobs.append(Job(f"{classifier.name}/fold{fold}", known(before + start, jobs), run))
    return jobs


def known(names: Sequence[str], jobs: Sequence[Job]) -> tuple[str, ...]:
    """Return those names that are a job's; the others were trained by an earlier command."""
    planned = {job.name for job in jobs}
    return tuple(name for name in names if name in planned)


def points_name(network: str) -> str:
    return f"{network}/points"


def points_file(out: Path, network: str) -> Path:
    return out / "points" / f"{network}.npz"


def network_folder(out: Path, network: str, fold: int) -> Path:
    return out / "networks" / network / f"fold{fold}"


def network_job(
    network: NetworkRecipe, fold: int, folds: dict[str, int], out: Path, setup: TrainingSetup
) -> dict:
    """Train a network on a fold."""
    training, validation = setup.split(fold, folds)
    return train_network(network, training, validation, setup, network_folder(out, network.name, fold))


def points_job(
    network: NetworkRecipe, trained: Sequence[int], folds: dict[str, int], out: Path, setup: TrainingSetup
) -> None:
    """Find a network's points of all studies, for the classifiers."""
    folders = {fold: network_folder(out, network.name, fold) for fold in trained}
    from_first(lambda: collect_points(network, folders, folds, setup, points_file(out, network.name)))


def classifier_job(
    classifier: ClassifierRecipe,
    point_kind: str,
    networks: Sequence[NetworkRecipe],
    fold: int,
    folds: dict[str, int],
    out: Path,
    setup: TrainingSetup,
) -> dict:
    """Train a classifier on a fold, at the points of its detector's networks."""
    points = detector_points(point_kind, networks, out)
    graded = [[study for study in studies if study in points] for studies in setup.split(fold, folds)]
    folder = out / "classifiers" / classifier.name / f"fold{fold}"
    return train_classifier(classifier, *graded, points, setup, folder)


def detector_points(point_kind: str, networks: Sequence[NetworkRecipe], out: Path) -> PointsByStudy:
    """Return a detector's points of a run by study and description, joined by study id."""
    points: PointsByStudy = {}
    for network in networks:
        description = network.config.description
        for study, kinds in read_points(points_file(out, network.name), description).studies.items():
            site = SitePoints(kinds[point_kind], network.config.max_length)
            points.setdefault(study, {})[description] = site
    return points
