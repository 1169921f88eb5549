"""How far half precision moves the results of trained networks: the shipped bundle on unseen phantoms."""

from pathlib import Path
from statistics import median

import numpy as np

from lumbar.bundle.placement import ready_bundle
from lumbar.grading.detection import detect_study
from lumbar.grading.ensemble import classify, site_windows
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device_choice import choose_device
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from tests.benchmarks.scaling import REPOSITORY
from tests.benchmarks.speed_ratio import within_a_pixel


def agreement(root: Path, device: str) -> dict:
    """Return how the kernel in half precision agrees with itself in float32, over all studies of a folder.

    points: how many; within_1_px: the share of them on the same slice and at most a pixel apart. Probabilities are
    compared at the float32 points' crops, a pair of a classifier and a study each.
    """
    wide, half = choose_device(device, "fp32"), choose_device(device, "amp")
    in_full, in_half = BatchRunner(wide), BatchRunner(half)
    plain, rounded = ready_bundle(REPOSITORY, wide), ready_bundle(REPOSITORY, half)
    near: list[np.ndarray] = []
    apart: list[float] = []
    for ref in find_dataset(root).studies:
        volumes = read_study(ref).volumes
        found = detect_study(rounded.detectors, volumes, in_half)
        for name, detection in detect_study(plain.detectors, volumes, in_full).items():
            for description, points in detection.points.items():
                near.append(same_places(points.points, found[name].points[description].points))
            for one, other in zip(plain.classifiers, rounded.classifiers, strict=True):
                crops = site_windows(detection, volumes, one.network.config.crops)[None]
                apart.append(
                    float(np.abs(classify(one, crops, in_full) - classify(other, crops, in_half)).max())
                )
    return {
        "precision": half.precision,
        "points": sum(map(len, near)),
        "within_1_px": float(np.concatenate(near).mean()),
        "probability_difference": {"median": median(apart), "largest": max(apart)},
    }


def same_places(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for points (n, 5, 3) whether the middle ones are within a pixel of each other, (n,)."""
    return within_a_pixel(np.abs(points[:, 2] - others[:, 2]))
