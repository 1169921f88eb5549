"""The outcome of a consumer -> the record of the study."""

import logging

from lumbar.faults import Fault
from lumbar.grading.flag import Flag
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.plausibility import flags
from lumbar.grading.study_record import StudyRecord, record_graded, record_ungraded
from lumbar.outputs.findings import study_findings
from lumbar.reading.study import Study
from lumbar.run.consumer import Failure

logger = logging.getLogger(__name__)


def record_outcome(study: Study, outcome: GradedStudy | Failure, findings: bool) -> StudyRecord:
    """Return a study's record; an error here costs this study alone.

    Args:
        study: As it was read.
        outcome: The consumer's.
        findings: Whether the record gets the findings of its sites.
    """
    if isinstance(outcome, Failure):
        return record_ungraded(study.study_id, outcome.reason, outcome.message)
    try:
        found = implausible(study, outcome)
        return record_graded(study, outcome, found, study_findings(study, outcome) if findings else [])
    except Exception as error:
        logger.exception("study %s: not graded", study.study_id)
        return record_ungraded(study.study_id, "grading_failed", f"{type(error).__name__}: {error}")


def implausible(study: Study, graded: GradedStudy) -> list[Flag]:
    """Return the study's flags. An error in the checks becomes a fault of the study and costs no grade."""
    try:
        return flags(study.volumes, graded.detections)
    except Exception as error:
        logger.exception("study %s: its points could not be checked", study.study_id)
        graded.faults.append(
            Fault(f"study {study.study_id}", "not_checked", f"{type(error).__name__}: {error}")
        )
        return []
