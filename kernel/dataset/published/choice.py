"""The choice between files of one member, saved at different times of its training."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import TypeVar

from dataset.published.files import ClassifierFile, DetectorFile
from lumbar.faults import BundleError

Checkpoint = TypeVar("Checkpoint", DetectorFile, ClassifierFile)
STEP_RANKS = {2: 2, None: 1, 1: 0}  # of stage 2's training; a file that does not name its step is between


def choose_detectors(files: Iterable[DetectorFile]) -> tuple[list[DetectorFile], dict[str, str]]:
    """Choose one file for each family, seed, fold and description, see ``choose``."""
    return choose(files, lambda f: (f.detector, f.description), apart=False)


def choose_classifiers(files: Iterable[ClassifierFile]) -> tuple[list[ClassifierFile], dict[str, str]]:
    """Choose one file for each folder, backbone, sequence axis, seed and fold, see ``choose``."""
    return choose(files, lambda f: (f.shape.backbone, f.sequence, f.facts.seed, f.facts.fold), apart=True)


def choose(
    files: Iterable[Checkpoint], key: Callable[[Checkpoint], Hashable], apart: bool
) -> tuple[list[Checkpoint], dict[str, str]]:
    """Choose among files of one key: the last step of training, and in each folder the best score.

    Args:
        files: Of one folder that is imported.
        key: Of a member.
        apart: Whether files of one key and step in different folders are different members.

    Returns:
        The chosen files, in order, and why each of the others was left out.

    Raises:
        BundleError: The names do not decide.
    """
    alike: dict[Hashable, list[Checkpoint]] = defaultdict(list)
    for file in files:
        alike[key(file)].append(file)
    chosen, left_out = [], {}
    for group in alike.values():
        last = max(STEP_RANKS[file.facts.step] for file in group)
        folders: dict[Path, list[Checkpoint]] = defaultdict(list)
        for file in group:
            if STEP_RANKS[file.facts.step] == last:
                folders[file.file.parent].append(file)
            else:
                left_out[file.shown] = "left out: a later step of its training is there"
        if len(folders) > 1 and not apart:
            raise BundleError(which_one([file for of_folder in folders.values() for file in of_folder]))
        for of_folder in folders.values():
            best = best_score(of_folder)
            chosen.append(best)
            left_out |= {
                file.shown: f"left out: score {file.facts.score:g}, another epoch has {best.facts.score:g}"
                for file in of_folder
                if file is not best
            }
    return chosen, left_out


def best_score(files: list[Checkpoint]) -> Checkpoint:
    if len(files) > 1 and any(file.facts.score is None for file in files):
        raise BundleError(which_one(files))
    return min(files, key=lambda file: file.facts.score or 0)


def which_one(files: list[Checkpoint]) -> str:
    return (
        f"{', '.join(str(file.file) for file in files)}: got {len(files)} checkpoints of one member, expected one, "
        "or a fold or seed in the path; leave the others out with --skip PATTERN"
    )
