"""The report's folder: ``index.html`` and ``studies/<name>.html``.

Beside each page are its row of the index, ``<name>.json``, and its slices to scroll, ``<name>/*.jpg``.
"""

import hashlib
import json
import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path

from lumbar.atomic_files import write_atomically
from lumbar.grading.detection import Detection
from lumbar.grading.study_record import StudyRecord
from lumbar.outputs.report.downloads import (
    add_structured_report,
    study_downloads,
    write_downloads,
    write_run_downloads,
)
from lumbar.outputs.report.index_page import index_page
from lumbar.outputs.report.result import Result, read_result
from lumbar.outputs.report.slice_strips import encode_strips, write_strips
from lumbar.outputs.report.study_page import Neighbour, study_page
from lumbar.reading.study import Study

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_INDEXES = 5.0  # a row a study: written after every study, 2,000 would write gigabytes
PLAIN = re.compile(r"[0-9a-z][0-9a-z._-]{0,99}")


class Report:
    """Pages of a run, written as studies finish.

    A page that fails is logged and named in ``failures``, and the run continues.

    Args:
        folder: Folder of the report; it is created.
        about: Facts of the run, as in run.json. ``crop_rule`` selects the crops, a ``CropRule`` of
            five slices. ``prior`` (25, 3) is shown for a study without grades.
        slices: Whether each page has its slices to scroll, in a folder beside it.
        studies: Ids of all studies of the run in its order, for the links to the next and the previous one.

    Raises:
        OSError: The folder can't be written.
    """

    def __init__(self, folder: Path, about: dict, studies: Sequence[str] = (), slices: bool = True):
        self.folder, self.about, self.slices = Path(folder), about, slices
        self.studies, self.place = studies, {study: number for number, study in enumerate(studies)}
        self.entries: dict[str, dict] = {}
        self.failures: dict[str, str] = {}
        self.write_index(None)
        self.written = -SECONDS_BETWEEN_INDEXES  # the first study is shown at once

    def add_study(
        self,
        record: StudyRecord,
        study: Study | None = None,
        detections: dict[str, Detection] | None = None,
    ) -> None:
        """Write a study's page, then its row.

        Args:
            record: The study's outcome.
            study: None without pictures, as of a journal's record. Then the page of an earlier run stays if it
                shows the same result.
            detections: By detector, of a study that was just graded.
        """
        planned = len(self.about.get("detectors", ())) * len(self.about.get("classifiers", ()))
        result = read_result(record, detections or {}, planned)
        bundle = str(self.about.get("bundle_sha256", ""))
        name = page_name(result.study_id)
        page = f"studies/{name}.html"
        row = (self.folder / page).with_suffix(".json")
        try:
            entry = self.kept_entry(row, result.digest(bundle)) if study is None else None
            if entry is None:
                slices = {d: len(volume) for d, volume in study.volumes.items()} if study else {}
                entry = result.entry(page, bundle, slices)
                entry["downloads"] = self.write_study(name, record, study, result)
                write_atomically(row, json.dumps(entry) + "\n")
            self.entries[result.study_id] = entry
            if time.monotonic() - self.written > SECONDS_BETWEEN_INDEXES:
                self.write_index(None)
        except Exception as error:  # no failure of a page may cost the study its grades
            self.failures[result.study_id] = f"{type(error).__name__}: {error}"
            logger.exception("report: study %s: no page", result.study_id)

    def write_study(
        self, name: str, record: StudyRecord, study: Study | None, result: Result
    ) -> list[list[str]]:
        """Write a study's page and the files beside it; return the words and the address of each download."""
        beside = self.folder / "studies" / name
        strips = encode_strips(study, name) if study and self.slices else None
        write_strips(strips, beside)
        write_downloads(record, result, self.about, beside)
        downloads = study_downloads(record, name)
        text = study_page(study, result, self.about, self.neighbours(result.study_id), strips, downloads)
        write_atomically(self.folder / "studies" / f"{name}.html", text)
        return downloads

    def neighbours(self, study_id: str) -> tuple[Neighbour | None, Neighbour | None]:
        """Return the studies before and after one; their pages may be written later."""
        if study_id not in self.place:
            return None, None
        number = self.place[study_id]
        return self.neighbour(number - 1), self.neighbour(number + 1)

    def neighbour(self, number: int) -> Neighbour | None:
        """Return the study of a number in the run's order; None beyond its ends."""
        if not 0 <= number < len(self.studies):
            return None
        return Neighbour(self.studies[number], f"{page_name(self.studies[number])}.html")

    def finish(self, summary: dict, structured_reports: Path | None = None) -> None:
        """Write the index of a finished run.

        Args:
            summary: The content of run.json.
            structured_reports: Folder with a DICOM file per study, which the pages get links to.
        """
        try:
            for study_id, entry in self.entries.items():
                if structured_reports:
                    page, source = self.folder / entry["page"], structured_reports / f"{study_id}.dcm"
                    entry["structured_report"] = add_structured_report(source, page, page.stem)
            pages = [self.folder / entry["page"] for entry in self.entries.values()]
            write_run_downloads(pages, summary, self.folder)
            self.write_index(summary)
        except OSError as error:
            self.failures["index"] = str(error)
            logger.error("report: %s", error)

    def write_index(self, summary: dict | None) -> None:
        text = index_page(list(self.entries.values()), self.about, summary)
        write_atomically(self.folder / "index.html", text)
        self.written = time.monotonic()

    def kept_entry(self, row: Path, digest: str) -> dict | None:
        """Return the row of a page that exists already and shows the same result."""
        if not (row.is_file() and row.with_suffix(".html").is_file()):
            return None
        try:
            entry = json.loads(row.read_text("utf-8"))
        except ValueError as error:
            logger.warning("report: %s: %s; the page is written anew", row, error)
            return None
        return entry if isinstance(entry, dict) and entry.get("digest") == digest else None


def page_name(study_id: str) -> str:
    """Return a file name for a study: its id where that is plain, else a hash of it.

    It is never a path, and no two studies share it, also on a file system that ignores case.
    """
    if PLAIN.fullmatch(study_id):
        return f"study-{study_id}"
    return "study~" + hashlib.sha256(study_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
