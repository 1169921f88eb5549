"""An ensemble in memory: its members, and what belongs to them."""

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lumbar.bundle.calibration import Calibration
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.parked_weights import Scratch


@dataclass(frozen=True)
class Detector:
    """One member of stage 1: up to three networks, and how its heatmaps become points.

    Attributes:
        name: Unique among the bundle's detectors.
        xy: One of ``POINT_KINDS``.
        networks: By description.
        sagittal_prior_mm: Width of the prior that its canal points are for the axial slices
            (``lumbar.grading.sagittal_prior``), mm. None for no prior.
        joint_levels: Whether the levels and sides of a sagittal volume are chosen together
            (``lumbar.grading.joint_search``), not each site by itself.
    """

    name: str
    xy: str
    networks: dict[str, DetectorNetwork]
    sagittal_prior_mm: float | None = None
    joint_levels: bool = False


# The fields of a detector that a manifest leaves out where they are off.
SEARCH_OPTIONS = ("sagittal_prior_mm", "joint_levels")


@dataclass(frozen=True)
class Classifier:
    """One member of stage 2 and its weight in the mean."""

    name: str
    weight: float
    network: ClassifierNetwork


class LeftOut(NamedTuple):
    """A member that can't be built or read here, and why."""

    member: str
    message: str


class Members(NamedTuple):
    """The names of a bundle's members that are there, most valuable first, and those that are left out."""

    detectors: tuple[str, ...]
    classifiers: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class Bundle:
    """An ensemble that is ready to run; members are in the manifest's order, most valuable first.

    Attributes:
        prior: (25, 3) float64, rows sum to 1: the submission for a study that can't be read.
        fingerprint: SHA-256 of the manifest, which itself holds every file's hash.
        calibration: Applied to the mean of the members; None leaves it as it is.
        attribution: Names, authors, licences and changes of the data learnt from, where a licence requires them.
        left_out: Members that can't be built or read here.
        scratch: Files in which the weights of waiting classifiers lie.
    """

    name: str
    trained_on: str
    detectors: tuple[Detector, ...]
    classifiers: tuple[Classifier, ...]
    prior: np.ndarray
    fingerprint: str
    calibration: Calibration | None = None
    attribution: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    scratch: Scratch = dataclasses.field(default_factory=lambda: Scratch(resident_bytes=0))

    @property
    def members(self) -> Members:
        """The names of its members."""
        detectors = tuple(detector.name for detector in self.detectors)
        return Members(detectors, tuple(member.name for member in self.classifiers), self.left_out)
