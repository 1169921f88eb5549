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
    LabelError,
    LabelFault,
    read_coordinates,
    read_grades,
    report_faults,
    study_folds,
)
from training.data.targets import Target, faded_by_distance, place_targets


@dataclass(frozen=True)
class Sources:
    """Where a training's data is.

    data: the competition's folder, train split. cache: where decoded studies go. improved: file of
    corrected coordinates. pretraining: folder of ``coords_pretrain.csv``. workers: processes. strict:
    faults are fatal.
    """

    data: Path
    cache: Path
    improved: Path | None
    pretraining: Path | None
    workers: int
    strict: bool


@dataclass(frozen=True)
class Materials:
    """What was read. coordinates: table of ``labels.COORDINATE_COLUMNS``. targets: by (study_id, description).
    study_ids: those with grades and images, in the order of ``train.csv``. fingerprint: SHA-256 over the
    label files and the list of series.
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
        self, description: str, decay: float, reach: int, half: float | None
    ) -> dict[tuple[str, str], Target]:
        """Return a description's targets with labels that fade so over the neighbouring slices, or by distance."""
        targets = self.targets
        if (decay, reach) != (DECAY, REACH):
            targets = place_targets(self.coordinates, self.cache, decay, reach)[0]
        targets = {key: target for key, target in targets.items() if key[1] == description}
        if half is None:
            return targets
        return {
            (study, description): faded_by_distance(target, self.cache.volumes(study)[description], half)
            for (study, _), target in targets.items()
        }

    def folds(self, count: int, seed: int) -> dict[str, int]:
        """Return the fold in which each study is validated."""
        return study_folds(self.study_ids, count, seed)

    def counts(self) -> dict[str, int]:
        """Return how many studies and labelled volumes of each description there are."""
        labelled = {d: sum(description == d for _, description in self.targets) for d in DESCRIPTIONS}
        return {"studies": len(self.study_ids), **{f"labelled {d}": n for d, n in labelled.items()}}


def read_materials(sources: Sources, out: Path) -> Materials:
    """Decode, read and check everything before the first epoch; faults are logged and go to ``faults.csv``.

    Raises LabelError for a table that can't be used, and for any fault where ``strict``.
    """
    competition = find_dataset(sources.data, "train")
    grades = read_grades(sources.data / GRADES_FILE)
    coordinates, faults = read_coordinates(sources.data / COORDINATES_FILE)
    files = [sources.data / GRADES_FILE, sources.data / COORDINATES_FILE]
    if sources.improved:
        improved, more = read_improved_coordinates(sources.improved)
        coordinates, faults = replace_coordinates(coordinates, improved), faults + more
        files.append(sources.improved)
    images: list[LabelledImage] = []
    if sources.pretraining:
        images, more = read_pretraining_images(sources.pretraining)
        faults = faults + more
    cache = build_cache(competition, sources.cache, sources.workers)
    targets, more = place_targets(coordinates, cache)
    faults = [*cache.faults, *faults, *more]
    write_faults(out / "faults.csv", faults)
    report_faults(faults, sources.strict)
    known = set(cache.study_ids)
    return Materials(
        cache=cache,
        grades=grades,
        coordinates=coordinates,
        targets=targets,
        study_ids=tuple(study for study in grades.study_ids if study in known),
        pretraining_images=images,
        faults=tuple(faults),
        fingerprint=fingerprint([*files, sources.data / "train_series_descriptions.csv"]),
    )


def check_apart(materials: Materials, more: Materials) -> None:
    """Raise LabelError if a study is in both: it would be trained on where it is to be validated."""
    if both := set(materials.study_ids) & set(more.study_ids):
        raise LabelError(
            f"--more: got {len(both)} studies that --data has too ({min(both)}, ...), expected others; leave them out"
        )


def fingerprint(files: list[Path]) -> str:
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
