"""Whether loading starves the device: samples a second of the loader alone and of the training step alone.

    python -m tests.benchmarks.training --data runs/phantoms --cache runs/cache --recipe small

Every network and classifier of a recipe, from cached studies, as its training loads and steps; a sample is one
volume or one study. With workers the loader runs beside the device and starves it where loader / step is below 1;
without, both take turns. Classifiers' crops lie at the labelled points. Step 2 on cached features loads nothing.
"""

import argparse
import logging
import tempfile
import time
from collections import deque
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch

from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.device import keep_freed_memory
from lumbar.networks.device_choice import choose_device
from tests.benchmarks.paired_differences import spread
from tests.benchmarks.true_points import true_points
from training.data.training_data import DataPaths, read_training_data
from training.fitting.classifier_step import PLAIN, classifier_losses, study_logits
from training.fitting.loop import Task, train_one_epoch
from training.fitting.losses import weight_means
from training.fitting.ranks import training_step
from training.fitting.train_classifier import PointsByStudy, classifier_dataset, on_device, study_batches
from training.fitting.train_detector import TrainingSetup, network_dataset, recipe_losses, training_parts
from training.json_files import write_strict_json
from training.recipes.reading import read_recipe
from training.recipes.schema import ClassifierRecipe, NetworkRecipe
from training.recipes.shipped import shipped_recipes

STUDIES = 16  # the first so many
REPEATS = 3  # timed, after one to warm up
STEPS = 10  # of the same batch in a row


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the competition's folder, or phantoms")
    add("--cache", type=Path, help="decoded studies (default: decoded to a temporary folder)")
    add("--recipe", choices=shipped_recipes(), default="small", help="default: %(default)s")
    add("--workers", type=int, default=0, help="loader processes (default: %(default)s)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    add("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    if options.device == "cpu":
        keep_freed_memory()  # as train.py does
    with tempfile.TemporaryDirectory() as scratch:
        cache = options.cache or Path(scratch) / "cache"
        paths = DataPaths(options.data, cache, None, None, max(1, options.workers), strict=False)
        device = choose_device(options.device, "fp32" if options.device == "cpu" else "auto")
        setup = TrainingSetup(read_training_data(paths, Path(scratch)), device, options.workers, None)
        result = measure(read_recipe(options.recipe), setup)
    about = {"recipe": options.recipe, "workers": options.workers, "device": str(device.torch)}
    about |= {"precision": device.precision, "threads": torch.get_num_threads()}
    print(", ".join(f"{key} {value}" for key, value in about.items()), *lines(result), sep="\n")
    if options.json:
        write_strict_json(options.json, about | {"members": result})
    return result


def measure(recipe, setup: TrainingSetup) -> dict[str, dict]:
    """Return each member's rates: samples a second of the loader and of the step, and their ratio."""
    studies = list(setup.data.study_ids[:STUDIES])
    points = true_points(setup.data)
    result = {}
    for network in recipe.networks:
        result[network.name] = rates(network_task(network, studies, setup), setup)
    for classifier in recipe.classifiers:
        result[classifier.name] = rates(classifier_task(classifier, studies, points, setup), setup)
    return result


def network_task(recipe: NetworkRecipe, studies: list[str], setup: TrainingSetup) -> Task:
    network = DetectorNetwork(recipe.config).to(setup.device.torch)
    steps = count()

    def losses(batch) -> dict:
        step, share = next(steps), recipe.pointer_share
        pointed = float(int((step + 1) * share) > int(step * share))  # as many steps as on average
        return recipe_losses(replace(recipe, pointer_share=pointed), network, setup.device, batch)

    parts = training_parts(recipe, network, network_dataset(recipe, studies, setup), setup)
    if not recipe.sequence_alone:
        parts["losses"] = losses
    return Task(evaluate=dict, selection="loss", **parts)


def classifier_task(
    recipe: ClassifierRecipe, studies: list[str], points: PointsByStudy, setup: TrainingSetup
) -> Task:
    network = ClassifierNetwork(recipe.config).to(setup.device.torch)
    labels = setup.data.grades.of(studies)
    dataset = classifier_dataset(recipe, studies, labels, points, setup, recipe.augmentation)
    means = weight_means(dataset.labels)
    batches = study_batches(dataset, recipe.step1, recipe.seed, setup)

    def losses(batch) -> dict:
        batch = on_device(batch, setup)
        return classifier_losses(study_logits(network, batch.crops, batch.groups), batch, PLAIN, means)

    steps = -(-len(dataset) // recipe.step1.batch)
    return Task(network, batches, steps, losses, dict, "loss", network.train)


def rates(task: Task, setup: TrainingSetup) -> dict:
    """Time a task's epochs of loading, then steps on one batch, both as in ``training.fitting.loop``."""
    samples = len(task.batches(0).dataset)
    loader = [samples / seconds for seconds in timed(lambda epoch: deque(task.batches(epoch), maxlen=0))]
    batch = next(iter(task.batches(0)))
    size = len(batch[0] if isinstance(batch, list) else next(iter(vars(batch).values())))  # rows of features
    stepping = replace(task, batches=lambda epoch: [batch] * STEPS, steps=STEPS)
    optimizer = torch.optim.AdamW(task.network.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    scaler = torch.amp.GradScaler(
        setup.device.torch.type, enabled=setup.device.autocast_type == torch.float16
    )

    one_step = training_step(task.network, task.losses)

    def step(epoch: int) -> None:
        train_one_epoch(stepping, one_step, optimizer, scheduler, scaler, setup.device, epoch, "step")

    stepped = [STEPS * size / seconds for seconds in timed(step)]
    figures = {"loader": spread(loader), "step": spread(stepped)}
    return figures | {"loader / step": figures["loader"]["median"] / figures["step"]["median"]}


def timed(function) -> list[float]:
    """Return the seconds of ``REPEATS`` calls after one to warm up; the call's number is the epoch."""
    seconds = []
    for repeat in range(REPEATS + 1):
        start = time.perf_counter()
        function(repeat)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def lines(result: dict[str, dict]) -> list[str]:
    head = f"{'member':36}{'loader, samples/s':>26}{'step, samples/s':>26}{'loader / step':>15}"
    return [
        head,
        *(
            f"{name:36}{cell(rates['loader'])}{cell(rates['step'])}{rates['loader / step']:15.2f}"
            for name, rates in result.items()
        ),
    ]


def cell(rate: dict) -> str:
    return f"{rate['median']:.2f} ({rate['low']:.2f} to {rate['high']:.2f})".rjust(26)


if __name__ == "__main__":
    main()
