"""Stage 1 of a recipe: train a network on a fold, and collect the points that stage 2 is trained on."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.device import Device
from lumbar.sites import class_count
from training.data.detector_dataset import DetectorBatch, DetectorDataset, PretrainingDataset, join_volumes
from training.data.labels import LabelError
from training.data.training_data import Materials
from training.fitting.detector_step import detector_losses, epoch_batches, pretraining_losses, to_device
from training.fitting.imagenet_start import start_detector
from training.fitting.loop import BEST, RESULT, Schedule, Task, fit, load_tensors
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
from training.recipes.families import NetworkRecipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workshop:
    """What trainings share: the data, the device, loader processes, where ImageNet weights come from.

    more: labelled studies apart from ``materials``'; no fold validates them.
    """

    materials: Materials
    device: Device
    workers: int
    imagenet: str | None
    more: Materials | None = None

    def split(self, fold: int, folds: dict[str, int]) -> tuple[list[str], list[str]]:
        """Return the training and the validation studies of a fold."""
        studies = self.materials.study_ids
        return [s for s in studies if folds[s] != fold], [s for s in studies if folds[s] == fold]


def train_network(
    recipe: NetworkRecipe, training: list[str], validation: list[str], shop: Workshop, folder: Path
) -> dict:
    """Train one network in its folder, if that is not done, and return its result."""
    if (folder / RESULT).is_file():
        return json.loads((folder / RESULT).read_text())
    network = start_network(recipe, shop, folder)
    dataset = network_dataset(recipe, training, shop)
    log.info("%s: %d volumes to train on, %d to validate", recipe.name, len(dataset), len(validation))
    parts = training_parts(recipe, network, dataset, shop)
    evaluate = partial(evaluate_network, recipe, network, validation, shop, folder / "samples.png")
    task = Task(evaluate=evaluate, selection="error", keep_epoch=middle_epoch(recipe), **parts)
    return fit(task, recipe.schedule, folder, shop.device, recipe.seed, f"{recipe.name} {folder.name}")


def start_network(recipe: NetworkRecipe, shop: Workshop, folder: Path) -> DetectorNetwork:
    """Return a network on the device as its training begins.

    At random or from ImageNet, then another network's weights over it, then trained on external images in ``folder``.
    """
    torch.manual_seed(recipe.seed)
    network = start_detector(recipe.config, shop.imagenet, recipe.imagenet)
    if recipe.start_bias is not None:
        torch.nn.init.constant_(network.segmenter.head.bias, recipe.start_bias)
    if recipe.start_from:
        start_from(network, folder.parents[1] / recipe.start_from / folder.name / BEST)
    network.to(shop.device.torch)
    if recipe.pretraining and shop.materials.pretraining_images:
        pretrain(recipe, network, shop, folder / "pretraining")
    return network


def training_parts(recipe: NetworkRecipe, network: DetectorNetwork, dataset: Dataset, shop: Workshop) -> dict:
    """Return the recipe's training on a dataset as arguments of ``Task``."""
    if recipe.sequence_alone:
        return sequence_task(network, dataset, recipe.schedule, shop.device, recipe.seed)
    losses = partial(recipe_losses, recipe, network, shop.device)
    return detector_task(network, dataset, recipe.schedule, shop, recipe.seed, losses)


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
    recipe: NetworkRecipe, network: DetectorNetwork, studies: list[str], shop: Workshop, picture: Path
) -> dict[str, float]:
    """Return the errors of the points found on labelled studies; draw those of the first few."""
    materials, config = shop.materials, recipe.config
    found = predict_points(
        network, materials.cache, labelled(studies, materials, config.description), shop.device
    )
    draw_sample_slices(picture, found, materials.cache, materials.targets, config.max_length)
    return error_figures(point_errors(found, materials.targets, config.max_length))


def network_dataset(recipe: NetworkRecipe, studies: list[str], shop: Workshop) -> Dataset:
    """Return what a network is trained on: the studies, and the workshop's more where the recipe takes them."""

    def volumes(materials: Materials, study_ids: Sequence[str]) -> DetectorDataset:
        return DetectorDataset(
            materials.cache,
            study_ids,
            materials.targets_of(recipe.config.description, recipe.decay, recipe.reach, recipe.half),
            recipe.config.description,
            recipe.config.max_length,
            recipe.augmentation,
            recipe.seed,
            recipe.sigma,
        )

    own = volumes(shop.materials, studies)
    if not (recipe.more and shop.more):
        return own
    return ConcatDataset([own, volumes(shop.more, shop.more.study_ids)])


