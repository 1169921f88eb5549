"""Healthy studies of a few small slices, copies of them to be harmed, and the competition around them."""

import csv
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lumbar.bundle.members import Bundle, Classifier, Detector
from lumbar.bundle.writing import write_bundle
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SAGITTAL_T1, SAGITTAL_T2, SITE_NAMES
from tests.making.random_bundle import random_classifier, random_detector
from tests.making.small_study import write_series

HEALTHY = 3  # different studies
SLICES = {SAGITTAL_T1: 3, SAGITTAL_T2: 2, AXIAL_T2: 2}
LENGTHS = dict.fromkeys(DESCRIPTIONS, 4)
# About 0.3 s a study on one core, of which the reading takes a tenth.
TINY_DETECTOR = {
    "encoder": "test_byobnet",
    "feature_levels": 1,
    "decoder_channels": (4,),
    "pointer_encoder": "lcnet_035",
    "pointer": "lstm",
    "hidden": 8,
}


@dataclass
class Copy:
    """A copy of a healthy study, to be harmed: its series' folders by description, its rows of the table."""

    study_id: str
    model: int
    folder: Path
    series: dict[str, Path]
    rows: list[list[str]] = field(default_factory=list)

    def files(self, description: str) -> list[Path]:
        return sorted(self.series[description].iterdir())


@dataclass
class Competition:
    """A folder in the competition's layout, its tables written last."""

    root: Path
    models: Path
    studies: list[Copy] = field(default_factory=list)

    @property
    def images(self) -> Path:
        return self.root / "test_images"

    def add(self, study_id: str, model: int) -> Copy:
        """Add a copy of a healthy study under an id of its own."""
        folder = self.images / study_id
        shutil.copytree(self.models / str(model), folder)
        series = {description: folder / str(n) for n, description in enumerate(DESCRIPTIONS, start=1)}
        rows = [[study_id, folder.name, description] for description, folder in series.items()]
        self.studies.append(Copy(study_id, model, folder, series, rows))
        return self.studies[-1]

    def add_healthy(self) -> None:
        for model in range(HEALTHY):
            self.add(f"healthy-{model}", model)

    def row_ids(self) -> list[str]:
        return [f"{study.study_id}_{site}" for study in self.studies for site in SITE_NAMES]

    def write_tables(self) -> Path:
        """Write the table of series and the sample submission; return the root."""
        self.write_table([row for study in self.studies for row in study.rows])
        self.write_sample(self.row_ids())
        return self.root

    def write_table(
        self, rows: list[list[str]], header=("study_id", "series_id", "series_description")
    ) -> Path:
        path = self.root / "test_series_descriptions.csv"
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])
        return path

    def write_sample(self, row_ids: list[str]) -> Path:
        path = self.root / "sample_submission.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            writer.writerow(["row_id", "normal_mild", "moderate", "severe"])
            writer.writerows([row_id, 0.3, 0.3, 0.4] for row_id in row_ids)
        return path


def write_models(folder: Path) -> Path:
    """Write the healthy studies, as ``folder/<model>/<series>/<instance>.dcm``."""
    for model in range(HEALTHY):
        rng = np.random.default_rng(model)
        for number, description in enumerate(DESCRIPTIONS, start=1):
            axis = 2 if description == AXIAL_T2 else 0
            sizes = [(64, 56)] * SLICES[description]
            write_series(folder / str(model) / str(number), rng, sizes, axis, -6.0, 4.0)
    return folder


def write_bundles(folder: Path) -> tuple[Path, Path]:
    """Write a bundle of one detector and one classifier, and one of two and three that share networks."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    detector = random_detector("dynamic", "dynamic", LENGTHS, TINY_DETECTOR)
    classifier = random_classifier("a", "test_byobnet", "level", "shift", factor=20)
    more = [Classifier(name, 1.0, classifier.network) for name in "bc"]
    prior = np.tile([0.7, 0.2, 0.1], (len(SITE_NAMES), 1))
    detectors = (detector, Detector("fixed", "fixed", detector.networks))
    small = Bundle("small", "nothing", detectors[:1], (classifier,), prior, "")
    wide = Bundle("wide", "nothing", detectors, (classifier, *more), prior, "")
    for bundle in (small, wide):
        write_bundle(bundle, folder / bundle.name)
    return folder / "small", folder / "wide"
