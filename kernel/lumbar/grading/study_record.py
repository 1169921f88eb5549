"""What is kept of a graded study: a line of the journal, from which all tables, findings and pages are made."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple

import numpy as np

from lumbar.faults import Fault
from lumbar.grading.patient_points import volume_slices
from lumbar.grading.plausibility import Flag
from lumbar.grading.study_grading import GradedStudy
from lumbar.grading.time_limit import NO_MEMBERS, Plan
from lumbar.grids import CROP_OFFSETS, MIDDLE
from lumbar.reading.study import Study
from lumbar.sites import DESCRIPTION_SITES, SEVERITIES, SITE_NAMES

VERSION = 2  # of a record's JSON; records without a version, from before there was one, count as 1


class RecordError(Exception):
    """JSON that is no record of a study, or one of another version."""


class FoundPoint(NamedTuple):
    """A detector's point of a site on one slice of the site's crop.

    Attributes:
        offset: Slices from the site's own slice, -2..2.
        slice: Of the study's volume, from 0; a fraction where the detector read a squeezed volume.
        row: Pixel of the detector grid.
        column: Pixel of the detector grid.
        value: Of the heatmap there, 0..1.
    """

    detector: str
    site: str
    offset: int
    slice: float
    row: int
    column: int
    value: float


@dataclass(frozen=True, eq=False)
class StudyRecord:
    """A study's outcome.

    Attributes:
        probabilities: (25, 3) float64 in the order of ``SITES``, as submitted. None: the prior is submitted.
        faults: Of the study's files, and of members that failed.
        missing: Descriptions without a usable series.
        flags: Doubts about the detectors' points.
        plan: The detectors and classifiers that were run.
        members_run: How many members, pairs of a detector and a classifier, graded the study.
        seconds: By stage.
        members: (25, 3) probabilities by detector and classifier.
        points: All detectors' points.
        findings: The 25 sites as ``outputs/findings.py`` writes them.
    """

    study_id: str
    probabilities: np.ndarray | None = None
    faults: tuple[Fault, ...] = ()
    missing: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    plan: Plan = NO_MEMBERS
    members_run: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    members: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    points: tuple[FoundPoint, ...] = ()
    findings: list[dict] = field(default_factory=list)

    def without_details(self) -> "StudyRecord":
        """Return the record without what only the tables and findings of ``--dump`` need."""
        return replace(self, members={}, points=(), findings=[])

    def to_json(self) -> dict:
        """Return the record as JSON values, with its version."""
        return {
            "version": VERSION,
            "study_id": self.study_id,
            "probabilities": None if self.probabilities is None else self.probabilities.tolist(),
            "faults": [fault._asdict() for fault in self.faults],
            "missing": list(self.missing),
            "flags": [flag._asdict() for flag in self.flags],
            "plan": asdict(self.plan),
            "members_run": self.members_run,
            "seconds": self.seconds,
            "members": [[*member, rows.tolist()] for member, rows in self.members.items()],
            "points": [list(point) for point in self.points],
            "findings": self.findings,
        }

    @classmethod
    def from_json(cls, content: dict) -> "StudyRecord":
        """Return the record that ``to_json`` gave.

        Raises:
            RecordError: The content is no record, or one of another version.
        """
        if not isinstance(content.get("study_id"), str):
            raise RecordError("got no study_id, expected a study's record")
        version = content.get("version", 1)
        if version != VERSION:
            raise RecordError(f"got a record of version {version}, expected version {VERSION}")
        try:
            rows = content["probabilities"]
            return cls(
                study_id=content["study_id"],
                probabilities=None if rows is None else grades(rows),
                faults=tuple(Fault(**fault) for fault in content["faults"]),
                missing=tuple(content["missing"]),
                flags=tuple(Flag(**flag | {"sites": tuple(flag["sites"])}) for flag in content["flags"]),
                plan=Plan(**content["plan"]),
                members_run=content["members_run"],
                seconds=content["seconds"],
                members={(d, c): grades(rows) for d, c, rows in content["members"]},
                points=tuple(FoundPoint(*point) for point in content["points"]),
                findings=content["findings"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(
                f"got {type(error).__name__}: {error}, expected the fields of a record"
            ) from error


def grades(rows: list) -> np.ndarray:
    """Return rows of JSON as (25, 3) float64; ValueError for any other shape."""
    return np.array(rows, np.float64).reshape(len(SITE_NAMES), len(SEVERITIES))


def record_graded(study: Study, graded: GradedStudy, flags: list[Flag], findings: list[dict]) -> StudyRecord:
    """Return the record of a study that went through the ensemble."""
    return StudyRecord(
        study_id=graded.study_id,
        probabilities=graded.probabilities,
        faults=tuple(graded.faults),
        missing=tuple(graded.missing),
        flags=tuple(flags),
        plan=graded.plan,
        members_run=len(graded.members),
        seconds=graded.seconds,
        members=graded.members,
        points=tuple(found_points(study, graded)),
        findings=findings,
    )


def record_ungraded(study_id: str, reason: str, message: str) -> StudyRecord:
    """Return the record of a study that gets the prior because it could not be graded."""
    return StudyRecord(study_id, faults=(Fault(f"study {study_id}", reason, message),))


def found_points(study: Study, graded: GradedStudy) -> Iterator[FoundPoint]:
    """Yield the points of a graded study: one per site of a fixed detector, five of a dynamic one."""
    for detector, detection in graded.detections.items():
        for description, found in detection.points.items():
            slices = volume_slices(found, len(study.volumes[description]))
            offsets = range(len(CROP_OFFSETS)) if found.kind == "dynamic" else (MIDDLE,)
            for number, site in enumerate(SITE_NAMES[DESCRIPTION_SITES[description]]):
                for offset in offsets:
                    _, row, column = found.points[number, offset].tolist()
                    place = slices[number, offset].item(), row, column
                    value = found.values[number, offset].item()
                    yield FoundPoint(detector, site, CROP_OFFSETS[offset], *place, value)
