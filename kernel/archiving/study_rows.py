"""A study's record -> the columns of its rows, packed by the worker so that the driver only joins arrays."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lumbar.grading.doubt import members_deviation
from lumbar.grading.fallbacks import PRIOR
from lumbar.sites import SITE_NAMES, SITES

if TYPE_CHECKING:  # needs torch, which the driver does without
    from lumbar.grading.study_record import StudyRecord

PLACE = ("row", "column", "x_mm", "y_mm", "z_mm")  # of the first detector's point of a site
POINT = ("offset", "slice", "row", "column", "value")  # of FoundPoint, besides its names
SITE_NUMBERS = {name: number for number, name in enumerate(SITE_NAMES)}


@dataclass(frozen=True, eq=False)
class StudyRows:
    """The rows of one study in all three tables.

    Attributes:
        probabilities: (25, 3) float64, NaN at sites that were not graded.
        spread: (25,) standard deviation of the members, the largest of the three severities.
        places: (25, 5) float64, the columns of ``PLACE``; NaN where unknown.
        series: By site, the id of the point's series and the number of its instance, or None.
        reasons: By site, its fallback (or None), the reasons of its doubts, and of the study's flags on it.
        point_names: (n,) detectors, and (n,) numbers of sites.
        points: (n, 5) float64, the columns of ``POINT``.
        study: The other columns of the row in studies: faults, flags, fallback, seconds, plan, findings.
    """

    study_id: str
    probabilities: np.ndarray
    spread: np.ndarray
    places: np.ndarray
    series: tuple[tuple[str | None, int | None], ...]
    reasons: tuple[tuple[str | None, tuple[str, ...], tuple[str, ...]], ...]
    point_names: tuple[tuple[str, ...], tuple[int, ...]]
    points: np.ndarray
    study: dict


def rows_of(record: "StudyRecord") -> StudyRows:
    """Return the rows of a record with its details."""
    none = np.full((len(SITES), 3), np.nan)
    places = np.full((len(SITES), len(PLACE)), np.nan)
    series: list[tuple[str | None, int | None]] = [(None, None)] * len(SITES)
    for number, finding in enumerate(record.findings):
        if finding["points"]:
            point = finding["points"][0]
            places[number] = point["row"], point["column"], *(point["patient_mm"] or [np.nan] * 3)
            series[number] = point["series_id"], point["instance_number"]
    flagged: list[list[str]] = [[] for _ in SITES]
    for flag in record.flags:
        for site in flag.sites:
            flagged[SITE_NUMBERS[site]].append(flag.reason)
    return StudyRows(
        study_id=record.study_id,
        probabilities=none if record.probabilities is None else record.probabilities,
        spread=members_deviation(record.members),
        places=places,
        series=tuple(series),
        reasons=tuple(
            (record.fallbacks.get(site.description), record.doubts.get(site.name, ()), tuple(flagged[number]))
            for number, site in enumerate(SITES)
        ),
        point_names=(
            tuple(point.detector for point in record.points),
            tuple(SITE_NUMBERS[point.site] for point in record.points),
        ),
        points=np.array(
            [[getattr(point, name) for name in POINT] for point in record.points], np.float64
        ).reshape(-1, len(POINT)),
        study={
            "fallback": record.fallback,
            "faults": [fault._asdict() for fault in record.faults],
            "flags": [
                {"reason": f.reason, "message": f.message, "figure": f.figure, "unit": f.unit}
                for f in record.flags
            ],
            "detectors": record.plan.detectors,
            "classifiers": record.plan.classifiers,
            "members_run": record.members_run,
            "findings": json.dumps(record.findings, separators=(",", ":")),
            "seconds": json.dumps(record.seconds),
        },
    )


def ungraded_rows(study_id: str, reason: str, message: str) -> StudyRows:
    """Return the rows of ``record_ungraded``: a study that gets the prior because it could not be graded."""
    return StudyRows(
        study_id=study_id,
        probabilities=np.full((len(SITES), 3), np.nan),
        spread=np.zeros(len(SITES)),
        places=np.full((len(SITES), len(PLACE)), np.nan),
        series=((None, None),) * len(SITES),
        reasons=((PRIOR, (), ()),) * len(SITES),
        point_names=((), ()),
        points=np.zeros((0, len(POINT))),
        study={
            "fallback": PRIOR,
            "faults": [{"file": f"study {study_id}", "reason": reason, "message": message}],
            "flags": [],
            "detectors": 0,
            "classifiers": 0,
            "members_run": 0,
            "findings": "[]",
            "seconds": "{}",
        },
    )
