"""Stage 2: the losses of the two steps, and a network's predictions of the validation studies."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lumbar.atomic_files import atomic_path
from lumbar.bundle.members import Classifier
from lumbar.grading.ensemble import classify, grade_groups, held_groups
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.device import Device
from lumbar.sites import CONDITION_SITES, MISSING, SITES
from training.data.classifier_dataset import ClassifierBatch, ClassifierDataset
from training.evaluation.metric import score, severity_auc
from training.fitting.distinct_images import image_features
from training.fitting.losses import WeightMeans, grade_loss, metric_loss, scaled_weights
from training.fitting.ranks import batch_share

PREDICTIONS = "predictions.npz"  # in a classifier's folder, of its validation studies
PLAIN, WEIGHTED, METRIC = (
    "plain",
    "weighted",
    "metric",
)  # losses: unweighted, weighted, weighted with any-severe


def study_logits(network: ClassifierNetwork, crops: Tensor, groups: np.ndarray | None = None) -> Tensor:
    """Return logits (B, 25, 3) of crops (B, 25, S, 128, 128); many of a study's images may be zero.

    ``groups`` are those of a ``ClassifierBatch``. In training as in serving, a study's sequences leave out the groups
    that it lacks.
    """
    features = backbone_features(network, crops)
    return network.grade(features) if groups is None else grade_groups(network, features, groups)


def backbone_features(network: ClassifierNetwork, crops: Tensor) -> Tensor:
    """Return the backbone's features (B, 25, S, H) of crops (B, 25, S, 128, 128)."""
    images = crops.flatten(0, 2).unsqueeze(1)
    return image_features(network.features, images).view(*crops.shape[:3], -1)


def classifier_losses(
    logits: Tensor, batch: ClassifierBatch, kind: str, means: WeightMeans
) -> dict[str, Tensor]:
    """Return the mixed loss of a batch: lambda * loss(a) + (1 - lambda) * loss(b)."""
    parts = [(batch.labels, batch.share), (batch.labels_b, 1 - batch.share)]
    losses = [share * one_loss(logits, labels, kind, means) for labels, share in parts if share > 0]
    return {"loss": torch.stack(losses).sum() * batch_share(len(batch.labels))}


def one_loss(logits: Tensor, labels: Tensor, kind: str, means: WeightMeans) -> Tensor:
    if kind == PLAIN:
        return grade_loss(logits, labels, (labels != MISSING).float())
    weights, study_weights = scaled_weights(labels, means)
    if kind == WEIGHTED:
        return grade_loss(logits, labels, weights)
    return metric_loss(logits, labels, weights, study_weights)


@dataclass(frozen=True)
class Predictions:
    """A classifier's predictions: study ids and probabilities (n, 25, 3) float64."""

    study_ids: tuple[str, ...]
    probabilities: np.ndarray

    def write(self, file: Path) -> None:
        """Write as .npz, atomically."""
        with atomic_path(file) as beside:
            np.savez(beside, study_ids=np.array(self.study_ids, dtype=str), probabilities=self.probabilities)


def read_run_predictions(file: Path) -> Predictions:
    """Read what ``Predictions.write`` wrote."""
    with np.load(file) as arrays:
        return Predictions(tuple(str(study) for study in arrays["study_ids"]), arrays["probabilities"])


def predict_studies(network: ClassifierNetwork, dataset: ClassifierDataset, device: Device) -> Predictions:
    """Grade the studies of a data set exactly as serving does, crop by crop and without augmentation."""
    network.eval()
    member, runner = Classifier("in training", 1.0, network), BatchRunner(device)
    random = np.random.default_rng(0)  # serving has no jitter: nothing is drawn
    found = [
        classify(member, dataset.windows(i, random)[None], runner, dataset.groups(i)[None])[0]
        for i in range(len(dataset))
    ]
    empty = np.zeros((0, len(SITES), 3))
    return Predictions(tuple(dataset.study_ids), np.stack(found) if found else empty)


def grade_figures(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the metric's terms, the AUC of each condition, and what epochs are selected by.

    ``mean_loss`` is the mean of those terms that have labels: the official score where all four have.
    ``unranked`` is 1 - the mean AUC of those conditions that have one.
    """
    terms = score(labels, probabilities)
    aucs = severity_auc(labels, probabilities)
    figures = {name: terms[name] for name in (*CONDITION_SITES, "any_severe")}
    figures["mean_loss"] = mean_of_known(list(figures.values()))
    figures |= {f"auc_{name}": aucs[name] for name in CONDITION_SITES}
    figures["unranked"] = 1 - mean_of_known([aucs[name] for name in CONDITION_SITES])
    return figures


def mean_of_known(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


@dataclass(frozen=True)
class FrozenFeatures:
    """The input of step 2's heads where nothing is augmented, computed once: (n, 25, H or 2H)."""

    sites: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def freeze_features(network: ClassifierNetwork, dataset: ClassifierDataset, device: Device) -> FrozenFeatures:
    """Run the frozen part of a network over a data set, without augmentation."""
    network.eval()
    rows = []
    with torch.no_grad():
        for index in range(len(dataset)):
            crops = dataset[index][0][None].to(device.torch)
            with device.autocast():
                groups = held_groups(dataset.groups(index))
                rows.append(network.site_features(backbone_features(network, crops), groups).float())
    return FrozenFeatures(torch.cat(rows), dataset.labels.to(device.torch))
