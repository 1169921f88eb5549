"""Stage 1 of a recipe: train a network on a fold, and collect the points for stage 2's training."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.device import Device
from lumbar.sites import class_count
from training.data.detector_dataset import DetectorBatch, DetectorDataset, PretrainingDataset, join_volumes
from training.data.training_data import TrainingData
from training.errors import LabelError
from training.fitting.detector_step import detector_losses, epoch_batches, pretraining_losses, to_device
from training.fitting.imagenet_start import start_detector
from training.fitting.loop import BEST, RESULT, Task, fit, load_tensors
from training.fitting.member_starts import start_from
from training.fitting.out_of_fold_points import (
    FoundPoints,
    draw_sample_slices,
    error_figures,
    labelled_points,
    point_errors,
    predict_points,
    read_points,
)
from training.fitting.pointer_sequence import sequence_task
from training.fitting.ranks import step_count
from training.recipes.schema import NetworkRecipe, Schedule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSetup:
    """Everything that the trainings of a run share.

    Attributes:
        data: The labelled studies that folds divide.
        device: Where networks train.
        workers: Loader processes; 0 loads in the training process.
        imagenet: Folder of ImageNet weights, ``"hub"`` for timm's hub, None for a random start.
        extra_data: Further labelled studies, which no fold validates.
    """

    data: TrainingData
    device: Device
    workers: int
    imagenet: str | None
    extra_data: TrainingData | None = None

    def split(self, fold: int, folds: dict[str, int]) -> tuple[list[str], list[str]]:
        """Return the training and the validation studies of a fold."""
        studies = self.data.study_ids
        return [s for s in studies if folds[s] != fold], [s for s in studies if folds[s] == fold]


def train_network(
    recipe: NetworkRecipe, training: list[str], validation: list[str], setup: TrainingSetup, folder: Path
) -> dict:
    """Train one network in its folder, unless it is finished, and return its result."""
    if (folder / RESULT).is_file():
        return json.loads((folder / RESULT).read_text())
    network = start_network(recipe, setup, folder)
    dataset = network_dataset(recipe, training, setup)
    log.info("%s: %d volumes to train on, %d to validate", recipe.name, len(dataset), len(validation))
    parts = training_parts(recipe, network, dataset, setup)
    evaluate = partial(evaluate_network, recipe, network, validation, setup, folder / "samples.png")
    task = Task(evaluate=evaluate, selection="error", keep_epoch=middle_epoch(recipe), **parts)
    return fit(task, recipe.schedule, folder, setup.device, recipe.seed, f"{recipe.name} {folder.name}")


def start_network(recipe: NetworkRecipe, setup: TrainingSetup, folder: Path) -> DetectorNetwork:
    """Return a network on the device as its training begins.

    At random or from ImageNet, then another network's weights over it, then trained on external images in ``folder``.
    """
    torch.manual_seed(recipe.seed)
    network = start_detector(recipe.config, setup.imagenet, recipe.imagenet)
    if recipe.start_bias is not None:
        torch.nn.init.constant_(network.segmenter.head.bias, recipe.start_bias)
    if recipe.start_from:
        start_from(network, folder.parents[1] / recipe.start_from / folder.name)
    network.to(setup.device.torch)
    if recipe.pretraining and setup.data.pretraining_images:
        pretrain(recipe, network, setup, folder / "pretraining")
    return network


def training_parts(
    recipe: NetworkRecipe, network: DetectorNetwork, dataset: Dataset, setup: TrainingSetup
) -> dict:
    """Return the recipe's training on a dataset as arguments of ``Task``."""
    if recipe.sequence_alone:
        return sequence_task(network, dataset, recipe.schedule, setup.device, recipe.seed)
    losses = partial(recipe_losses, recipe, network, setup.device)
    return detector_task(network, dataset, recipe.schedule, setup, recipe.seed, losses)


def recipe_losses(
    recipe: NetworkRecipe, network: DetectorNetwork, device: Device, batch: DetectorBatch
) -> dict[str, Tensor]:
    """Return a batch's losses as the recipe has them."""
    return detector_losses(
        network,
        to_device(batch, device),
        recipe.xy_target,
        recipe.slices_per_step,
        recipe.segmented,
        recipe.pointer_share,
    )


def evaluate_network(
    recipe: NetworkRecipe, network: DetectorNetwork, studies: list[str], setup: TrainingSetup, picture: Path
) -> dict[str, float]:
    """Return the errors of the points found on labelled studies; draw those of the first few."""
    data, config = setup.data, recipe.config
    found = predict_points(network, data.cache, labelled(studies, data, config.description), setup.device)
    draw_sample_slices(picture, found, data.cache, data.targets, config.max_length)
    return error_figures(point_errors(found, data.targets, config.max_length))


