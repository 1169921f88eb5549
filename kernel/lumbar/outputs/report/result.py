"""What a run knows of a study, whether just graded or read back from the journal, as the pages show it."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from lumbar.faults import Fault
from lumbar.grading.ensemble import Detection
from lumbar.grading.plausibility import Flag
from lumbar.grading.study_grading import GradedStudy
from lumbar.sites import SITE_NAMES, SITES

STATUSES = ("prior", "zero crops", "warning", "fine")  # the worst first


@dataclass(frozen=True)
class Result:
    """One study's outcome; arrays as in GradedStudy, ``detections`` empty when it comes from the journal."""

    study_id: str
    probabilities: np.ndarray | None
    members: dict[tuple[str, str], np.ndarray]
    detections: dict[str, Detection]
    faults: list[Fault]
    flags: list[Flag]
    missing: list[str]
    seconds: dict[str, float]
    heard: int  # members that had a say
    planned: int  # members of the bundle: detectors x classifiers

    @property
    def status(self) -> str:
        """``"prior"`` and ``"zero crops"`` are fallbacks; ``"warning"``: faults, flags, fewer members."""
        if self.probabilities is None:
            return "prior"
        if self.missing:
            return "zero crops"
        return "warning" if self.faults or self.flags or self.heard < self.planned else "fine"

    @property
    def disagreement(self) -> np.ndarray | None:
        """By how much members differ at each site, (25,): the widest range of a severity's probability, 0..1."""
        if len(self.members) < 2:
            return None
        return np.ptp(np.stack(list(self.members.values())), axis=0).max(axis=-1)

    @property
    def badness(self) -> np.ndarray | None:
        """(25,) 0..1: P(severe) + P(moderate) / 2, to shade and to sort by, no grade."""
        return None if self.probabilities is None else self.probabilities @ [0, 0.5, 1]

    def digest(self, bundle: str) -> str:
        """Return a hash of what was submitted and why: equal when a page of an earlier run still tells it."""
        rows = None if self.probabilities is None else self.probabilities.tolist()
        said = [self.study_id, rows, self.missing, [list(f) for f in self.faults], bundle]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def entry(self, page: str, bundle: str, slices: dict[str, int]) -> dict:
        """Return the study's row of the index as JSON. page: its file; slices: by description."""
        worst = None if self.badness is None else int(self.badness.argmax())
        disagreement = self.disagreement
        return {
            "study_id": self.study_id,
            "page": page,
            "status": self.status,
            "missing": self.missing,
            "reasons": list(
                dict.fromkeys([*(f.reason for f in self.faults), *(f.reason for f in self.flags)])
            ),
            "faults": len(self.faults),
            "flags": len(self.flags),
            "badness": None if worst is None else [round(float(b), 3) for b in self.badness],
            "worst": None if worst is None else worst,
            "worst_probabilities": None if worst is None else self.probabilities[worst].tolist(),
            "disagreement": None if disagreement is None else round(float(disagreement.max()), 3),
            "slices": slices,
            "seconds": round(sum(self.seconds.values()), 1),
            "digest": self.digest(bundle),
        }


def read_result(graded: GradedStudy | dict, flags: list, planned: int) -> Result:
    """Return the result of a graded study or of its journal record; flags as Flag or as JSON.

    planned: how many members the bundle has, detectors x classifiers.
    """
    flags = [
        flag if isinstance(flag, Flag) else Flag(**flag | {"sites": tuple(flag["sites"])}) for flag in flags
    ]
    if isinstance(graded, GradedStudy):
        return Result(
            graded.study_id,
            graded.probabilities,
            graded.members,
            graded.detections,
            graded.faults,
            flags,
            graded.missing,
            graded.seconds,
            len(graded.members),
            planned,
        )
    members: dict[tuple[str, str], np.ndarray] = {}
    for detector, classifier, site, *row in graded["members"]:
        rows = members.setdefault((detector, classifier), np.full((len(SITES), 3), np.nan))
        rows[SITE_NAMES.index(site)] = row
    return Result(
        graded["study_id"],
        None if graded["probabilities"] is None else np.array(graded["probabilities"]),
        members,
        {},
        [Fault(**fault) for fault in graded["faults"]],
        flags,
        graded["missing"],
        graded["seconds"],
        graded["plan"]["detectors"] * graded["plan"]["classifiers"],
        planned,
    )
