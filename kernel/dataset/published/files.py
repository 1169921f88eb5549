"""Files and flags of an import -> the description or the sequence axis of each checkpoint.

A flag overrides the path. Flags, path, keys and shapes may leave a question open. Then the error names the file and
the flag that answers it; nothing is guessed.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dataset.published.answers import Answers, fits
from dataset.published.names import NameFacts, read_name
from dataset.published.shapes import (
    CheckpointShape,
    read_checkpoint,
    shape_of,
)
from lumbar.faults import BundleError
from lumbar.networks.architecture import SEQUENCES
from lumbar.networks.families import Family
from lumbar.sites import AXIAL_T2, DESCRIPTION_KEYS, SAGITTAL_T1

logger = logging.getLogger(__name__)

SUFFIXES = (".bin", ".pth", ".pt", ".safetensors")
PUBLISHED_DEPTH = 3  # parts of a published path, such as stage2_finetuned_42_1/fold1/epoch008.bin
# Their networks have the same shapes in family A.
ALIKE = [DESCRIPTION_KEYS[description] for description in (SAGITTAL_T1, AXIAL_T2)]


@dataclass(frozen=True)
class DetectorFile:
    """A stage-1 checkpoint.

    Attributes:
        shown: Path for people.
        detector: Name of the detector that it belongs to.
    """

    file: Path
    shown: str
    facts: NameFacts
    family: Family
    description: str
    detector: str


@dataclass(frozen=True)
class ClassifierFile:
    """A stage-2 checkpoint.

    Attributes:
        shown: Path for people.
        border: None takes the family's.
        name: As a flag gives it.
    """

    file: Path
    shown: str
    facts: NameFacts
    shape: CheckpointShape
    sequence: str
    border: str | None
    name: str | None = None


def find_checkpoints(folder: Path, skip: list[str]) -> list[Path]:
    """Return the checkpoints under a folder, sorted by path.

    Args:
        skip: Patterns of paths relative to the folder.

    Raises:
        BundleError: The folder is missing or holds none.
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


def take_folder(
    folder: Path, files: list[Path], sequences: Answers, borders: Answers, family: Family | None
) -> tuple[list[DetectorFile], list[ClassifierFile]]:
    """Infer the member of each file of a folder.

    Args:
        files: Paths under the folder.
        family: As ``--family`` gives it.

    Raises:
        BundleError: A question is open. The message lists every such file.
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
                questions.append(f"{file}: no description in its path; give {flags}")
                continue
            warn_of_another(str(relative), description, shape)
            detectors.append(DetectorFile(file, str(relative), facts, of_family, description, detector))
        else:
            sequence = sequences.of_found(relative, facts.sequence)
            if sequence is None:
                questions.append(
                    f"{file}: no sequence axis in its path; give --sequence AXIS for all such files, or "
                    f"--sequence '{relative.as_posix()}=AXIS', one of {', '.join(SEQUENCES)}"
                )
                continue
            border = borders.of_found(relative, None)
            classifiers.append(ClassifierFile(file, str(relative), facts, shape, sequence, border))
    if questions:
        raise BundleError("\n".join(questions))
    return detectors, classifiers


def take_detector(file: Path, description: str, detector: str, family: Family | None) -> DetectorFile:
    """Take a file for the description that a flag gives; warn where keys, shapes or path contradict it."""
    facts, shape = read_name(own_path(file)), shape_of(read_checkpoint(file), file)
    if shape.backbone is not None:
        raise BundleError(
            f"{file}: got a classifier's checkpoint, expected a detector's; give it with --classifier"
        )
    if facts.description not in (None, description):
        logger.warning("%s: given as %s, but its path has %s; check it", file, description, facts.description)
    warn_of_another(str(file), description, shape)
    return DetectorFile(file, str(file), facts, family or shape.family, description, detector)


def take_classifier(
    file: Path, name: str | None, number: int, sequences: Answers, borders: Answers
) -> ClassifierFile:
    """Take the file that the ``--classifier`` flag of this number names; BundleError without a sequence axis."""
    facts, shape = read_name(own_path(file)), shape_of(read_checkpoint(file), file)
    if shape.backbone is None:
        raise BundleError(
            f"{file}: got a detector's checkpoint, expected a classifier's; give it with --detector"
        )
    sequence = sequences.of_given(file, number, facts.sequence)
    if sequence is None:
        raise BundleError(
            f"{file}: no sequence axis in its path; give --sequence, one of {', '.join(SEQUENCES)}"
        )
    if facts.sequence not in (None, sequence):
        logger.warning("%s: read along %s, but its path has %s; check it", file, sequence, facts.sequence)
    border = borders.of_given(file, number, None)
    return ClassifierFile(file, str(file), facts, shape, sequence, border, name)


def own_path(file: Path) -> Path:
    """Return the end of a path as deep as the published ones: folders further up belong to the user."""
    return Path(*file.parts[-PUBLISHED_DEPTH:])


def warn_of_another(shown: str, description: str, shape: CheckpointShape) -> None:
    """Warn of a network with the pointer, decoder or class count of another description."""
    if shape.description not in (None, description):
        logger.warning(
            "%s: taken as %s, but %s, as %s alone has in family %s; check the description",
            *(shown, description, shape.reason, shape.description, shape.family.name),
        )