def start_from(network: DetectorNetwork, file: Path) -> None:
    """Take over the weights of another network wherever name and shape are the same."""
    if not file.is_file():
        raise LabelError(f"{file}: got no such file; train the network that this one starts from first")
    mine = network.state_dict()
    taken = {k: v for k, v in load_file(file).items() if k in mine and mine[k].shape == v.shape}
    network.load_state_dict(mine | taken)
    log.info("%d of %d tensors start from %s", len(taken), len(mine), file)


def detector_task(
    network: DetectorNetwork,
    dataset: Dataset,
    schedule: Schedule,
    shop: Workshop,
    seed: int,
    losses: Callable[[DetectorBatch], dict[str, Tensor]],
) -> dict:
    """Return a training in which nothing is frozen as arguments of ``Task``."""
    return {
        "network": network,
        "batches": epoch_batches(dataset, schedule.batch, shop.workers, shop.device, seed, join_volumes),
        "steps": -(-len(dataset) // schedule.batch),
        "losses": losses,
        "train_mode": network.train,
    }


def pretrain(recipe: NetworkRecipe, network: DetectorNetwork, shop: Workshop, folder: Path) -> None:
    """Train the segmenter on external images first; the last epoch is kept (data, section 4)."""
    schedule = replace(recipe.schedule, epochs=recipe.pretraining)
    classes = class_count(recipe.config.description)
    images = shop.materials.pretraining_images
    dataset = PretrainingDataset(images, classes, recipe.augmentation, recipe.seed, recipe.sigma)

    def losses(batch: DetectorBatch) -> dict[str, Tensor]:
        return pretraining_losses(network, to_device(batch, shop.device))

    task = Task(
        evaluate=lambda: {"nothing": float("nan")},  # there is nothing to select by: the last epoch it is
        selection="nothing",
        **detector_task(network, dataset, schedule, shop, recipe.seed, losses),
    )
    fit(task, schedule, folder, shop.device, recipe.seed, f"{recipe.name} pretraining")


def labelled(study_ids: list[str], materials: Materials, description: str) -> list[str]:
    return [study for study in study_ids if (study, description) in materials.targets]


def middle_epoch(recipe: NetworkRecipe) -> int:
    """Return the epoch, from 1, whose points have realistic errors on its own training studies."""
    return max(1, recipe.schedule.epochs // 2)


def collect_points(
    recipe: NetworkRecipe, folders: dict[int, Path], folds: dict[str, int], shop: Workshop, file: Path
) -> FoundPoints:
    """Find the points of all studies for stage 2 as the recipe says, or read them where they are done.

    folders: the trained networks' folders by fold. Raises LabelError if out-of-fold points are asked for
    and a fold has no network.
    """
    if file.is_file():
        return read_points(file, recipe.config.description)
    if recipe.points == "labels":
        found = labelled_points(shop.materials.targets, recipe.config.description, recipe.config.max_length)
        found.write(file)
        return found
    jobs: list[tuple[Path, list[str]]] = []
    first = min(folders)
    for fold, folder in folders.items():
        training, validation = shop.split(fold, folds)
        if recipe.points == "out_of_fold":
            jobs.append((folder / BEST, validation))
        elif fold == first and recipe.points == "middle_epoch":
            kept = folder / f"epoch_{middle_epoch(recipe)}.safetensors"
            jobs += [(kept, training), (folder / BEST, validation)]
        elif fold == first:
            jobs.append((folder / BEST, training + validation))
    if recipe.points == "out_of_fold" and set(folds.values()) != folders.keys():
        raise LabelError(
            f"{recipe.name}: got networks of folds {sorted(folders)}, expected all of "
            f"{sorted(set(folds.values()))} for points out of fold; train them, or take points='middle_epoch'"
        )
    network = DetectorNetwork(recipe.config).to(shop.device.torch)
    found = FoundPoints(recipe.config.description, {})
    for weights, studies in jobs:
        log.info("%s: points of %d studies from %s", recipe.name, len(studies), weights)
        load_tensors(network, weights)
        found.studies.update(predict_points(network, shop.materials.cache, studies, shop.device).studies)
    found.write(file)
    return found
