"""Every classifier on every detector's crops, and the weighted mean of what they say.

Points of different detectors are never averaged: each detector's crops are graded on their own, which
works like test-time augmentation (the 5th-place write-up, ensemble).
"""

from dataclasses import dataclass

import numpy as np
import torch

from lumbar.bundle.loading import Classifier, Detector
from lumbar.grading.crops import enlarge, extract_windows
from lumbar.grading.point_search import Points, find_points
from lumbar.grids import CROP_INPUT, CROP_OFFSETS, DETECTOR_GRID, WINDOW, squeeze, unit_range
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device import finite
from lumbar.reading.volume import Volume
from lumbar.sites import DESCRIPTION_SITES, SITES

CROPS_A_SLICE = (DETECTOR_GRID // CROP_INPUT) ** 2  # by their pixels


@dataclass(frozen=True)
class Detection:
    """What one detector found in a study: points by description, and the grids they index.

    grids512: by description, (S, 512, 512) uint8, or float32 0..1 where the volume was squeezed.
    """

    points: dict[str, Points]
    grids512: dict[str, np.ndarray]


def detect(
    detectors: tuple[Detector, ...], volumes: dict[str, Volume], runner: BatchRunner
) -> dict[str, Detection]:
    """Run stage 1: each detector's points by detector name, from one pass of each distinct network.

    A description that the study or the detector lacks is absent from the result.
    """
    found = {detector.name: Detection({}, {}) for detector in detectors}
    for description, volume in volumes.items():
        kinds: dict[int, list[Detector]] = {}  # detectors that share a network, by the network's identity
        for detector in detectors:
            if description in detector.networks:
                kinds.setdefault(id(detector.networks[description]), []).append(detector)
        for sharing in kinds.values():
            network = sharing[0].networks[description]
            stage1 = torch.from_numpy(stage1_grid(volume, network.config.max_length))
            grid512 = squeeze(volume.grid512, network.config.max_length)
            points = find_points(network, stage1, {d.xy for d in sharing}, runner)
            for detector in sharing:
                found[detector.name].points[description] = points[detector.xy]
                found[detector.name].grids512[description] = grid512
    return found


def stage1_grid(volume: Volume, max_length: int) -> np.ndarray:
    """Return what stage 1 reads of a volume, (S, 256, 256) float32 0..1, S <= max_length."""
    return unit_range(squeeze(volume.grid256, max_length))


def searched_sites(detection: Detection) -> np.ndarray:
    """Return for which sites the detector searched the description, (25,) bool."""
    searched = np.zeros(len(SITES), bool)
    for description in detection.points:
        searched[DESCRIPTION_SITES[description]] = True
    return searched


def site_windows(detection: Detection, border: str) -> np.ndarray:
    """Return the windows (25, 5, 64, 64) of all sites; zero where the description is missing."""
    windows = np.zeros((len(SITES), len(CROP_OFFSETS), WINDOW, WINDOW), np.float32)
    for description, points in detection.points.items():
        windows[DESCRIPTION_SITES[description]] = extract_windows(
            detection.grids512[description], points.points, border
        )
    return windows


def classify(classifier: Classifier, windows: np.ndarray, runner: BatchRunner) -> np.ndarray:
    """Run one classifier on the windows of every detector: (detector, 25, 5, 64, 64) -> (detector, 25, 3).

    Returns float64 probabilities, rows sum to 1 up to rounding. Raises NotFiniteError, DeviceMemoryError.
    A slice that several sites or detectors see alike, a zero crop or a repeated end slice goes through the
    backbone once.
    """
    network = classifier.network
    images, index = distinct_images(windows)
    with runner.device.autocast():  # around all passes, so that no weight is cast twice
        features = runner.run(
            lambda batch: network.features(enlarge(batch)),
            torch.from_numpy(images)[:, None],
            f"classifier {classifier.name}",
            images_per_slice=CROPS_A_SLICE,
        )
        features = features[torch.from_numpy(index).to(features.device)].view(*windows.shape[:3], -1)
        with torch.inference_mode():
            logits = finite(network.grade(features), f"classifier {classifier.name}")
    return logits.double().softmax(dim=-1).cpu().numpy()


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
