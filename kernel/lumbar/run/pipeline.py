"""The whole flow on one screen: find -> load -> read -> detect -> crop -> classify -> average -> write.

Reading runs ahead in worker processes while the networks compute. From the first seconds on there is a
whole, valid ``submission.csv``: the prior at first, replaced as studies finish.
"""

import contextlib
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tqdm import tqdm

from lumbar.bundle.manifest import read_manifest
from lumbar.bundle.placement import ready_bundle
from lumbar.faults import Fault
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.plausibility import Flag, flags
from lumbar.grading.study_grading import StudyGrader
from lumbar.grading.study_record import StudyRecord, record_graded, record_ungraded
from lumbar.grading.time_limit import Budget, Plan
from lumbar.networks.device import Device, choose_device, is_out_of_memory, keep_freed_memory, try_cuda
from lumbar.outputs.findings import study_findings
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import Study
from lumbar.run.options import RunOptions
from lumbar.run.read_ahead import Unreadable, read_ahead
from lumbar.run.run_state import Run, TolerantStream
from lumbar.run.summary import Summary

logger = logging.getLogger(__name__)

BAR = {"unit": "study", "desc": "grading", "dynamic_ncols": True}
EXIT_UNWRITTEN = 5  # as infer.py has it for data that can't be used


class DeviceLostError(Exception):
    """The card failed in a way that only a new process could mend."""


def run(options: RunOptions, clock: Callable[[], float] = time.monotonic) -> Summary:
    """Grade all studies of a competition folder, or of any folder of DICOM, and return the run's summary.

    Args:
        options: What to read, how to grade and where to write.
        clock: Of the time limit, in seconds; a test may control it.

    Raises:
        DataNotFoundError, BundleError, JournalError: Before any study is read.
        OSError: The file can't be written. An interrupt is passed on after all finished studies are written.
    """
    keep_freed_memory()
    manifest = read_manifest(options.bundle)
    competition = find_dataset(options.data, options.split, options.series)
    device = choose_device(options.device, options.precision)
    logger.info("device %s (%s), precision %s", device.torch, device.reason, device.precision)
    state = Run(options, competition, manifest, device)
    budget = Budget(options.time_limit, options.started, clock)
    complete = False
    with end_before(budget, state):
        # A bundle that can't be loaded leaves the prior, and the results of an earlier run.
        grader = grader_on(device, state)
        try:
            grade_all(grader, budget, state)
            complete = True
        finally:
            state.finish(complete)
    return state.summary


def grader_on(device: Device, state: Run) -> StudyGrader:
    """Return a grader with the run's bundle on a device; BundleError if the bundle can't be used.

    A member that can't be built or read here is left out and named in the run's summary.
    """
    bundle = ready_bundle(state.options.bundle, device, strict=False)
    if not state.options.calibration:
        bundle = replace(bundle, calibration=None)
    state.use_bundle(bundle)
    return StudyGrader(bundle, device, state.options.missing == "zero")


def grade_all(grader: StudyGrader, budget: Budget, state: Run) -> None:
    """Grade the studies as the readers bring them, each with the members that the time allows."""
    bundle = grader.bundle
    names = [member.name for member in bundle.detectors], [member.name for member in bundle.classifiers]
    studies = read_ahead(list(state.pending.values()), state.options.workers)
    with (
        contextlib.closing(studies),
        tqdm(total=len(state.pending), file=TolerantStream(sys.stderr), **BAR) as bar,
    ):
        begun = budget.clock()
        for ref, study in studies:
            if "start" not in state.summary.seconds:
                state.summary.seconds["start"] = budget.clock() - state.options.started
            plan = budget.plan(len(state.pending), *names)
            if not plan.detectors:
                break
            if isinstance(study, Unreadable):
                record = record_ungraded(ref.study_id, study.reason, study.message)
            else:
                try:
                    record = graded_or_prior(study, grader, plan, budget, state)
                except DeviceLostError as error:
                    logger.error("%s; the CPU from here on", error)
                    device = choose_device("cpu", "fp32")
                    grader = grader_on(device, state)
                    record = graded_or_prior(study, grader, plan, budget, state)
            state.add(record)
            bar.update()
            ended = budget.clock()
            budget.learn("other", max(0.0, ended - begun - sum(record.seconds.values())))
            begun = ended
    state.give_up_pending()


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


def graded_or_prior(study: Study, grader: StudyGrader, plan: Plan, budget: Budget, state: Run) -> StudyRecord:
    """Return a study's record. An error while it is graded costs this study alone.

    Raises DeviceLostError if the card computes no longer.
    """
    try:
        (graded,) = grader.grade([study], plan, budget.deadline(len(state.pending)))
        for member, seconds in graded.costs.items():
            budget.learn(member, seconds)
        found = implausible(study, graded)
        findings = study_findings(study, graded) if state.options.dump or state.report else []
        record = record_graded(study, graded, found, findings)
        state.show(record, study, graded.detections)
        return record
    except Exception as error:
        device = grader.runner.device
        if device.torch.type == "cuda" and not try_cuda()[0]:
            raise DeviceLostError(f"{device.torch}: computes no longer after {error}") from error
        reason = "out_of_memory" if is_out_of_memory(error) else "grading_failed"
        logger.exception("study %s: not graded", study.study_id)
        return record_ungraded(study.study_id, reason, f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def end_before(budget: Budget, state: Run) -> Iterator[None]:
    """End the process before the time limit even if a single member hangs: write all finished studies first."""
    if budget.limit is None:
        yield
        return
    watchdog = threading.Timer(
        min(budget.seconds_to_last_write(), threading.TIMEOUT_MAX), leave, (state, budget.patience())
    )
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def leave(state: Run, patience: float) -> None:
    """Write all finished studies and end the process.

    Args:
        state: The run.
        patience: Seconds to wait for the lock.
    """
    status = EXIT_UNWRITTEN
    try:
        logger.error("a member did not end before the time limit; the rest is submitted as it stands")
        if state.lock.acquire(timeout=patience):  # and never released: the main thread must add nothing now
            state.report = None  # pages take time
            state.give_up_pending()
            summary = state.finish(complete=False)
            print(summary.text(), file=TolerantStream(sys.stderr))
            status = summary.exit_status
    except BaseException:
        logger.exception("the last write failed; the file is the one before it")
    finally:
        for reader in multiprocessing.active_children():
            reader.kill()
        os._exit(status)
