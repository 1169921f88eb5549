"""Everything a training reads of a data folder: decoded studies, labels, targets, folds, and their faults."""

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lumbar.atomic_files import write_atomically
from lumbar.networks.heatmap import DECAY, REACH
from lumbar.reading.listing import find_dataset
from lumbar.sites import DESCRIPTIONS
from training.data.cache import Cache, build_cache
from training.data.external_labels import (
    LabelledImage,
    read_improved_coordinates,
    read_pretraining_images,
    replace_coordinates,
)
from training.data.labels import (
    COORDINATES_FILE,
    GRADES_FILE,
    Grades,
    LabelFault,
    read_coordinates,
    read_grades,
    report_faults,
    study_folds,
)
from training.data.targets import Target, faded_by_distance, place_targets
from training.errors import LabelError


@dataclass(frozen=True)
class DataPaths:
    """Where a training's data lie and how they are read.

    Attributes:
        data: The competition's folder, train split.
        cache: Folder of decoded studies, filled where one is missing.
        improved: File of corrected coordinates, None without.
        pretraining: Folder of ``coords_pretrain.csv``, None without.
        workers: Processes that decode; 0 decodes in this one.
        strict: Whether a label that can't be used is an error.
    """

    data: Path
    cache: Path
    improved: Path | None
    pretraining: Path | None
    workers: int
    strict: bool


@dataclass(frozen=True)
class TrainingData:
    """Decoded studies with their labels.

    Attributes:
        cache: The decoded studies.
        grades: The grades of ``train.csv``.
        coordinates: Table of ``labels.LABELLED_POINT_COLUMNS``.
        targets: Labels in the volumes, by (study_id, description).
        study_ids: Studies with grades and images, in the order of ``train.csv``.
        pretraining_images: External images with points; empty without.
        faults: Labels and files that can't be used.
        fingerprint: SHA-256 of the label files and of the list of series.
    """

    cache: Cache
    grades: Grades
    coordinates: pd.DataFrame
    targets: dict[tuple[str, str], Target]
    study_ids: tuple[str, ...]
    pretraining_images: list[LabelledImage]
    faults: tuple[LabelFault, ...]
    fingerprint: str

    def targets_of(
        self, description: str, decay: float, reach: int, half_mm: float | None
    ) -> dict[tuple[str, str], Target]:
        """Return a description's targets with labels that fade so over the neighbouring slices, or by distance."""
        targets = self.targets
        if (decay, reach) != (DECAY, REACH):
            targets = place_targets(self.coordinates, self.cache, decay, reach)[0]
        targets = {key: target for key, target in targets.items() if key[1] == description}
        if half_mm is None:
            return targets
        return {
            (study, description): faded_by_distance(target, self.cache.volumes(study)[description], half_mm)
            for (study, _), target in targets.items()
        }

    def folds(self, count: int, seed: int) -> dict[str, int]:
        """Return the fold in which each study is validated."""
        return study_folds(self.study_ids, count, seed)

    def counts(self) -> dict[str, int]:
        """Return how many studies and labelled volumes of each description there are."""
        labelled = {d: sum(description == d for _, description in self.targets) for d in DESCRIPTIONS}
        return {"studies": len(self.study_ids), **{f"labelled {d}": n for d, n in labelled.items()}}


def read_training_data(paths: DataPaths, out: Path) -> TrainingData:
    """Decode, read and check everything before the first epoch; faults are logged and go to ``OUT/faults.csv``.

    Raises:
        LabelError: A table can't be used, or there is a fault and ``paths.strict`` is set.
    """
    dataset = find_dataset(paths.data, "train")
    grades = read_grades(paths.data / GRADES_FILE)
    coordinates, faults = read_coordinates(paths.data / COORDINATES_FILE)
    files = [paths.data / GRADES_FILE, paths.data / COORDINATES_FILE]
    if paths.improved:
        improved, more = read_improved_coordinates(paths.improved)
        coordinates, faults = replace_coordinates(coordinates, improved), faults + more
        files.append(paths.improved)
    images: list[LabelledImage] = []
    if paths.pretraining:
        images, more = read_pretraining_images(paths.pretraining)
        faults = faults + more
    cache = build_cache(dataset, paths.cache, paths.workers)
    targets, more = place_targets(coordinates, cache)
    faults = [*cache.faults, *faults, *more]
    write_faults(out / "faults.csv", faults)
    report_faults(faults, paths.strict)
    known = set(cache.study_ids)
    return TrainingData(
        cache=cache,
        grades=grades,
        coordinates=coordinates,
        targets=targets,
        study_ids=tuple(study for study in grades.study_ids if study in known),
        pretraining_images=images,
        faults=tuple(faults),
        fingerprint=files_sha256([*files, paths.data / "train_series_descriptions.csv"]),
    )


def check_apart(data: TrainingData, extra: TrainingData) -> None:
    """Raise LabelError if a study is in both: it would be trained on where it is to be validated."""
    if both := set(data.study_ids) & set(extra.study_ids):
        raise LabelError(
            f"--extra-studies: got {len(both)} studies that --data has too ({min(both)}, ...), expected others. "
            "Leave them out."
        )


def files_sha256(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def write_faults(file: Path, faults: list[LabelFault]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["reason", "where", "message"])
    writer.writerows([fault.reason, fault.where, fault.message] for fault in faults)
    write_atomically(file, text.getvalue())
