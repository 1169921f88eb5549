"""A run in progress: its results so far, written so that it can be stopped at any moment."""

import contextlib
import hashlib
import io
import json
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from lumbar.atomic_files import remove_leftovers
from lumbar.bundle.manifest import Manifest
from lumbar.bundle.members import Members
from lumbar.grading.detection import Detection
from lumbar.grading.study_record import StudyRecord, record_ungraded
from lumbar.grading.time_limit import Plan
from lumbar.networks.architecture import CropRule, shown_rule
from lumbar.networks.device import Device
from lumbar.outputs.findings import write_findings
from lumbar.outputs.report import Report
from lumbar.outputs.structured_report import write_structured_reports
from lumbar.outputs.submission import Submission, study_rows
from lumbar.outputs.tables import dump_tables
from lumbar.reading.references import Dataset, StudyRef
from lumbar.reading.study import Study
from lumbar.run.journal import Journal, JournalError
from lumbar.run.options import RunOptions
from lumbar.run.summary import Summary, versions

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_WRITES = 30.0


class Run:
    """A run in progress: everything that is to be written, safe to write at any moment from any thread."""

    def __init__(
        self, options: RunOptions, competition: Dataset, manifest: Manifest, devices: Sequence[Device]
    ):
        self.options = options
        for file in self.run_files():
            refuse_training_run(file)
        row_ids = competition.sample_ids or [
            row for study in competition.studies for row in study_rows(study.study_id)
        ]
        self.submission = Submission(row_ids, manifest.prior)
        self.summary = summary_of(options, competition, manifest, devices)
        self.lock = threading.RLock()
        self.report = open_report(options, competition, manifest, self.summary.about)
        self.studies = competition.studies
        self.pending = {study.study_id: study for study in competition.studies}
        identity = {
            "bundle": manifest.fingerprint,
            "precision": devices[0].precision,
            "device": devices[0].torch.type,
        }
        images = competition.images
        place = images if isinstance(images, str) else str(images.resolve())  # a URL, or a folder
        identity |= {"data": place, "studies": fingerprint(competition.studies)}
        identity |= {
            "dump": options.dump is not None,
            "missing": options.missing,
            "calibration": options.calibration,
        }
        path = options.out.with_name(options.out.name + ".journal")
        self.journal = Journal(path, identity, set(self.pending))  # before anything is written: it may refuse
        remove_leftovers(options.out)
        for record in self.journal.records():
            if record.study_id in self.pending:
                self.take(record)
        self.summary.earlier = self.summary.studies
        if self.summary.studies:
            logger.info("%s: %d studies were finished before", path, self.summary.studies)
        self.submission.write(options.out)
        self.written = time.monotonic()

    def use_members(self, members: Members) -> None:
        """Take note of the members that are there, and of those that are left out."""
        self.summary.members = Plan(len(members.detectors), len(members.classifiers))
        self.summary.left_out = members.left_out
        if self.report:
            self.report.about["left_out"] = [one.member for one in members.left_out]

    def add(self, record: StudyRecord) -> None:
        """Take a study's record, write it to the journal, and the submission if the last write is old.

        A disk that is full stops neither: the last valid file stays, the end of the run tries again.
        """
        with self.lock:
            self.journal.append(record if self.options.dump else record.without_details())
            self.take(record)
            if time.monotonic() - self.written > SECONDS_BETWEEN_WRITES:
                try:
                    self.submission.write(self.options.out)
                except OSError as error:
                    logger.error("%s: not written for now, the last one stays: %s", self.options.out, error)
                self.written = time.monotonic()

    def give_up_pending(self) -> None:
        """Leave the prior to the studies that there was no time for."""
        with self.lock:
            for study_id in list(self.pending):
                self.take(record_ungraded(study_id, "time_limit", "no time left for even one member"))

    def take(self, record: StudyRecord) -> None:
        del self.pending[record.study_id]
        if record.probabilities is not None:
            self.submission.set_study(record.study_id, record.probabilities)
        self.summary.add(record)
        if self.report and record.study_id not in self.report.entries:  # from the journal, or not graded
            self.show(record)

    def show(
        self,
        record: StudyRecord,
        study: Study | None = None,
        detections: dict[str, Detection] | None = None,
    ) -> None:
        """Add a study's page to the report, if there is to be one; a page that fails costs no grade."""
        try:
            if self.report:
                self.report.add_study(record, study, detections)
        except Exception as error:
            logger.exception("report: study %s has no page", record.study_id)
            self.summary.report_failures.append(f"{record.study_id}: {type(error).__name__}: {error}")
        if study and detections and (self.options.secondary_capture or self.options.pdf):
            self.write_objects(record, study, detections)

    def write_objects(self, record: StudyRecord, study: Study, detections: dict[str, Detection]) -> None:
        """Write a study's key slices and summary for an archive; objects that fail cost no grade."""
        from lumbar.outputs.pacs.study_objects import write_study_objects  # matplotlib: for these flags alone

        try:
            ref = next(ref for ref in self.studies if ref.study_id == record.study_id)
            kinds = self.options.secondary_capture, self.options.pdf
            assert self.options.dump, "key slices and summary need a folder to dump to"
            folder = self.options.dump / "findings"
            problem = write_study_objects(ref, record, study, detections, self.summary.about, folder, *kinds)
        except Exception as error:
            logger.exception("study %s: no DICOM objects", record.study_id)
            problem = f"{type(error).__name__}: {error}"
        if problem:
            self.summary.report_failures.append(f"{record.study_id}: no key slices and summary: {problem}")

    def finish_report(self) -> None:
        """Write the report's index; the report's failures go to the summary, before that is written."""
        if not self.report:
            return
        try:
            reports = self.options.dump if self.options.structured_reports else None
            self.report.finish(self.summary.as_dict(), reports and reports / "findings")
        except Exception as error:
            logger.exception("report: its index could not be written")
            self.summary.report_failures.append(f"index: {type(error).__name__}: {error}")
        self.summary.report_failures += [f"{page}: {why}" for page, why in self.report.failures.items()]

    def run_files(self) -> list[Path]:
        return [folder / "run.json" for folder in (self.options.out.parent, self.options.dump) if folder]

    def finish(self, complete: bool) -> Summary:
        """Write everything, the submission first; a complete run needs its journal no longer."""
        with self.lock:
            self.submission.write(self.options.out)
            if self.options.dump:
                dump_tables(self.journal.records(), self.options.dump)
                findings = self.options.dump / "findings"
                write_findings(self.journal.records(), self.summary.about, findings)
                if self.options.structured_reports:
                    self.summary.report_failures += write_structured_reports(self.studies, findings)
            self.finish_report()
            self.summary.write(self.run_files())
            if complete:
                self.journal.discard()
        return self.summary


