"""Graded studies without a network: phantom spines, points of two detectors, grades of members."""

from collections.abc import Sequence

import numpy as np

from lumbar.faults import Fault
from lumbar.grading.flag import Flag
from lumbar.grading.graded_study import PRIOR, GradedStudy
from lumbar.grading.study_record import record_graded
from lumbar.grading.time_limit import Plan
from lumbar.networks.architecture import CropRule
from lumbar.outputs.report import Report
from lumbar.reading.study import Study
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, DESCRIPTIONS, SAGITTAL_T1, SAGITTAL_T2
from tests.making.spine import detection_of, phantom_spine

HOSTILE = "<img src=x onerror=alert(1)>\"'&../../etc"
CALIBRATION = {"fitted_on": "500 studies", "holds_for_partial": False}  # of a run's ``about``
ABOUT = {
    "bundle": "small <b>bundle</b>",
    "trained_on": "phantoms",
    "bundle_sha256": "0" * 64,
    "detectors": ["fixed", "dynamic"],
    "classifiers": ["level", "all"],
    "device": "cpu",
    "precision": "fp32",
    "data": "/data",
    "versions": {"python": "3"},
    "crop_rule": CropRule("shift"),
    "prior": [[0.8, 0.15, 0.05]] * 25,
}
SUMMARY = {"seconds": {"total": 12.0}, "fewer_members": {}}


def decisions_of(study_id: str) -> list[dict]:
    """Return the decisions of a plain folder's scan on a study's series, uids as long as real ones."""
    told = [
        (HOSTILE, None, "localizer", f"the text {HOSTILE!r} names a localizer"),
        (
            "t2_tse_sag_320",
            SAGITTAL_T2,
            "",
            "sagittal by ImageOrientationPatient; T2 by TE 100 ms, TR 3500 ms",
        ),
        ("", None, "unknown_sequence", "got no TE and TR, the text ''; neither tells the weighting"),
        ("t1_tse_sag", SAGITTAL_T1, "", "sagittal by ImageOrientationPatient; T1 by TE 10 ms, TR 600 ms"),
        ("t2_tse_tra_msma", AXIAL_T2, "", "axial by ImageOrientationPatient; T2 by TE 95 ms, TR 4000 ms"),
    ]
    return [
        {
            "study_id": study_id,
            "series_id": f"1.3.12.2.1107.5.2.43.66021.20230911091544{number:017d}.0.0.0",
            "number": number if text else None,
            "text": text,
            "description": description,
            "reason": reason,
            "why": why,
            "files": 15,
        }
        for number, (text, description, reason, why) in enumerate(told, start=1)
    ]


def members_of(seed: int) -> dict[tuple[str, str], np.ndarray]:
    """Return the grades of two times two members, (25, 3) each, all different."""
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 2, (25, 3))
    logits = {
        (d, c): base + rng.normal(0, 0.5, (25, 3)) for d in ABOUT["detectors"] for c in ABOUT["classifiers"]
    }
    return {name: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for name, x in logits.items()}


def graded_study(index: int, detectors: tuple[str, ...] = ("fixed", "dynamic")) -> tuple[Study, GradedStudy]:
    """Return a study that was graded by four members; the second detector is a few millimetres off."""
    study, sites = phantom_spine(index)
    graded = GradedStudy(study.study_id, members=members_of(index), plan=Plan(2, 2))
    graded.seconds = {"stage 1": 1.0, "stage 2": 2.0}
    rng = np.random.default_rng(index)
    graded.detections = {
        name: detection_of(study, sites + rng.normal(0, 2, sites.shape) * (number > 0))
        for number, name in enumerate(detectors)
    }
    graded.probabilities = np.mean(list(graded.members.values()), axis=0)
    return study, graded


def without_doubt(study: Study, graded: GradedStudy) -> tuple[Study, GradedStudy]:
    """Return the study as if all members agreed on a clear grade of every site."""
    rows = np.eye(3)[graded.probabilities.argmax(axis=1)] * 0.9 + 0.1 / 3
    graded.members, graded.probabilities = dict.fromkeys(graded.members, rows), rows
    return study, graded


def without_axial(study: Study, graded: GradedStudy) -> tuple[Study, GradedStudy]:
    """Return the study as if its axial series were missing."""
    del study.volumes[AXIAL_T2]
    for detection in graded.detections.values():
        del detection.points[AXIAL_T2], detection.grids512[AXIAL_T2]
    graded.probabilities[DESCRIPTION_SITES[AXIAL_T2]] = np.nan
    for rows in graded.members.values():
        rows[DESCRIPTION_SITES[AXIAL_T2]] = np.nan
    graded.fallbacks = {AXIAL_T2: PRIOR}
    graded.faults = [Fault("/data/1/2", "folder_missing", "series 2: got no folder, expected one")]
    return study, graded


def add_page(report: Report, study: Study, graded: GradedStudy, flags: Sequence[Flag] = ()) -> None:
    """Add a study's page as a run does that has just graded it."""
    report.add_study(record_graded(study, graded, list(flags), []), study, graded.detections)


def unreadable(study_id: str) -> tuple[Study, GradedStudy]:
    """Return a study of which nothing could be read, with many faults and a name that wants out."""
    faults = [Fault(f"{n}.dcm", "truncated", f"{HOSTILE}/{n}.dcm\udcff: got 3 bytes") for n in range(60)]
    fallbacks = dict.fromkeys(DESCRIPTIONS, PRIOR)
    return Study(study_id, {}, faults), GradedStudy(study_id, faults=faults, fallbacks=fallbacks)
