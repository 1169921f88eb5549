"""Structured reports -> a DICOMweb service, by STOW-RS (PS3.18 10.5): each once, however often it is stopped.

A ledger has a line for every report that the service has confirmed. A report's SOP Instance UID follows from its
content, so one that was sent just before a kill, and has no line, is sent again under the same UID.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage

from lumbar.faults import DataNotFoundError, DicomError
from lumbar.json_lines import JsonLines
from lumbar.reading.dicom_file import parse
from lumbar.reading.sources.dicomweb import connect, lasting
from lumbar.reading.sources.locations import DICOMWEB, checked_url
from lumbar.reading.sources.retries import retried
from lumbar.reading.sources.study_source import required

logger = logging.getLogger(__name__)

LEDGER = "pushed.jsonl"  # beside the results: the reports that a service has confirmed
EXPECTED = "expected dicomweb+https://HOST/ROOT"


class NotStoredError(Exception):
    """A service has not taken a report, for its own reason."""


@dataclass(frozen=True)
class Report:
    """A report to store: its UID, the study it is of, and a function that builds or reads it."""

    sop_instance_uid: str
    study_id: str
    load: Callable[[], Dataset]


@dataclass
class PushSummary:
    """Numbers of reports, and a line for each that was not stored.

    Attributes:
        stored: Stored now.
        before: Stored by an earlier run.
        failures: Study and reason.
    """

    stored: int = 0
    before: int = 0
    failures: list[str] = field(default_factory=list)

    def text(self) -> str:
        lines = [f"{self.stored} reports stored, {self.before} stored before, {len(self.failures)} failed"]
        return "\n".join(lines + self.failures)


def push(reports: Iterable[Report], to: str, ledger: Path) -> PushSummary:
    """Store reports that the ledger does not have; one that fails costs the others nothing.

    Args:
        reports: Each is loaded only if it is to be stored.
        to: ``dicomweb+https://HOST/ROOT``; credentials as for reading.
        ledger: A JSON line per stored report: ``sop_instance_uid``, ``study_id``, ``to``.

    Raises:
        DataNotFoundError: The URL or the ledger can't be used.
        OSError: The ledger can't be written.
    """
    url = checked_url(to)
    if url.partition("://")[0] not in DICOMWEB:
        raise DataNotFoundError(f"{url}: reports go to DICOMweb alone, {EXPECTED}")
    required("dicomweb_client", "dicomweb-client", "storing reports")
    lines, summary = JsonLines(ledger), PushSummary()
    stored = {entry.get("sop_instance_uid") for entry in lines.entries if entry.get("to") == url}
    for report in reports:
        if report.sop_instance_uid in stored:
            summary.before += 1
            continue
        try:
            store(report, url)
        except Exception as error:
            logger.error("study %s: its report is not stored: %s", report.study_id, error)
            summary.failures.append(f"study {report.study_id}: {type(error).__name__}: {error}")
            continue
        lines.append({"sop_instance_uid": report.sop_instance_uid, "study_id": report.study_id, "to": url})
        stored.add(report.sop_instance_uid)
        summary.stored += 1
    return summary


def store(report: Report, url: str) -> None:
    """Store one report; NotStoredError or DicomError if the service does not confirm it."""
    dataset = report.load()
    where = f"{url}/studies/{dataset.StudyInstanceUID}"
    answer = retried(
        where, lambda: connect(url).store_instances([dataset]), lambda error: lasting(where, error)
    )
    failed = list(answer.get("FailedSOPSequence", ()))
    if failed:
        reason = failed[0].get("FailureReason", "none")
        message = f"{where}: the server refuses the report, FailureReason {reason}"
        raise NotStoredError(f"{message}; see its log")


def folder_reports(folder: Path) -> Iterator[Report]:
    """Yield the structured reports that ``infer.py --dump DIR --sr`` wrote, by DIR or DIR/findings.

    Raises:
        DataNotFoundError: There is none.
    """
    place = folder / "findings" if (folder / "findings").is_dir() else folder
    found = False
    for file in sorted(place.glob("*.dcm")):
        try:
            header = parse(file, None, pixels=False)
        except DicomError as error:
            logger.error("%s", error)
            continue
        if header.get("SOPClassUID") != ComprehensiveSRStorage:
            continue
        found = True
        yield Report(str(header.SOPInstanceUID), file.stem, lambda file=file: parse(file, None))
    if not found:
        message = f"{place}: got no structured report, expected <study>.dcm files"
        raise DataNotFoundError(f"{message}; write them with infer.py --dump {folder} --sr")
