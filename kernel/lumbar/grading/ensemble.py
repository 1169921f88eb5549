"""Stage 2: every classifier on every detector's crops, and the weighted mean of their probabilities.

Points of different detectors are never averaged: each detector's crops are graded on their own, which
works like test-time augmentation (the 5th-place write-up, ensemble).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, inference_mode

from lumbar.bundle.members import Classifier
from lumbar.grading.crops import canal_points, enlarge, extract_windows
from lumbar.grading.detection import Detection
from lumbar.grading.window_sizes import window_sides
from lumbar.grids import CROP_INPUT, CROP_OFFSETS, DETECTOR_GRID, WINDOW
from lumbar.networks.architecture import CropRule
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.device import NotFiniteError, nan_unless_finite
from lumbar.networks.transfer import download, upload
from lumbar.reading.volume import Volume
from lumbar.sites import DESCRIPTION_SITES, GROUPS, LEVELS, SAGITTAL_T2, SITES, group_descriptions

CROPS_A_SLICE = (DETECTOR_GRID // CROP_INPUT) ** 2  # by their pixels


def searched_groups(detections: Iterable[Detection], canal_from: str) -> np.ndarray:
    """Return of which groups of sites each detection has crops, (n, 5) bool; ``canal_from`` as in ``CropRule``."""
    read = group_descriptions(canal_from)
    return np.array([[description in found.points for description in read] for found in detections])


def searched_sites(detection: Detection, canal_from: str) -> np.ndarray:
    """Return of which sites a detection has crops, (25,) bool; ``canal_from`` as in ``CropRule``."""
    return np.repeat(searched_groups([detection], canal_from)[0], len(LEVELS))


def site_windows(detection: Detection, volumes: Mapping[str, Volume], rule: CropRule) -> np.ndarray:
    """Return the windows (25, S, 64, 64) of all sites; zero where the description is missing.

    S is five and ``canal_margin`` further slices at each end, which the canal alone fills.

    Args:
        detection: A detector's points and grids.
        volumes: The study's volumes by description, for the size of windows.
        rule: Of the crops.
    """
    border, margin = rule.border, rule.canal_margin
    windows = np.zeros((len(SITES), len(CROP_OFFSETS) + 2 * margin, WINDOW, WINDOW), np.float32)
    for description, found in detection.points.items():
        grid, sides = detection.grids512[description], window_sides(volumes[description], found, rule)
        if description == rule.canal_from:
            points = canal_points(found.points, found.values)
            windows[DESCRIPTION_SITES[SAGITTAL_T2]] = extract_windows(grid, points, border, margin, sides)
        if description != SAGITTAL_T2:
            own = slice(margin, margin + len(CROP_OFFSETS))
            windows[DESCRIPTION_SITES[description], own] = extract_windows(
                grid, found.points, border, sides=sides
            )
    return windows


@dataclass(frozen=True)
class Crops:
    """Windows of n detections on a device, each distinct picture once.

    Attributes:
        images: (picture, 1, 64, 64) float32.
        index: (n, 25, S) int64, which picture each site's slices are.
        groups: (n, 5) bool, on the host: the groups of sites that the sequences hold.
    """

    images: Tensor
    index: Tensor
    groups: np.ndarray


def upload_crops(windows: np.ndarray, runner: BatchRunner, groups: np.ndarray | None = None) -> Crops:
    """Bring windows (n, 25, S, 64, 64) to the runner's device.

    A slice that several sites or detectors share, a zero crop or a repeated end slice goes there, and through each
    backbone, once.

    Args:
        windows: Zero at sites that were not searched.
        runner: Of the device.
        groups: (n, 5) bool, the groups of sites that the sequences hold; None for all of them, zero windows included.
    """
    images, index = distinct_images(windows)
    there = upload([images[:, None], index.reshape(windows.shape[:3])], runner.device.torch)
    if groups is None:
        groups = np.ones((len(windows), len(GROUPS)), bool)
    return Crops(there[0], there[1], groups)


@inference_mode()
def grade_crops(classifier: Classifier, crops: Crops, runner: BatchRunner) -> Tensor:
    """Launch one classifier on crops; nothing is read from the device.

    Returns:
        (n, 25, 3) float64 on the device; rows sum to 1 up to rounding. NaN for all sites of a detection where the
        network gave NaN or Inf.

    Raises:
        DeviceMemoryError: A single image does not fit.
    """
    network = classifier.network
    with runner.device.autocast():  # around all passes, so that no weight is cast twice
        images = runner.run(
            crop_features, network, crops.images, f"classifier {classifier.name}", CROPS_A_SLICE
        )
        features = images[crops.index]
        logits = grade_groups(network, features, crops.groups)
    return nan_unless_finite(nan_unless_finite(logits, logits), features).double().softmax(dim=-1)


def held_groups(groups: np.ndarray) -> list[int] | None:
    """Return the indices of the groups (5,) bool that a detection holds; None, for all, of one without any.

    No row of a detection without any group counts, but networks need a group to read.
    """
    return np.flatnonzero(groups).tolist() if groups.any() else None


def grade_groups(network: ClassifierNetwork, features: Tensor, groups: np.ndarray) -> Tensor:
    """Return logits (n, 25, 3), each detection's from sequences of its own groups alone.

    In a level's sequence, zero crops of sites without a series move the grades of the others: on phantoms that lack a
    series those are better without them (tests.benchmarks.missing_series).

    Args:
        network: The classifier.
        features: (n, 25, S, H).
        groups: (n, 5) bool. Rows of other groups mean nothing.
    """
    if groups.all():
        return network.grade(features)
    rows, parts = [], []
    for held in np.unique(groups, axis=0):
        rows.append(np.flatnonzero((groups == held).all(axis=1)))
        parts.append(network.grade(features[rows[-1]], held_groups(held)))
    return torch.cat(parts)[np.argsort(np.concatenate(rows))]


def classify(
    classifier: Classifier, windows: np.ndarray, runner: BatchRunner, groups: np.ndarray | None = None
) -> np.ndarray:
    """Run one classifier on windows: (n, 25, S, 64, 64) -> probabilities (n, 25, 3) float64.

    ``groups`` as in ``upload_crops``.

    Raises:
        NotFiniteError: The network gave NaN or Inf.
    """
    (graded,) = download([grade_crops(classifier, upload_crops(windows, runner, groups), runner)])
    if not np.isfinite(graded).all():
        raise NotFiniteError(f"classifier {classifier.name}: NaN or Inf in the network's output")
    return graded


def crop_features(network: ClassifierNetwork, windows: Tensor) -> Tensor:
    """Return the backbone's features of windows, enlarged: (N, 1, 64, 64) -> (N, H)."""
    return network.features(enlarge(windows))


