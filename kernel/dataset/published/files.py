"""Files and flags of an import -> what each checkpoint is taken for.

A flag overrides the path. Where flags, path, keys and shapes leave a question open, the error names the file and the
flag that answers it; nothing is guessed.
"""

import fnmatch
import logging
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dataset.published.names import NameFacts, read_name
from dataset.published.shapes import (
    CheckpointShape,
    read_checkpoint,
    shape_of,
)
from lumbar.bundle.weights import BundleError
from lumbar.networks.classifier import SEQUENCES
from lumbar.networks.families import Family
from lumbar.sites import AXIAL_T2, DESCRIPTION_KEYS, SAGITTAL_T1

logger = logging.getLogger(__name__)

SUFFIXES = (".bin", ".pth", ".pt", ".safetensors")
# Their networks have the same shapes in family A.
ALIKE = [DESCRIPTION_KEYS[description] for description in (SAGITTAL_T1, AXIAL_T2)]


@dataclass(frozen=True)
class DetectorFile:
    """A stage-1 checkpoint. shown: its path for people. detector: the name of the detector that it belongs to."""

    file: Path
    shown: str
    facts: NameFacts
    family: Family
    description: str
    detector: str


@dataclass(frozen=True)
class ClassifierFile:
    """A stage-2 checkpoint. shown: its path for people. border: None takes the family's. name: as a flag gives it."""

    file: Path
    shown: str
    facts: NameFacts
    shape: CheckpointShape
    sequence: str
    border: str | None
    name: str | None = None


@dataclass(frozen=True)
class Answers:
    """What flags say of a classifier's property, the sequence axis or the border rule.

    by_pattern: pattern and value, which overrides a fitting path's own. plain: one value for all, or one for each
    file that a flag names.
    """

    by_pattern: tuple[tuple[str, str], ...] = ()
    plain: tuple[str, ...] = ()

    def of_given(self, file: Path, number: int, from_path: str | None) -> str | None:
        """Answer for the file that the flag of this number names; from_path: what its path says."""
        return self.fitting(file) or (self.plain[number % len(self.plain)] if self.plain else from_path)

    def of_found(self, relative: Path, from_path: str | None) -> str | None:
        """Answer for a file of a folder: its path overrides the value for all."""
        return self.fitting(relative) or from_path or (self.plain[0] if self.plain else None)

    def fitting(self, path: Path) -> str | None:
        return next((value for pattern, value in reversed(self.by_pattern) if fits(path, [pattern])), None)


def find_checkpoints(folder: Path, skip: list[str]) -> list[Path]:
    """Return the checkpoints under a folder, sorted by path; skip: patterns of paths relative to it.

    Raises BundleError for a folder that is not there or holds none.
    """
    if not folder.is_dir():
        raise BundleError(f"--from: {folder}: no such folder; check the path")
    found = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    kept = [path for path in found if not fits(path.relative_to(folder), skip)]
    if not kept:
        raise BundleError(
            f"--from: {folder}: got {len(found)} files of {', '.join(SUFFIXES)} and skipped {len(found) - len(kept)}, "
            "expected checkpoints; check the path and --skip"
        )
    return kept


def fits(path: Path, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(path.as_posix(), pattern) for pattern in patterns)


def take_folder(
    folder: Path, files: list[Path], sequences: Answers, borders: Answers, family: Family | None
) -> tuple[list[DetectorFile], list[ClassifierFile]]:
    """Infer what each file of a folder is; family: as a flag gives it.

    Raises a BundleError that lists every file whose path, keys and flags leave a question open.
    """
    detectors, classifiers, questions = [], [], []
    for file in tqdm(files, "reading", unit="file", disable=None):
        relative = file.relative_to(folder)
        facts, shape = read_name(relative), shape_of(read_checkpoint(file), file)
        if shape.backbone is None:
            of_family, description = family or shape.family, facts.description or shape.description
            detector = facts.member_name(f"family_{of_family.name}")
            if description is None:
                flags = " or ".join(f"--detector {detector}:{key}={file}" for key in ALIKE)
                questions.append(f"{file}: its path does not say the description; give {flags}")
                continue
            warn_of_another(str(relative), description, shape)
            detectors.append(DetectorFile(file, str(relative), facts, of_family, description, detector))
        else:
            sequence = sequences.of_found(relative, facts.sequence)
            if sequence is None:
                questions.append(
                    f"{file}: its path does not say the sequence axis; give --sequence AXIS for all such files, or "
                    f"--sequence '{relative.as_posix()}=AXIS', one of {', '.join(SEQUENCES)}"
                )
                continue
            border = borders.of_found(relative, None)
            classifiers.append(ClassifierFile(file, str(relative), facts, shape, sequence, border))
    if questions:
        raise BundleError("\n".join(questions))
    return detectors, classifiers


def take_detector(file: Path, description: str, detector: str, family: Family | None) -> DetectorFile:
    """Take a file for what a flag says; warn where its keys, shapes or path say otherwise."""
    facts, shape = read_name(file), shape_of(read_checkpoint(file), file)
    if shape.backbone is not None:
        raise BundleError(
            f"{file}: got a classifier's checkpoint, expected a detector's; give it with --classifier"
        )
    if facts.description not in (None, description):
        logger.warning(
            "%s: given as %s, but its path says %s; check it", file, description, facts.description
        )
    warn_of_another(str(file), description, shape)
    return DetectorFile(file, str(file), facts, family or shape.family, description, detector)


def take_classifier(
    file: Path, name: str | None, number: int, sequences: Answers, borders: Answers
) -> ClassifierFile:
    """Take the file that the ``--classifier`` flag of this number names; BundleError without a sequence axis."""
    facts, shape = read_name(file), shape_of(read_checkpoint(file), file)
    if shape.backbone is None:
        raise BundleError(
            f"{file}: got a detector's checkpoint, expected a classifier's; give it with --detector"
        )
    sequence = sequences.of_given(file, number, facts.sequence)
    if sequence is None:
        raise BundleError(
            f"{file}: its path does not say the sequence axis; give --sequence, one of {', '.join(SEQUENCES)}"
        )
    if facts.sequence not in (None, sequence):
        logger.warning("%s: read along %s, but its path says %s; check it", file, sequence, facts.sequence)
    border = borders.of_given(file, number, None)
    return ClassifierFile(file, str(file), facts, shape, sequence, border, name)


def warn_of_another(shown: str, description: str, shape: CheckpointShape) -> None:
    """Warn of a network whose pointer, decoder or class count belongs to another description."""
    if shape.description not in (None, description):
        logger.warning(
            "%s: taken as %s, but %s, as %s alone has in family %s; check the description",
            *(shown, description, shape.reason, shape.description, shape.family.name),
        )
