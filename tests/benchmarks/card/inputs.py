"""Studies and bundles that the card's stages share, made on the machine itself from nothing."""

import os
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch

from lumbar.bundle.manifest import MANIFEST
from lumbar.bundle.members import Classifier, Detector
from phantom.dataset import write_phantoms
from tests.benchmarks.card.published import PUBLISHED
from tests.benchmarks.card.stage import REPOSITORY, bundle_folders
from tests.making.random_bundle import random_classifier, random_network, write_random_bundle
from training.recipes.reading import read_recipe

SEED = 11  # of the phantoms; none of them was trained on
STUDIES, TINY_STUDIES = 16, 2  # distinct phantoms
AXIAL_SERIES = 2  # at least, which makes a study of 70 to 130 slices
AXES = ("level", "level_skip", "level_slices")
ONE, SIX = ("convnext_tiny",), (*PUBLISHED, "convnext_small", "convnext_small")
TINY = {"convnext_tiny": "test_convnext", "convnext_small": "test_convnext", "caformer_s18": "test_byobnet"}
BOTH = {"family_a": "fixed", "family_b": "dynamic"}


def make_studies(work: Path, tiny: bool) -> dict:
    """Draw labelled phantoms in the competition's layout, one process per core; return slices and seconds."""
    folder, started = work / "phantoms", time.perf_counter()
    studies = TINY_STUDIES if tiny else STUDIES
    if not folder.is_dir():
        workers = min(studies, os.cpu_count() or 1)
        write_phantoms(folder, studies, SEED, workers, axial_series=1 if tiny else AXIAL_SERIES)
    slices = [len(list(study.rglob("*.dcm"))) for study in sorted((folder / "train_images").iterdir())]
    return {"studies": studies, "slices": slices, "seconds": time.perf_counter() - started}


def make_bundles(work: Path, tiny: bool) -> dict:
    """Write bundles of random weights side by side, one process each; return the seconds it took."""
    started = time.perf_counter()
    wanted = [
        (name, folder, tiny)
        for name, folder in bundle_folders(work).items()
        if folder != REPOSITORY and not (folder / MANIFEST).is_file()
    ]
    if wanted:
        with get_context("spawn").Pool(len(wanted)) as pool:
            pool.starmap(make_bundle, wanted)
    return {"seconds": time.perf_counter() - started}


def make_bundle(name: str, folder: Path, tiny: bool) -> None:
    """Write one bundle: family A's detector or both families', and classifiers of the bundle's backbones."""
    torch.manual_seed(0)
    families = {"family_a": "fixed"} if name == "a_x_1" else BOTH
    detectors = []
    for family, kind in families.items():
        networks = read_recipe("tiny" if tiny else family).networks
        by_description = {one.config.description: random_network(one.config) for one in networks}
        detectors.append(Detector(family, kind, by_description))
    write_random_bundle(folder, detectors, classifiers_of(name, tiny))


def classifiers_of(name: str, tiny: bool) -> list[Classifier]:
    """Return a bundle's classifiers; in the published ensemble those of a backbone and an axis share their weights."""
    count = {"a_x_1": 1, "ab_x_6": len(SIX), "published": sum(PUBLISHED.values())}[name]
    backbones = {"a_x_1": ONE, "ab_x_6": SIX}.get(name)
    if backbones is None:
        backbones = [backbone for backbone, members in PUBLISHED.items() for _ in range(members)]
    made: dict[tuple[str, str], Classifier] = {}
    members = []
    for number, backbone in enumerate(backbones[: 2 if tiny else count]):
        key = TINY.get(backbone, "test_convnext") if tiny else backbone, AXES[number % len(AXES)]
        if key not in made:
            made[key] = random_classifier("", *key, "stretch")
        members.append(replace(made[key], name=f"{number} {backbone}"))
    return members
