"""The whole flow on one screen: find -> load -> read -> detect -> crop -> classify -> average -> write.

Reading runs ahead in worker processes while the networks compute. From the first seconds on there is a
whole, valid ``submission.csv``: the prior at first, replaced as studies finish.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lumbar.budget import Budget, Plan
from lumbar.bundle import Bundle, load_bundle
from lumbar.device import Device, choose_device
from lumbar.grading import grade_study, move
from lumbar.journal import Journal
from lumbar.readers import Unreadable, read_ahead
from lumbar.records import Summary, dump_tables, graded_record, prior_record, versions
from lumbar.studies import Competition, find_competition
from lumbar.submission import Submission, study_rows

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_WRITES = 30.0


@dataclass(frozen=True)
class RunOptions:
    """What the command line says; times in seconds.

    data, split: None finds them. dump: folder for points.csv and members.csv. started: of the process, on
    the clock of ``time.monotonic``.
    """

    data: Path | None
    split: str | None
    bundle: Path
    out: Path
    device: str
    precision: str
    dump: Path | None
    time_limit: float | None
    max_fallback_share: float
    workers: int
    started: float


class Run:
    """A run in progress: everything that is to be written, safe to write at any moment from any thread."""

    def __init__(self, options: RunOptions, competition: Competition, bundle: Bundle, device: Device):
        self.options = options
        row_ids = competition.sample_ids or [
            row for study in competition.studies for row in study_rows(study.study_id)
        ]
        self.submission = Submission(row_ids, bundle.prior)
        self.submission.write(options.out)
        self.written = time.monotonic()
        self.lock = threading.Lock()
        self.summary = summary_of(options, competition, bundle, device)
        identity = {"bundle": bundle.fingerprint, "precision": device.precision, "device": device.torch.type}
        identity |= {"data": str(competition.root.resolve()), "dump": options.dump is not None}
        self.journal = Journal(options.out.with_name(options.out.name + ".journal"), identity)
        self.pending = {study.study_id: study for study in competition.studies}
        for record in self.journal.finished.values():
            self.take(record)

    def add(self, record: dict) -> None:
        """Take a study's record, write it to the journal, and the submission if the last write is old."""
        with self.lock:
            self.journal.append(record)
            self.take(record)
            if time.monotonic() - self.written > SECONDS_BETWEEN_WRITES:
                self.submission.write(self.options.out)
                self.written = time.monotonic()

    def give_up_pending(self) -> None:
        """Leave the prior to the studies that there was no time for."""
        for study_id in list(self.pending):
            self.add(prior_record(study_id, "time_limit", "no time left for even one member"))

    def take(self, record: dict) -> None:
        del self.pending[record["study_id"]]
        if record["probabilities"] is not None:
            self.submission.set_study(record["study_id"], np.array(record["probabilities"]))
        self.summary.add(record)

    def run_files(self) -> list[Path]:
        return [folder / "run.json" for folder in (self.options.out.parent, self.options.dump) if folder]

    def finish(self, complete: bool) -> Summary:
        """Write everything; a complete run needs its journal no longer."""
        with self.lock:
            self.submission.write(self.options.out)
            if self.options.dump:
                dump_tables(self.journal.path, self.options.dump)
            self.summary.write(self.run_files())
            if complete:
                self.journal.discard()
        return self.summary


def summary_of(options: RunOptions, competition: Competition, bundle: Bundle, device: Device) -> Summary:
    """Return an empty summary that knows what this run is."""
    files = {"submission": str(options.out)} | ({"dump": str(options.dump)} if options.dump else {})
    about = {
        "bundle": bundle.name,
        "trained_on": bundle.trained_on,
        "bundle_sha256": bundle.fingerprint,
        "detectors": [member.name for member in bundle.detectors],
        "classifiers": [member.name for member in bundle.classifiers],
        "data": str(competition.root),
        "versions": versions(),
        "device": str(device.torch),
        "device_reason": device.reason,
        "precision": device.precision,
        "files": files,
    }
    members = Plan(len(bundle.detectors), len(bundle.classifiers))
    return Summary(about, options.started, options.max_fallback_share, members)


def run(options: RunOptions, clock: Callable[[], float] = time.monotonic) -> Summary:
    """Grade all studies of a competition folder; return what there is to say about it.

    clock: of the time limit, in seconds; a test may control it. Raises DataNotFoundError, BundleError and
    JournalError before any study is read; an interrupt passes on after everything known has been written.
    """
    bundle = load_bundle(options.bundle)
    competition = find_competition(options.data, options.split)
    device = choose_device(options.device, options.precision)
    logger.info("device %s (%s), precision %s", device.torch, device.reason, device.precision)
    state = Run(options, competition, bundle, device)
    move(bundle, device.torch)
    budget = Budget(options.time_limit, options.started, clock)
    complete = False
    with end_before(budget, state):
        try:
            grade_all(bundle, device, budget, state)
            complete = True
        finally:
            state.finish(complete)
    return state.summary


def grade_all(bundle: Bundle, device: Device, budget: Budget, state: Run) -> None:
    """Grade the studies as the readers bring them, each with the members that the time allows."""
    names = [member.name for member in bundle.detectors], [member.name for member in bundle.classifiers]
    studies = read_ahead(list(state.pending.values()), state.options.workers)
    bar = tqdm(total=len(state.pending), unit="study", desc="grading", dynamic_ncols=True, file=sys.stderr)
    with contextlib.closing(studies), bar:
        begun = budget.clock()
        for ref, study in studies:
            plan = budget.plan(len(state.pending), *names)
            if not plan.detectors:
                break
            if isinstance(study, Unreadable):
                record = prior_record(ref.study_id, study.reason, study.message)
            else:
                graded = grade_study(study, bundle, plan, device, budget)
                record = graded_record(graded, plan, state.options.dump is not None)
            state.add(record)
            bar.update()
            ended = budget.clock()
            budget.learn("other", max(0.0, ended - begun - sum(record["seconds"].values())))
            begun = ended
    state.give_up_pending()


@contextlib.contextmanager
def end_before(budget: Budget, state: Run) -> Iterator[None]:
    """End the process before the time limit even if a single member hangs: write what is known and leave."""

    def leave() -> None:
        logger.error("a member did not end before the time limit; the rest is submitted as it stands")
        state.give_up_pending()
        summary = state.finish(complete=False)
        print(summary.text(), file=sys.stderr, flush=True)
        os._exit(summary.exit_status)

    watchdog = threading.Timer(budget.left() + budget.reserve() / 2, leave) if budget.limit else None
    if watchdog:
        watchdog.daemon = True
        watchdog.start()
    try:
        yield
    finally:
        if watchdog:
            watchdog.cancel()
