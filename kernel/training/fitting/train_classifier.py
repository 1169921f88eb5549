"""Stage 2 of a recipe: train a classifier on a fold in its two steps, on the points of stage 1."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lumbar.networks.classifier import ClassifierNetwork
from lumbar.sites import SITE_NAMES
from training.data.classifier_dataset import ClassifierBatch, ClassifierDataset, Mixer, SitePoints
from training.fitting.classifier_step import (
    METRIC,
    PLAIN,
    PREDICTIONS,
    WEIGHTED,
    FrozenFeatures,
    Predictions,
    classifier_losses,
    freeze_features,
    grade_figures,
    predict_studies,
    read_run_predictions,
    study_logits,
)
from training.fitting.detector_step import epoch_batches
from training.fitting.imagenet_start import start_classifier
from training.fitting.loop import RESULT, Task, fit
from training.fitting.losses import WeightMeans, weight_means
from training.fitting.member_starts import start_from
from training.fitting.ranks import RankBatches, from_first, rank, step_count
from training.fitting.second_round import chances_left_out
from training.fitting.train_detector import TrainingSetup
from training.json_files import write_strict_json
from training.plots import draw_crops
from training.recipes.schema import ClassifierRecipe, Schedule

log = logging.getLogger(__name__)
PointsByStudy = dict[str, dict[str, SitePoints]]


def train_classifier(
    recipe: ClassifierRecipe,
    training: list[str],
    validation: list[str],
    points: PointsByStudy,
    setup: TrainingSetup,
    folder: Path,
) -> dict:
    """Train one classifier in its folder, unless it is finished, and return its result.

    The folder also holds its predictions of the validation studies: see ``finished_predictions``.
    """
    if (folder / RESULT).is_file():
        return json.loads((folder / RESULT).read_text())
    torch.manual_seed(recipe.seed)
    network = start_classifier(recipe.config, setup.imagenet, recipe.imagenet)
    if recipe.start_from:
        start_from(network, folder.parents[1] / recipe.start_from / folder.name)
    network.to(setup.device.torch)
    judged = classifier_dataset(recipe, validation, setup.data.grades.of(validation), points, setup, None)
    labels, left_out = setup.data.grades.of(training), None
    if recipe.label_noise:
        left_out = chances_left_out(labels, training, recipe.label_noise, folder.parents[1])
    dataset = classifier_dataset(recipe, training, labels, points, setup, recipe.augmentation, left_out)
    means = weight_means(dataset.labels)
    log.info("%s: %d studies to train on, %d to validate", recipe.name, len(dataset), len(judged))

    def evaluate() -> dict[str, float]:
        predictions = predict_studies(network, judged, setup.device)
        return grade_figures(judged.labels.numpy().astype(np.int8), predictions.probabilities)

    def losses(batch: ClassifierBatch, kind: str) -> dict:
        batch = on_device(batch, setup)
        return classifier_losses(study_logits(network, batch.crops, batch.groups), batch, kind, means)

    step1 = folder / "step1"
    if rank() == 0 and len(dataset) and not (step1 / RESULT).is_file():
        draw_sample_crops(step1 / "samples.png", dataset)
    last_step = recipe.step2 is None
    plain = (METRIC if last_step and recipe.any_severe else WEIGHTED) if recipe.class_weights else PLAIN
    task = Task(
        network=network,
        batches=study_batches(dataset, recipe.step1, recipe.seed, setup),
        steps=step_count(len(dataset), recipe.step1.batch),
        losses=lambda batch: losses(batch, plain),
        evaluate=evaluate,
        selection="mean_loss" if last_step else "unranked",
        train_mode=network.train,
    )
    result = {"step1": fit(task, recipe.step1, step1, setup.device, recipe.seed, f"{recipe.name} step 1")}
    if recipe.step2 is not None:
        dataset2 = classifier_dataset(recipe, training, labels, points, setup, recipe.augmentation2, left_out)
        task = heads_task(recipe, network, dataset2, means, evaluate, setup)
        result["step2"] = fit(
            task, recipe.step2, folder / "step2", setup.device, recipe.seed, f"{recipe.name} step 2"
        )

    def finish() -> dict:
        predictions = predict_studies(network, judged, setup.device)
        predictions.write(folder / PREDICTIONS)
        labels = judged.labels.numpy().astype(np.int8)
        figures = result | {"figures": grade_figures(labels, predictions.probabilities)}
        write_strict_json(folder / RESULT, figures)
        return figures

    return from_first(finish)


def finished_predictions(folder: Path) -> Predictions | None:
    """Return a classifier's predictions of its validation studies, None where it is not trained to its end."""
    return read_run_predictions(folder / PREDICTIONS) if (folder / RESULT).is_file() else None


