"""Training steps on the card: a detector's network and a classifier of each backbone of a recipe."""

import os
from collections.abc import Callable
from pathlib import Path

from lumbar.networks.device_choice import choose_device
from tests.benchmarks.training import classifier_task, network_task, rates
from tests.benchmarks.true_points import true_points
from training.data.training_data import DataPaths, read_training_data
from training.fitting.train_detector import TrainingSetup
from training.recipes.reading import read_recipe


def time_training(work: Path, recipe_name: str, device: str, save: Callable[[dict], None]) -> None:
    """Save samples per second of the loader and of the training step, member by member."""
    recipe, workers = read_recipe(recipe_name), os.cpu_count() or 1
    paths = DataPaths(work / "phantoms", work / "decoded", None, None, workers, strict=False)
    on = choose_device(device, "fp32" if device == "cpu" else "auto")
    setup = TrainingSetup(read_training_data(paths, work), on, 0 if device == "cpu" else workers // 2, None)
    studies = list(setup.data.study_ids)
    tasks = {recipe.networks[0].name: lambda: network_task(recipe.networks[0], studies, setup)}
    for one in {member.config.backbone: member for member in recipe.classifiers}.values():
        tasks[one.name] = lambda one=one: classifier_task(one, studies, true_points(setup.data), setup)
    members: dict[str, dict] = {}
    for name, task in tasks.items():
        members[name] = rates(task(), setup)
        save({"members": members})
