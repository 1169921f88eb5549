"""The path of a published checkpoint -> description, sequence axis, fold, seed, step of training, score.

The published files lie in folders such as ``sagittal_t1/fold2`` and ``stage2_finetuned_2024_3/fold5``, and end in
``epoch040-trainloss0.1779-testloss0.1900-testscore1.0469.bin``.
"""

import re
from dataclasses import dataclass
from pathlib import PurePath

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2

DESCRIPTIONS = {
    SAGITTAL_T1: r"(?<![a-z])sag(ittal)?[ _-]*t1",
    SAGITTAL_T2: r"(?<![a-z])(sag(ittal)?[ _-]*t2|stir(?![a-z]))",
    AXIAL_T2: r"(?<![a-z])(ax[ _-]*t2|axial)",
}
SEQUENCE = r"(?<![a-z])(level_slices|level_skip|level_region|level)(?![a-z])"
VERSIONS = ("level", "level_skip", "level_slices")  # family B numbers its sequence axes from 1
VERSION = r"version[ _-]*([123])(?!\d)"
SEED_AND_VERSION = r"stage2(?:_[a-z]+)*_(\d+)_([123])(?!\d)"
FOLD, SEED, SCORE = r"fold[ _-]*(\d+)", r"seed[ _-]*(\d+)", r"testscore(\d+(?:\.\d+)?)"
STEPS = {2: r"fine[ _-]*tun|step[ _-]*2", 1: r"pre[ _-]*train|step[ _-]*1"}


@dataclass(frozen=True)
class NameFacts:
    """The facts in a checkpoint's path; None where the path has none.

    Attributes:
        sequence: Of a classifier, one of ``SEQUENCES``.
        step: Of stage 2's training, 1 for AUC or 2 for the metric.
        score: The ``testscore``, lower is better: mean error of the points in stage 1, the metric in stage 2.
    """

    description: str | None
    sequence: str | None
    fold: int | None
    seed: int | None
    step: int | None
    score: float | None

    def member_name(self, kind: str) -> str:
        """Return a member's name: its kind, with the seed and the fold that are known."""
        seed = "" if self.seed is None else f"-seed{self.seed}"
        return kind + seed + ("" if self.fold is None else f"-fold{self.fold}")


def read_name(path: PurePath) -> NameFacts:
    """Read a path, the file's name before its folders'; give it relative to the folder that is imported."""
    parts = [part.lower() for part in reversed(path.parts)]
    seed, version = first(SEED_AND_VERSION, parts) or (None, None)
    seed = (first(SEED, parts) or (seed,))[0]
    version = (first(VERSION, parts) or (version,))[0]
    sequence = (first(SEQUENCE, parts) or (None,))[0]
    fold, score = (first(FOLD, parts) or (None,))[0], (first(SCORE, parts) or (None,))[0]
    return NameFacts(
        description=only_fitting(DESCRIPTIONS, parts),
        sequence=sequence or (None if version is None else VERSIONS[int(version) - 1]),
        fold=None if fold is None else int(fold),
        seed=None if seed is None else int(seed),
        step=only_fitting(STEPS, parts),
        score=None if score is None else float(score),
    )


def first(pattern: str, parts: list[str]) -> tuple[str, ...] | None:
    """Return the groups of the first part that the pattern is found in."""
    return next((found.groups() for part in parts if (found := re.search(pattern, part))), None)


def only_fitting(patterns: dict, parts: list[str]) -> object:
    """Return the key of the one pattern that is found in the first part with any; None where it has several."""
    for part in parts:
        keys = [key for key, pattern in patterns.items() if re.search(pattern, part)]
        if keys:
            return keys[0] if len(keys) == 1 else None
    return None
