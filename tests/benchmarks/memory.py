"""The memory that the published ensemble takes, for a study of the usual size and for the largest plausible one."""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from lumbar.bundle.manifest import MANIFEST
from lumbar.bundle.members import Detector
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.benchmarks.card.published import PUBLISHED
from tests.benchmarks.members import CACHE
from tests.benchmarks.scaling import run_command
from tests.making.random_bundle import random_classifier, random_network, write_random_bundle
from tests.making.small_study import write_series
from training.recipes.reading import read_recipe

# Series of the largest study: description, slices, axis across them.
LARGEST = ((SAGITTAL_T1, 30, 0), (SAGITTAL_T2, 30, 0), *((AXIAL_T2, 75, 2),) * 4)
PIXELS = 1024


def published_ensemble(root: Path, device: str) -> dict:
    """Return MB and seconds that the kernel takes with both families' detectors and all classifiers.

    The studies are that of a folder, and one of four axial series of 300 slices of 1024 x 1024 in all.
    """
    bundle = published_members()
    with tempfile.TemporaryDirectory() as folder:
        return {
            "classifiers": sum(PUBLISHED.values()),
            "study": run_figures(root, bundle, device),
            "largest study": run_figures(write_largest(Path(folder)), bundle, device),
        }


def write_largest(root: Path) -> Path:
    """Write the largest plausible study in the competition's layout."""
    rng, rows = np.random.default_rng(0), ["study_id,series_id,series_description"]
    for number, (description, slices, axis) in enumerate(LARGEST, start=1):
        sizes = [(PIXELS, PIXELS)] * slices
        write_series(root / "test_images" / "1" / str(number), rng, sizes, axis, 10.0 * number, 4.0)
        rows.append(f"1,{number},{description}")
    (root / "test_series_descriptions.csv").write_text("\n".join(rows) + "\n")
    return root


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
        families = {"fixed": read_recipe("family_a"), "dynamic": read_recipe("family_b")}
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
