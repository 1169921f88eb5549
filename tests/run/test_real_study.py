"""A real study, where it is at hand, through full-size networks with random weights."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lumbar.bundle.members import Bundle, Classifier, Detector
from lumbar.bundle.writing import write_bundle
from lumbar.networks.architecture import ClassifierConfig, DetectorConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.outputs.submission import read_submission
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SAGITTAL_T1, SITE_NAMES, SITES
from tests.making.random_bundle import FAMILY_A, LENGTHS

INFER = Path(__file__).resolve().parents[2] / "kernel/infer.py"
REAL = Path(__file__).resolve().parents[2] / "../shared/real/studies"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL.is_dir(), reason=f"the real study is not at {REAL}"),
]


@pytest.fixture(scope="module")
def volumes():
    return read_study(find_dataset(REAL, "train").studies[0]).volumes


def test_slices_are_in_patient_order_and_left_is_the_larger_x(volumes):
    for description, volume in volumes.items():
        axis = 2 if description == AXIAL_T2 else 0
        along = [header.position[axis] for header in volume.headers]
        assert along == sorted(along)
        assert volume.order_key == "ImagePositionPatient"
    with (REAL / "train_label_coordinates.csv").open(newline="") as file:
        labels = [row for row in csv.DictReader(file) if "Foraminal" in row["condition"]]
    number = {header.instance_number: z for z, header in enumerate(volumes[SAGITTAL_T1].headers)}
    slices = {
        side: [number[int(r["instance_number"])] for r in labels if side in r["condition"]]
        for side in ("Left", "Right")
    }
    assert min(slices["Left"]) > max(slices["Right"])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Family A's detector and a convnext_tiny classifier at full size, untrained."""
    torch.manual_seed(0)
    networks = {
        d: DetectorNetwork(DetectorConfig(description=d, max_length=LENGTHS["family_a"][d], **FAMILY_A))
        for d in DESCRIPTIONS
    }
    classifier = ClassifierNetwork(ClassifierConfig("convnext_tiny", "level", "stretch", (0.2, 0.2, 0.2)))
    members = (Detector("a", "fixed", networks),), (Classifier("tiny", 1.0, classifier),)
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(Bundle("random", "nothing", *members, np.full((25, 3), 1 / 3), ""), folder)
    return folder


def test_full_size_networks_grade_the_real_study(bundle, volumes, tmp_path):
    out, seen = tmp_path / "submission.csv", tmp_path / "seen"
    flags = ("--data", REAL, "--bundle", bundle, "--out", out, "--dump", seen, "--precision", "fp32")
    subprocess.run([sys.executable, INFER, *map(str, flags)], check=True)
    row_ids, rows = read_submission(out)
    assert row_ids == tuple(f"100206310_{site}" for site in SITE_NAMES)
    assert np.isfinite(rows).all()
    description = {site.name: site.description for site in SITES}
    with (seen / "points.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert len(points) == 25
    for point in points:
        assert 0 <= float(point["slice"]) <= len(volumes[description[point["site"]]]) - 1
        assert 0 <= int(point["row"]) < 256
        assert 0 <= int(point["column"]) < 256
        assert 0 < float(point["value"]) < 1