def heads_task(
    recipe, network: ClassifierNetwork, dataset: ClassifierDataset, means: WeightMeans, evaluate, setup
):
    """Return step 2: fresh heads train for the metric, everything else is frozen and in evaluation mode.

    Without augmentation the frozen part runs once, and the heads train on its features.
    """
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    torch.manual_seed(recipe.seed)
    for head in network.heads:
        head[-1].reset_parameters()
        head.requires_grad_(True)
    kind = METRIC if recipe.any_severe else WEIGHTED

    def train_mode() -> None:
        network.eval()
        network.heads.train()

    if recipe.augmentation2 is None:
        frozen = freeze_features(network, dataset, setup.device)
        batches = feature_batches(frozen, recipe.step2, recipe.seed)

        def losses(batch: tuple[torch.Tensor, ClassifierBatch]) -> dict:
            return classifier_losses(network.head_logits(batch[0]), batch[1], kind, means)
    else:
        batches = study_batches(dataset, recipe.step2, recipe.seed, setup)

        def losses(batch: ClassifierBatch) -> dict:
            batch = on_device(batch, setup)
            return classifier_losses(study_logits(network, batch.crops, batch.groups), batch, kind, means)

    steps = step_count(len(dataset), recipe.step2.batch)
    return Task(network, batches, steps, losses, evaluate, "mean_loss", train_mode)


def classifier_dataset(
    recipe,
    studies: list[str],
    labels,
    points: PointsByStudy,
    setup: TrainingSetup,
    augmentation,
    left_out=None,
):
    return ClassifierDataset(
        setup.data.cache, studies, labels, points, recipe.config.crops, augmentation, recipe.seed, left_out
    )


def study_batches(dataset: ClassifierDataset, schedule: Schedule, seed: int, setup: TrainingSetup):
    return epoch_batches(dataset, schedule.batch, setup.workers, setup.device, seed, Mixer(dataset))


def feature_batches(frozen: FrozenFeatures, schedule: Schedule, seed: int):
    """Return epoch -> batches of cached features, shuffled by (seed, epoch) alone."""

    def batches(epoch: int) -> Iterator[tuple[torch.Tensor, ClassifierBatch]]:
        order = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        for rows in RankBatches(len(frozen), schedule.batch, order):
            labels = frozen.labels[rows]
            yield frozen.sites[rows], ClassifierBatch(frozen.sites[rows], labels, labels, 1.0)

    return batches


def on_device(batch: ClassifierBatch, setup: TrainingSetup) -> ClassifierBatch:
    tensors = {name: getattr(batch, name) for name in ("crops", "labels", "labels_b")}
    return replace(batch, **{k: v.to(setup.device.torch, non_blocking=True) for k, v in tensors.items()})


def draw_sample_crops(file: Path, dataset: ClassifierDataset) -> None:
    """Draw the five slices of some sites of the first study, as augmented for training."""
    crops, labels, _ = dataset[0]
    rows = (3, 8, 13, 18, 23)  # level L4/L5 of the five groups
    samples = [(f"{SITE_NAMES[r]}: severity {int(labels[r])}", crops[r].numpy()) for r in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    draw_crops(file, samples, f"{dataset.study_ids[0]}, as augmented for training")
