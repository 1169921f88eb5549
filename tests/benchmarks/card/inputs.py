"""Studies and bundles that the card's stages share, made on the machine itself from nothing."""

import os
import time
from multiprocessing import get_context
from pathlib import Path

import torch

from lumbar.bundle.loading import Detector
from lumbar.bundle.manifest import MANIFEST
from phantom.dataset import write_phantoms
from tests.benchmarks.card.stage import REPOSITORY, bundle_folders
from tests.making.random_bundle import random_classifier, random_network, write_random_bundle
from training.recipes.reading import read_recipe

SEED = 11  # of the phantoms; none of them was trained on
AXIAL_SERIES = 2  # at least, which makes a study of 70 to 130 slices
FULL_SIZE = (
    "convnext_tiny",
    "convnext_small",
    "caformer_s18",
    "pvt_v2_b3",
    "convnext_small",
    "convnext_small",
)
TINY = ("test_convnext",)


def make_studies(work: Path, studies: int) -> dict:
    """Draw phantoms in the competition's layout, one process per core; return where and how long it took."""
    folder, started = work / "phantoms", time.perf_counter()
    if not folder.is_dir():
        write_phantoms(
            folder,
            studies,
            SEED,
            workers=min(studies, os.cpu_count() or 1),
            split="test",
            axial_series=AXIAL_SERIES,
        )
    slices = [len(list(study.rglob("*.dcm"))) for study in sorted((folder / "test_images").iterdir())]
    return {"studies": studies, "slices": slices, "seconds": time.perf_counter() - started}


def make_bundles(work: Path, tiny: bool) -> dict:
    """Write bundles of random weights side by side, one process each; return the seconds it took."""
    started = time.perf_counter()
    wanted = [(name, folder) for name, folder in bundle_folders(work, tiny).items() if folder != REPOSITORY]
    with get_context("spawn").Pool(len(wanted)) as pool:
        pool.starmap(make_bundle, wanted)
    return {"seconds": time.perf_counter() - started}


def make_bundle(name: str, folder: Path) -> None:
    """Write one bundle: both families' detectors, or the first's, and classifiers of the backbones."""
    if (folder / MANIFEST).is_file():
        return
    torch.manual_seed(0)
    families = {"fixed": read_recipe("family_a")}
    if name == "ab_x_6":
        families["dynamic"] = read_recipe("family_b")
    detectors = [
        Detector(kind, kind, {n.config.description: random_network(n.config) for n in family.networks})
        for kind, family in families.items()
    ]
    backbones = {"tiny": TINY, "a_x_1": FULL_SIZE[:1], "ab_x_6": FULL_SIZE}[name]
    axes = ("level", "level_skip", "level_slices")
    classifiers = [
        random_classifier(f"{number} {backbone}", backbone, axes[number % 3], "stretch")
        for number, backbone in enumerate(backbones)
    ]
    write_random_bundle(folder, detectors, classifiers)