def refuse_training_run(file: Path) -> None:
    """Raise JournalError if a ``run.json`` that would be replaced is a training's."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):  # none, or nobody's
        return
    if isinstance(content, dict) and "recipe" in content:
        message = f"{file}: got a training run's folder, expected one for predictions"
        raise JournalError(f"{message}; choose another --out or --dump")


def fingerprint(studies: tuple[StudyRef, ...]) -> str:
    """Return the SHA-256 of the studies and series to read, because a record counts only for the same ones in order."""
    listed = [
        (study.study_id, [(one.series_id, one.description) for one in study.series]) for study in studies
    ]
    return hashlib.sha256(repr(listed).encode()).hexdigest()


def open_report(options: RunOptions, competition: Dataset, manifest: Manifest, about: dict) -> Report | None:
    """Return the report that a run is to write, or None; ``about`` are the facts of run.json."""
    if not options.report:
        return None
    shown = {"prior": manifest.prior.tolist(), "crop_rule": shown_crops(manifest)}
    shown["figures"] = [entry.get("figures", {}) for entry in manifest.classifiers]
    if manifest.calibration and options.calibration:
        fitted_on = manifest.calibration.provenance.get("fitted_on", "data without a name")
        shown["calibration"] = {
            "fitted_on": fitted_on,
            "holds_for_partial": manifest.calibration.holds_for_partial,
        }
    ids = [study.study_id for study in competition.studies]
    return Report(options.report, about | shown, ids, slices=options.report_size == "full")


def shown_crops(manifest: Manifest) -> CropRule:
    """Return the rule of the crops that a report shows: the first classifier's."""
    configs = [member.get("config") for member in manifest.classifiers]  # not checked yet
    rules = [
        CropRule(**{field: config[field] for field in CropRule._fields if field in config})
        for config in configs
        if isinstance(config, dict) and "border" in config
    ]
    return shown_rule(rules)


def summary_of(
    options: RunOptions, competition: Dataset, manifest: Manifest, devices: Sequence[Device]
) -> Summary:
    """Return an empty summary that knows what this run is."""
    files = {"submission": str(options.out)} | ({"dump": str(options.dump)} if options.dump else {})
    files |= {"report": str(options.report / "index.html")} if options.report else {}
    about = {
        "bundle": manifest.name,
        "trained_on": manifest.trained_on,
        "bundle_sha256": manifest.fingerprint,
        "detectors": manifest.detector_names,
        "classifiers": manifest.classifier_names,
        "data": str(competition.root),
        "versions": versions(),
        "device": ", ".join(str(device.torch) for device in devices),
        "device_reason": "; ".join(dict.fromkeys(device.reason for device in devices)),
        "precision": devices[0].precision,
        "files": files,
    }
    if competition.decisions:
        about["series"] = list(competition.decisions)
    if competition.other_files:
        about["other_files"] = dict(competition.other_files)
    members = Plan(len(manifest.detectors), len(manifest.classifiers))
    return Summary(about, options.started, options.max_fallback_share, members)


class TolerantStream:
    """A text stream that drops text if it can't be written: it may be closed, full, or a pipe without a reader."""

    def __init__(self, stream: TextIO | None):
        self.stream = stream

    def write(self, text: str) -> None:
        if self.stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self.stream.write(text)

    def flush(self) -> None:
        if self.stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self.stream.flush()

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno: the process has no such stream")
        return self.stream.fileno()
