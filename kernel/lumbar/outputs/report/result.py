"""A study's outcome as the pages show it, just graded or read back from the journal."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from lumbar.faults import Fault
from lumbar.grading.detection import Detection
from lumbar.grading.flag import Flag
from lumbar.grading.graded_study import PRIOR, ZERO_CROPS
from lumbar.grading.study_record import SOME_PRIOR, StudyRecord, grade_rows
from lumbar.sites import DESCRIPTION_SITES, SITES

FALLBACKS = (PRIOR, SOME_PRIOR, ZERO_CROPS)
FALLBACK_REASONS = {PRIOR: "prior", ZERO_CROPS: "zero_crops"}  # of a site, as a reason to look at it twice
PAGE_VERSION = 3  # of a page and its row of the index; a page of another version is written anew
STATUSES = (*FALLBACKS, "warning", "doubt", "fine")  # the worst first


@dataclass(frozen=True)
class Result:
    """One study's outcome; fields as in StudyRecord, ``detections`` empty when it comes from the journal."""

    study_id: str
    probabilities: np.ndarray | None
    members: dict[tuple[str, str], np.ndarray]
    detections: dict[str, Detection]
    faults: tuple[Fault, ...]
    flags: tuple[Flag, ...]
    doubts: dict[str, tuple[str, ...]]
    fallbacks: dict[str, str]
    fallback: str | None
    seconds: dict[str, float]
    members_run: int  # members that graded the study
    planned: int  # members of the bundle: detectors x classifiers

    @property
    def status(self) -> str:
        """The record's fallback, or ``"warning"`` for faults, flags and fewer members, ``"doubt"`` or ``"fine"``."""
        if self.fallback:
            return self.fallback
        if self.faults or self.flags or self.members_run < self.planned:
            return "warning"
        return "doubt" if self.doubts else "fine"

    @property
    def marked_sites(self) -> dict[str, tuple[str, ...]]:
        """The sites to look at twice, by name: the reasons of their doubts and flags, and fallbacks of their series."""
        marked = dict(self.doubts)
        if self.probabilities is not None:
            for description, given in self.fallbacks.items():
                for site in SITES[DESCRIPTION_SITES[description]]:
                    marked[site.name] = (*marked.get(site.name, ()), FALLBACK_REASONS[given])
        for flag in self.flags:
            for site in flag.sites:
                marked[site] = tuple(dict.fromkeys((*marked.get(site, ()), flag.reason)))
        return marked

    def calibrated_on(self, about: dict) -> str | None:
        """Return the data that the grades' calibration was fitted on; None if none was applied.

        Args:
            about: As in run.json. ``calibration`` holds ``fitted_on`` and ``holds_for_partial``.
        """
        calibration = about.get("calibration")
        if calibration and (self.members_run >= self.planned or calibration["holds_for_partial"]):
            return calibration["fitted_on"]
        return None

    @property
    def disagreement(self) -> np.ndarray | None:
        """By how much members differ at each site, (25,): the widest range of a severity's probability, 0..1.

        0 at sites that fewer than two members graded.
        """
        if len(self.members) < 2:
            return None
        members = np.stack(list(self.members.values()))
        ungraded = np.isnan(members)
        highest = np.where(ungraded, 0, members).max(axis=0)
        lowest = np.where(ungraded, 1, members).min(axis=0)
        return np.maximum(highest - lowest, 0).max(axis=-1)

    @property
    def badness(self) -> np.ndarray | None:
        """(25,) 0..1: P(severe) + P(moderate) / 2, to shade and to sort by, no grade; 0 at sites without grades."""
        return None if self.probabilities is None else np.nan_to_num(self.probabilities) @ [0, 0.5, 1]

    def digest(self, bundle: str) -> str:
        """Return a hash of the submitted rows and faults: an earlier page with the same hash still holds."""
        rows = None if self.probabilities is None else grade_rows(self.probabilities)
        said = [PAGE_VERSION, self.study_id, rows, self.fallbacks, [list(f) for f in self.faults], bundle]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def entry(self, page: str, bundle: str, slices: dict[str, int]) -> dict:
        """Return the study's row of the index as JSON.

        Args:
            page: File of the study's page.
            bundle: SHA-256 of the bundle.
            slices: Number of slices by description.
        """
        disagreement = self.disagreement
        worst = {"badness": None, "worst": None, "worst_probabilities": None}
        if self.probabilities is not None and self.badness is not None:
            site = int(self.badness.argmax())
            worst = {
                "badness": [round(float(b), 3) for b in self.badness],
                "worst": site,
                "worst_probabilities": self.probabilities[site].tolist(),
            }
        return worst | {
            "study_id": self.study_id,
            "page": page,
            "status": self.status,
            "missing": list(self.fallbacks) if self.probabilities is not None else [],
            "reasons": list(
                dict.fromkeys([*(f.reason for f in self.faults), *(f.reason for f in self.flags)])
            ),
            "faults": len(self.faults),
            "flags": len(self.flags),
            "doubtful": len(self.marked_sites),
            "disagreement": None if disagreement is None else round(float(disagreement.max()), 3),
            "slices": slices,
            "seconds": round(sum(self.seconds.values()), 1),
            "digest": self.digest(bundle),
        }


def read_result(record: StudyRecord, detections: dict[str, Detection], planned: int) -> Result:
    """Return a study's outcome as the pages show it.

    Args:
        detections: By detector; empty where the record comes from a journal.
        planned: Members of the bundle, detectors x classifiers.
    """
    return Result(
        study_id=record.study_id,
        probabilities=record.probabilities,
        members=record.members,
        detections=detections,
        faults=record.faults,
        flags=record.flags,
        doubts=record.doubts,
        fallbacks=record.fallbacks,
        fallback=record.fallback,
        seconds=record.seconds,
        members_run=record.members_run,
        planned=planned,
    )
