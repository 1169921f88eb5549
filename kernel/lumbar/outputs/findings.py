"""A graded study -> ``findings/<study>.json``: grades and points, for another program to mark."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from lumbar.atomic_files import write_atomically
from lumbar.faults import Fault
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.patient_points import Places, find_places
from lumbar.grading.study_record import StudyRecord, grade_rows
from lumbar.reading.competition_tables import IDENTIFIER
from lumbar.reading.study import Study
from lumbar.reading.volume import Volume
from lumbar.sites import DESCRIPTION_SITES, SEVERITIES, SITES

logger = logging.getLogger(__name__)

FRAME = (
    "row and column count native pixels, 0 at the centre of the first one. patient_mm is x, y, z in mm of that pixel "
    "in DICOM's patient frame (LPS: +x the patient's left), null without geometry. frame_number counts from 1 in a "
    "file of several frames. voxel is i, j, k from 0 of a NIfTI or MetaImage file, null of DICOM."
)
NOTE = "Research use only: not a medical device."


def study_findings(study: Study, graded: GradedStudy) -> list[dict]:
    """Return the 25 sites, each with its probabilities (null: not graded) and each detector's point.

    An error here becomes a fault of the study and costs no grade.
    """
    try:
        return site_findings(study, graded)
    except Exception as error:
        logger.exception("study %s: its findings could not be computed", study.study_id)
        message = f"{type(error).__name__}: {error}"
        graded.faults.append(Fault(f"study {study.study_id}", "no_findings", message))
        return []


def site_findings(study: Study, graded: GradedStudy) -> list[dict]:
    """Return the findings as JSON, in the order of ``SITES``."""
    findings = []
    rows = None if graded.probabilities is None else grade_rows(graded.probabilities)
    for site in SITES:
        row = None if rows is None else rows[site.index]
        findings.append(
            {
                "site": site.name,
                "group": site.group,
                "level": site.level,
                "side": site.side,
                "description": site.description,
                "probabilities": None if row is None else dict(zip(SEVERITIES, row, strict=True)),
                "points": [],
            }
        )
    for detector, detection in graded.detections.items():
        for description, found in detection.points.items():
            places = find_places(study.volumes[description], found)
            for number, site in enumerate(SITES[DESCRIPTION_SITES[description]]):
                point = marked_point(study.volumes[description], places, number)
                findings[site.index]["points"].append({"detector": detector} | point)
    return findings


def marked_point(volume: Volume, places: Places, number: int) -> dict:
    """Return a site's point on the slice of the volume that is nearest to it."""
    index = min(max(int(places.slices[number]), 0), len(volume) - 1)
    row, column = map(float, places.grid256[number, 1:])
    header = volume.headers[index]
    native = volume.grid_to_native(index, row, column)
    patient = volume.grid_to_patient(index, row, column)
    return {
        "series_id": header.series_id,
        "sop_instance_uid": header.sop_instance_uid,
        "instance_number": header.instance_number,
        "frame_number": header.frame,
        "voxel": header.voxel(*native),
        "row": native[0],
        "column": native[1],
        "patient_mm": None if patient is None else list(patient),
        "value": float(places.values[number]),
    }


def write_findings(records: Iterable[StudyRecord], about: dict, folder: Path) -> None:
    """Write ``<folder>/<study id>.json`` of every study.

    Args:
        about: As in run.json; the bundle's name, fingerprint and training are repeated in each file.
    """
    for record in records:
        if not IDENTIFIER.fullmatch(record.study_id):
            logger.error("study %r: can not name a file; its findings are not written", record.study_id)
            continue
        content = json.dumps(findings_content(record, about), indent=1) + "\n"
        write_atomically(folder / f"{record.study_id}.json", content)


def findings_content(record: StudyRecord, about: dict) -> dict:
    """Return the content of a study's JSON file; ``about`` as for ``write_findings``."""
    bundle = {key: about[key] for key in ("bundle", "bundle_sha256", "trained_on")}
    content = {"study_id": record.study_id, "note": NOTE, "frame": FRAME} | bundle
    return content | {"graded": record.probabilities is not None, "findings": record.findings}