def network_dataset(recipe: NetworkRecipe, studies: list[str], setup: TrainingSetup) -> Dataset:
    """Return the volumes a network is trained on: the studies', and the extra ones where the recipe takes them."""

    def volumes(data: TrainingData, study_ids: Sequence[str], repeat: int = 1) -> DetectorDataset:
        return DetectorDataset(
            data.cache,
            study_ids,
            data.targets_of(recipe.config.description, recipe.decay, recipe.reach, recipe.label_half_mm),
            recipe.config.description,
            recipe.config.max_length,
            recipe.augmentation,
            recipe.seed,
            recipe.sigma,
            repeat,
            recipe.config.slice_positions,
        )

    own = volumes(setup.data, studies, recipe.repeat)
    if not (recipe.extra_studies and setup.extra_data):
        return own
    return ConcatDataset([own, volumes(setup.extra_data, setup.extra_data.study_ids)])


def detector_task(
    network: DetectorNetwork,
    dataset: Dataset,
    schedule: Schedule,
    setup: TrainingSetup,
    seed: int,
    losses: Callable[[DetectorBatch], dict[str, Tensor]],
) -> dict:
    """Return a training in which nothing is frozen as arguments of ``Task``."""
    return {
        "network": network,
        "batches": epoch_batches(dataset, schedule.batch, setup.workers, setup.device, seed, join_volumes),
        "steps": step_count(len(dataset), schedule.batch),
        "losses": losses,
        "train_mode": network.train,
    }


def pretrain(recipe: NetworkRecipe, network: DetectorNetwork, setup: TrainingSetup, folder: Path) -> None:
    """Train the segmenter on external images first; the last epoch is kept (data, section 4)."""
    schedule = replace(recipe.schedule, epochs=recipe.pretraining)
    classes = class_count(recipe.config.description)
    images = setup.data.pretraining_images
    dataset = PretrainingDataset(images, classes, recipe.augmentation, recipe.seed, recipe.sigma)

    def losses(batch: DetectorBatch) -> dict[str, Tensor]:
        return pretraining_losses(network, to_device(batch, setup.device))

    task = Task(
        evaluate=lambda: {"nothing": float("nan")},  # there is nothing to select by: the last epoch it is
        selection="nothing",
        **detector_task(network, dataset, schedule, setup, recipe.seed, losses),
    )
    fit(task, schedule, folder, setup.device, recipe.seed, f"{recipe.name} pretraining")


def labelled(study_ids: list[str], data: TrainingData, description: str) -> list[str]:
    return [study for study in study_ids if (study, description) in data.targets]


def middle_epoch(recipe: NetworkRecipe) -> int:
    """Return the epoch, from 1, that still makes realistic errors on its own training studies."""
    return max(1, recipe.schedule.epochs // 2)


def collect_points(
    recipe: NetworkRecipe, folders: dict[int, Path], folds: dict[str, int], setup: TrainingSetup, file: Path
) -> FoundPoints:
    """Find the points of all studies for stage 2, as the recipe has it, or read them from the file if it is there.

    Args:
        recipe: The network's recipe.
        folders: The trained networks' folders by fold.
        folds: The fold in which each study is validated.
        setup: Data and device.
        file: Where the points are kept.

    Raises:
        LabelError: The recipe takes points out of fold, and a fold has no network.
    """
    if file.is_file():
        return read_points(file, recipe.config.description)
    if recipe.stage2_points == "labels":
        found = labelled_points(setup.data.targets, recipe.config.description, recipe.config.max_length)
        found.write(file)
        return found
    jobs: list[tuple[Path, list[str]]] = []
    first = min(folders)
    for fold, folder in folders.items():
        training, validation = setup.split(fold, folds)
        if recipe.stage2_points == "out_of_fold":
            jobs.append((folder / BEST, validation))
        elif fold == first and recipe.stage2_points == "middle_epoch":
            kept = folder / f"epoch_{middle_epoch(recipe)}.safetensors"
            jobs += [(kept, training), (folder / BEST, validation)]
        elif fold == first:
            jobs.append((folder / BEST, training + validation))
    if recipe.stage2_points == "out_of_fold" and set(folds.values()) != folders.keys():
        raise LabelError(
            f"{recipe.name}: got networks of folds {sorted(folders)}, expected all of "
            f"{sorted(set(folds.values()))} for points out of fold; train them, or take points='middle_epoch'"
        )
    network = DetectorNetwork(recipe.config).to(setup.device.torch)
    found = FoundPoints(recipe.config.description, {})
    for weights, studies in jobs:
        log.info("%s: points of %d studies from %s", recipe.name, len(studies), weights)
        load_tensors(network, weights)
        found.studies.update(predict_points(network, setup.data.cache, studies, setup.device).studies)
    found.write(file)
    return found