def distinct_images(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct (H, W) images of an array (..., H, W) and for each image its number among them."""
    flat = windows.reshape(-1, *windows.shape[-2:])
    numbers: dict[bytes, int] = {}
    index = np.array([numbers.setdefault(image.tobytes(), len(numbers)) for image in flat])
    _, first = np.unique(index, return_index=True)
    return flat[first], index


def weighted_mean(probabilities: list[np.ndarray], weights: list[float]) -> np.ndarray:
    """Return the weighted mean of members, row by row over the members that graded the row.

    Args:
        probabilities: Of each member, (..., 25, 3); NaN at sites that the member did not grade.
        weights: Of each member, above 0.

    Returns:
        (..., 25, 3) float64 with rows that sum to 1 up to rounding; NaN at sites that no member graded.

    Raises:
        ValueError: There is no member.
    """
    if not probabilities:
        raise ValueError("weighted_mean: got no member, expected at least one")
    members = np.stack(probabilities)
    graded = ~np.isnan(members)
    shares = graded * np.reshape(np.asarray(weights, np.float64), (-1, *[1] * (members.ndim - 1)))
    total = shares.sum(axis=0)
    mean = np.full(total.shape, np.nan)
    np.divide((np.where(graded, members, 0) * shares).sum(axis=0), total, out=mean, where=total > 0)
    return mean / mean.sum(axis=-1, keepdims=True)
