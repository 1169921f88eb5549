"""Checkpoints of a folder -> detectors and classifiers in the order of the manifest, most valuable first.

A run with a short time limit takes the first members alone. Two members that differ in kind add more to a mean than
two folds of one kind. Hence the rule:

* detectors: the families by turns, each family's folds from the best score to the worst;
* classifiers: the kinds (backbone and sequence axis) by turns, each kind's members from the best score to the worst.

Scores are the file names' ``testscore``, lower is better. Without them the lower fold and seed come first.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from statistics import mean
from typing import TypeVar

from dataset.published.files import ClassifierFile, DetectorFile
from lumbar.faults import BundleError
from lumbar.networks.families import FAMILIES, Family
from lumbar.sites import DESCRIPTIONS

T = TypeVar("T")
UNKNOWN = float("inf")  # sorts a file without a score behind those with one


@dataclass(frozen=True)
class DetectorGroup:
    """The files of one detector by description."""

    name: str
    files: dict[str, DetectorFile]

    @property
    def family(self) -> Family:
        """Family B if any of the files is: its axial network has the encoder of family A."""
        names = {file.family.name for file in self.files.values()}
        return FAMILIES[max(names)]


def given_detectors(files: Iterable[DetectorFile]) -> list[DetectorGroup]:
    """Group files by the detector that a flag names, in the order given; BundleError for a description twice."""
    groups: dict[str, dict[str, DetectorFile]] = defaultdict(dict)
    for file in files:
        if file.description in groups[file.detector]:
            raise BundleError(
                f"--detector: got two checkpoints of {file.description} for detector {file.detector!r}, expected one; "
                "give folds different names, NAME:DESCRIPTION=FILE"
            )
        groups[file.detector][file.description] = file
    return [DetectorGroup(name, by_description) for name, by_description in groups.items()]


def folds_of_detectors(files: Iterable[DetectorFile]) -> list[DetectorGroup]:
    """Group a folder's files by family, seed and fold; return the detectors, most valuable first.

    A fold without a description that its family has takes the family's best file of it. The authors' family B has
    an axial network of the first fold alone.
    """
    families: dict[str, dict[str, dict[str, DetectorFile]]] = defaultdict(lambda: defaultdict(dict))
    for file in files:
        families[file.family.name][file.detector][file.description] = file
    ordered = []
    for _, detectors in sorted(families.items()):
        of_family = [file for own in detectors.values() for file in own.values()]
        best = {
            d: min((f for f in of_family if f.description == d), key=value, default=None)
            for d in DESCRIPTIONS
        }
        groups = [
            DetectorGroup(name, {d: own.get(d, file) for d, file in best.items() if file is not None})
            for name, own in detectors.items()
        ]
        ordered.append(sorted(groups, key=group_value))
    return by_turns(ordered)


def joined(given: list[DetectorGroup], found: list[DetectorGroup]) -> list[DetectorGroup]:
    """Return all detectors, given ones first; a given one with the name of a found one adds its files to that one."""
    by_name = {group.name: group for group in given}
    completed = []
    for group in found:
        files = group.files | (by_name.pop(group.name).files if group.name in by_name else {})
        completed.append(DetectorGroup(group.name, files))
    return [*by_name.values(), *completed]


def kinds_of_classifiers(files: Iterable[ClassifierFile]) -> list[ClassifierFile]:
    """Return a folder's classifiers, most valuable first."""
    kinds: dict[tuple, list[ClassifierFile]] = defaultdict(list)
    for file in files:
        kinds[file.shape.backbone, file.sequence].append(file)
    ordered = [sorted(of_kind, key=value) for of_kind in kinds.values()]
    return by_turns(sorted(ordered, key=lambda of_kind: value(of_kind[0])))


def classifier_names(files: Iterable[ClassifierFile]) -> list[str]:
    """Return each classifier's name: a flag's, or made of backbone, sequence axis, seed and fold."""
    names: list[str] = []
    for file in files:
        name = file.name or file.facts.member_name(f"{file.shape.backbone}-{file.sequence}")
        numbers = [name, *(f"{name}-{number}" for number in range(2, len(names) + 2))]
        names.append(name if file.name else next(number for number in numbers if number not in names))
    return names


def value(file: DetectorFile | ClassifierFile) -> tuple:
    """Return a sort key: the better score first, then the lower fold and seed."""
    facts = file.facts
    return (UNKNOWN if facts.score is None else facts.score, facts.fold or 0, facts.seed or 0, file.shown)


def group_value(group: DetectorGroup) -> tuple:
    """Return a sort key by the mean score of a detector's files; a family's detectors have the same descriptions."""
    values = [value(file) for file in group.files.values()]
    return (mean(score for score, *_ in values), *values[0][1:])


def by_turns(lists: Iterable[list[T]]) -> list[T]:
    """Return the first of each list, then the second of each, and so on."""
    return [one for turn in zip_longest(*lists) for one in turn if one is not None]
