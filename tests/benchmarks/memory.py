"""The memory that the largest plausible study takes, and that the published ensemble takes."""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from lumbar.bundle import Detector
from lumbar.manifest import MANIFEST
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.benchmarks.card import PUBLISHED
from tests.benchmarks.members import CACHE, random_members
from tests.benchmarks.scaling import run_command
from tests.random_bundle import random_classifier, random_network, write_random_bundle
from tests.small_study import write_series
from training.recipes import family_a, family_b

# Series of the largest study: description, slices, axis across them.
LARGEST = ((SAGITTAL_T1, 30, 0), (SAGITTAL_T2, 30, 0), *((AXIAL_T2, 75, 2),) * 4)
PIXELS = 1024


def largest_study(device: str) -> dict:
    """Return MB that the kernel takes for four axial series of 300 slices of 1024 x 1024 in all, with one detector
    of family A and one convnext_tiny."""
    rng, rows = np.random.default_rng(0), ["study_id,series_id,series_description"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, (description, slices, axis) in enumerate(LARGEST, start=1):
            sizes = [(PIXELS, PIXELS)] * slices
            write_series(root / "test_images" / "1" / str(number), rng, sizes, axis, 10.0 * number, 4.0)
            rows.append(f"1,{number},{description}")
        (root / "test_series_descriptions.csv").write_text("\n".join(rows) + "\n")
        return {"slices": sum(slices for _, slices, _ in LARGEST)} | run_figures(
            root, random_members(), device
        )


def published_ensemble(root: Path, device: str) -> dict:
    """Return MB and seconds that the kernel takes for a study with both families' detectors and all classifiers."""
    return {"classifiers": sum(PUBLISHED.values())} | run_figures(root, published_members(), device)


def run_figures(root: Path, bundle: Path, device: str) -> dict:
    run = run_command(root, bundle, device)
    return {name: run[name] for name in ("peak_memory_mb", "precision", "seconds")} | {
        "fallbacks": len(run["fallbacks"])
    }


def published_members() -> Path:
    """Return a bundle of the published ensemble's architectures: random weights, one file a backbone, loaded as
    often as there are classifiers of it."""
    folder = CACHE / "published"
    if not (folder / MANIFEST).is_file():
        torch.manual_seed(0)
        families = {"fixed": family_a(), "dynamic": family_b()}
        detectors = [
            Detector(
                f"family {xy}", xy, {n.config.description: random_network(n.config) for n in family.networks}
            )
            for xy, family in families.items()
        ]
        classifiers = [random_classifier(name, name, "level", "stretch") for name in PUBLISHED]
        write_random_bundle(folder, detectors, classifiers)
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["classifiers"] = [
            entry | {"name": f"{entry['name']} {number}"}
            for entry in manifest["classifiers"]
            for number in range(PUBLISHED[entry["name"]])
        ]
        (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder
