"""Seconds until the first study computes, and the memory that the largest plausible study takes."""

import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import timm
import torch

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.benchmarks.card import PUBLISHED
from tests.benchmarks.members import random_members
from tests.benchmarks.scaling import REPOSITORY, run_command
from tests.small_study import write_series

# Series of the largest study: description, slices, axis across them.
LARGEST = ((SAGITTAL_T1, 30, 0), (SAGITTAL_T2, 30, 0), *((AXIAL_T2, 75, 2),) * 4)
PIXELS = 1024


def start_up(root: Path, device: str, runs: int) -> dict:
    """Return seconds from the command to the first study's computing, with the bundle of this checkout."""
    seconds = [run_command(root, REPOSITORY, device)["seconds"]["start"] for _ in range(runs)]
    return {"start_s": median(seconds), "spread": [min(seconds), max(seconds)]}


def largest_study(device: str) -> dict:
    """Return MB that the kernel takes for four axial series of 300 slices of 1024 x 1024 in all, with one detector
    of family A and one convnext_tiny, and what the published classifiers' weights would add in float32."""
    rng, rows = np.random.default_rng(0), ["study_id,series_id,series_description"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, (description, slices, axis) in enumerate(LARGEST, start=1):
            sizes = [(PIXELS, PIXELS)] * slices
            write_series(root / "test_images" / "1" / str(number), rng, sizes, axis, 10.0 * number, 4.0)
            rows.append(f"1,{number},{description}")
        (root / "test_series_descriptions.csv").write_text("\n".join(rows) + "\n")
        run = run_command(root, random_members(), device)
    return {
        "slices": sum(slices for _, slices, _ in LARGEST),
        "fallbacks": len(run["fallbacks"]),
        "peak_memory_mb": run["peak_memory_mb"],
        "published_classifiers_mb": 4 * published_parameters() / 2**20,
    }


def published_parameters() -> int:
    """Return how many numbers the backbones of the published classifiers hold, all together."""
    with torch.device("meta"):
        backbones = {name: timm.create_model(name, num_classes=0, in_chans=1) for name in PUBLISHED}
    sizes = {name: sum(p.numel() for p in backbone.parameters()) for name, backbone in backbones.items()}
    return sum(count * sizes[name] for name, count in PUBLISHED.items())
