"""The graded studies of an archive -> structured reports to store, built one at a time."""

import json
from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq

from archiving.archive_folder import STUDIES, ArchiveError, ArchiveFolder
from archiving.study_index import StudyIndex
from lumbar.faults import MissingPackageError
from lumbar.outputs import structured_report
from lumbar.outputs.pacs.push import NotStoredError, Report
from lumbar.reading.references import StudyRef

COLUMNS = ["number", "study_id", "bundle", "findings"]


def archive_reports(archive: ArchiveFolder) -> Iterator[Report]:
    """Yield a report for each study that was graded; a part of 512 studies is in memory at a time.

    A report repeats patient and study from the study's images, so its source is read again when it is built.

    Raises:
        ArchiveError: Nothing was graded yet.
        MissingPackageError: highdicom is not installed.
    """
    if not structured_report.is_installed():
        raise MissingPackageError(structured_report.MISSING)
    run, index = archive.read_run(), StudyIndex(archive.index)
    if run is None:
        raise ArchiveError(f"{archive.path}: got no graded study; run archive.py grade")
    for name in archive.part_names():
        rows = pq.read_table(archive.part(STUDIES, name), columns=COLUMNS).to_pylist()
        others = np.ones(index.rows, bool)
        others[[row["number"] for row in rows]] = False
        refs = {study.number: study.ref() for study in index.pending(others)}
        for row in rows:
            findings = {
                "study_id": row["study_id"],
                "bundle": run.get("bundle_name", row["bundle"]),
                "bundle_sha256": row["bundle"],
                "findings": json.loads(row["findings"]),
            }
            if findings["findings"]:
                uid, ref = structured_report.report_uid(findings), refs[row["number"]]
                yield Report(uid, ref.study_id, lambda ref=ref, findings=findings: build(ref, findings))


def build(ref: StudyRef, findings: dict):
    """Return the report of a study; NotStoredError if no DICOM image has its points."""
    images = structured_report.referenced_images(ref, findings)
    if not images:
        message = f"{ref.location or ref.study_id}: got no DICOM image of the points, expected at least one"
        raise NotStoredError(f"{message}; a report needs its patient and study")
    with structured_report.quiet_highdicom():
        return structured_report.structured_report(findings, images)
