"""A study's DICOM objects for an archive, and the files that they were made from."""

from pathlib import Path

from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.study_record import record_graded
from lumbar.outputs.pacs.study_objects import write_study_objects
from lumbar.reading.references import SeriesRef, StudyRef
from lumbar.reading.study import Study
from tests.making.dicom_writer import write_slice
from tests.making.report_studies import ABOUT, graded_study

PATIENT = {
    "PatientName": "Größe^Ä",
    "PatientID": "P 7",
    "SpecificCharacterSet": "ISO_IR 100",
    "StudyDate": "20240102",
}


def source_files(study: Study, folder: Path, **tags) -> StudyRef:
    """Write a file per slice of a study and return the study's reference."""
    for volume in study.volumes.values():
        for header in volume.headers:
            uids = {"SOPInstanceUID": header.sop_instance_uid, "StudyInstanceUID": "1.2.3"}
            write_slice(
                folder / f"{header.sop_instance_uid}.dcm", None, Modality="MR", **uids, **PATIENT, **tags
            )
    return StudyRef("7", (SeriesRef("1", folder, "Axial T2"),))


def written_objects(folder: Path) -> tuple[Study, GradedStudy, Path]:
    """Write the key slices and the summary of a study; return the study, its grades, and the objects' folder."""
    study, graded = graded_study(0)
    ref = source_files(study, folder / "images")
    record = record_graded(study, graded, [], [])
    assert write_study_objects(ref, record, study, graded.detections, ABOUT, folder, True, True) is None
    return study, graded, folder / "7"
