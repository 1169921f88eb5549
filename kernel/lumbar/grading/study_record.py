"""The record of a graded study: a line of the journal, from which all tables, findings and pages are made."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple

import numpy as np

from lumbar.faults import Fault
from lumbar.grading.doubt import doubtful_sites
from lumbar.grading.flag import Flag
from lumbar.grading.graded_study import PRIOR, ZERO_CROPS, GradedStudy
from lumbar.grading.patient_points import volume_slices
from lumbar.grading.series_doubt import sites_in_other_series
from lumbar.grading.time_limit import NO_MEMBERS, Plan
from lumbar.grids import CROP_OFFSETS, MIDDLE
from lumbar.reading.study import Study
from lumbar.sites import DESCRIPTION_SITES, DESCRIPTIONS, SEVERITIES, SITE_NAMES, class_count

VERSION = 3  # of a record's JSON; records without a version, from before there was one, count as 1


SOME_PRIOR = "prior at some sites"


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
        probabilities: (25, 3) float64 in the order of ``SITES``; NaN at sites that no member graded. None if no
            site was graded. The prior is submitted for sites without grades.
        faults: Of the study's files, and of members that failed.
        fallbacks: By description without grades of its own crops: ``PRIOR`` or ``ZERO_CROPS``.
        flags: Doubts about the detectors' points.
        doubts: By site, why its grade is doubtful (``DOUBT_REASONS``).
        plan: The detectors and classifiers that were run.
        members_run: How many members, pairs of a detector and a classifier, graded the study.
        seconds: By stage.
        members: (25, 3) probabilities by detector and classifier, NaN at sites that the member did not grade.
        points: All detectors' points.
        findings: The 25 sites as ``outputs/findings.py`` writes them.
    """

    study_id: str
    probabilities: np.ndarray | None = None
    faults: tuple[Fault, ...] = ()
    fallbacks: dict[str, str] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    doubts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    plan: Plan = NO_MEMBERS
    members_run: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    members: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    points: tuple[FoundPoint, ...] = ()
    findings: list[dict] = field(default_factory=list)

    @property
    def fallback(self) -> str | None:
        """``PRIOR`` for a study without any grade, ``SOME_PRIOR`` or ``ZERO_CROPS`` for some sites; None for none."""
        if self.probabilities is None:
            return PRIOR
        given = set(self.fallbacks.values())
        return None if not given else SOME_PRIOR if PRIOR in given else ZERO_CROPS

    @property
    def fallback_sites(self) -> Counter[str]:
        """The number of sites by fallback, ``PRIOR`` or ``ZERO_CROPS``."""
        return Counter(
            given for description, given in self.fallbacks.items() for _ in range(class_count(description))
        )

    def without_details(self) -> "StudyRecord":
        """Return the record without the parts that only the tables and findings of ``--dump`` need."""
        return replace(self, members={}, points=(), findings=[])

    def to_json(self) -> dict:
        """Return the record as JSON values, with its version."""
        return {
            "version": VERSION,
            "study_id": self.study_id,
            "probabilities": None if self.probabilities is None else grade_rows(self.probabilities),
            "faults": [fault._asdict() for fault in self.faults],
            "fallbacks": self.fallbacks,
            "flags": [flag._asdict() for flag in self.flags],
            "doubts": {site: list(reasons) for site, reasons in self.doubts.items()},
            "plan": asdict(self.plan),
            "members_run": self.members_run,
            "seconds": self.seconds,
            "members": [[*member, grade_rows(rows)] for member, rows in self.members.items()],
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
                fallbacks=dict(content["fallbacks"]),
                flags=tuple(Flag(**flag | {"sites": tuple(flag["sites"])}) for flag in content["flags"]),
                doubts={site: tuple(reasons) for site, reasons in content["doubts"].items()},
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


def grade_rows(probabilities: np.ndarray) -> list[list[float] | None]:
    """Return probabilities (25, 3) as JSON, None for a site that was not graded."""
    return [None if np.isnan(row).any() else row.tolist() for row in probabilities]


def grades(rows: list[list[float] | None]) -> np.ndarray:
    """Return the probabilities that ``grade_rows`` gave; ValueError for any other shape."""
    none = [np.nan] * len(SEVERITIES)
    whole = [none if row is None else row for row in rows]
    return np.array(whole, np.float64).reshape(len(SITE_NAMES), len(SEVERITIES))


def record_graded(study: Study, graded: GradedStudy, flags: list[Flag], findings: list[dict]) -> StudyRecord:
    """Return the record of a study that went through the ensemble."""
    return StudyRecord(
        study_id=graded.study_id,
        probabilities=graded.probabilities,
        faults=tuple(graded.faults),
        fallbacks=graded.fallbacks,
        flags=tuple(flags),
        doubts=doubtful_sites(
            graded.probabilities, graded.members, sites_in_other_series(study.volumes, graded.detections)
        ),
        plan=graded.plan,
        members_run=len(graded.members),
        seconds=graded.seconds,
        members=graded.members,
        points=tuple(found_points(study, graded)),
        findings=findings,
    )


def record_ungraded(study_id: str, reason: str, message: str) -> StudyRecord:
    """Return the record of a study that gets the prior because it could not be graded."""
    faults = (Fault(f"study {study_id}", reason, message),)
    return StudyRecord(study_id, faults=faults, fallbacks=dict.fromkeys(DESCRIPTIONS, PRIOR))


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
