"""The full-size networks that are timed: family A's detector and a convnext_tiny classifier.

With random weights, where no slice can be skipped for sure, and with pointers that have learnt a little on
phantoms and are peaked (the segmenters stay random: how many slices they see is the pointers' doing). What is
made is kept outside the repository.
"""

import dataclasses
import hashlib
import logging
import os
import shutil
from pathlib import Path

import torch

from lumbar.bundle import Detector
from lumbar.detector import DetectorNetwork
from lumbar.device import choose_device
from lumbar.phantom.dataset import write_phantoms
from lumbar.sites import DESCRIPTIONS
from tests.random_bundle import (
    FAMILY_A,
    LENGTHS,
    random_classifier,
    random_detector,
    write_random_bundle,
)
from training.loop import BEST, Schedule, load_tensors
from training.materials import Sources, read_materials
from training.recipes import NetworkRecipe, family_a
from training.stage1 import Workshop, train_network

logger = logging.getLogger(__name__)

CACHE = Path(os.environ.get("LUMBAR_BENCHMARK_CACHE", Path.home() / ".cache" / "lumbar-benchmarks"))
PHANTOMS, VALIDATION = 16, 2  # studies the pointers learn from, and those their error is measured on
LEARNING = Schedule(epochs=8, batch=1, lr=1e-3, weight_decay=1e-2, warmup=0.1, evaluate_every=8)


def phantoms(studies: int, seed: int, split: str) -> Path:
    """Return a folder of phantoms in the competition's layout, made on first use."""
    folder = CACHE / f"phantoms-{split}-{studies}-{seed}"
    if not folder.is_dir():
        beside = folder.with_name(folder.name + ".part")
        shutil.rmtree(beside, ignore_errors=True)
        write_phantoms(beside, studies, seed, workers=min(studies, os.cpu_count() or 1), split=split)
        beside.rename(folder)
    return folder


def random_members(detectors: int = 1, classifiers: int = 1) -> Path:
    """Return a bundle of up to two detectors (the second with family B's lengths) and two classifiers."""
    folder = CACHE / f"random-{detectors}x{classifiers}"
    if not (folder / "weights_manifest.json").is_file():
        torch.manual_seed(0)
        lengths = list(LENGTHS.values())[:detectors]
        axes = ("level", "level_skip")[:classifiers]
        write_random_bundle(
            folder,
            [random_detector(f"detector {i}", "fixed", length, FAMILY_A) for i, length in enumerate(lengths)],
            [random_classifier(axis, "convnext_tiny", axis, "stretch") for axis in axes],
        )
    return folder


def learnt_members(device: str) -> Path:
    """Return a bundle whose pointers learnt a few hundred steps on phantoms; trains them on first use."""
    recipes = [learning_recipe(recipe) for recipe in family_a().networks]
    key = hashlib.sha256(repr((recipes, PHANTOMS)).encode()).hexdigest()[:8]
    folder = CACHE / f"learnt-{key}"
    if not (folder / "weights_manifest.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        data = phantoms(PHANTOMS + VALIDATION, seed=5, split="train")
        sources = Sources(data, CACHE / f"{data.name}-decoded", None, None, os.cpu_count() or 1, strict=False)
        shop = Workshop(read_materials(sources, folder), choose_device(device), workers=0, imagenet=None)
        studies = list(shop.materials.study_ids)
        networks = {}
        for recipe in recipes:
            training, validation = studies[VALIDATION:], studies[:VALIDATION]
            result = train_network(recipe, training, validation, shop, folder / recipe.name)
            logger.info("%s: %s", recipe.name, result["best"])
            network = networks[recipe.config.description] = DetectorNetwork(recipe.config).eval()
            load_tensors(network, folder / recipe.name / BEST)
        detector = Detector("learnt", "fixed", {d: networks[d] for d in DESCRIPTIONS})
        torch.manual_seed(0)
        write_random_bundle(
            folder, [detector], [random_classifier("level", "convnext_tiny", "level", "stretch")]
        )
    return folder


def learning_recipe(recipe: NetworkRecipe) -> NetworkRecipe:
    """Shorten a network's training to what makes its pointer peaked."""
    return dataclasses.replace(
        recipe,
        schedule=LEARNING,
        augmentation=None,
        slices_per_step=0,
        imagenet=False,
        pretraining=0,
    )
