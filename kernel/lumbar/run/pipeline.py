"""The whole flow on one screen: find -> load -> read -> detect -> crop -> classify -> average -> write.

Reader processes run ahead while each device's consumer computes; this process alone keeps the journal and writes.
From the first seconds on there is a whole, valid ``submission.csv``: the prior at first, replaced as studies finish.
No thread starts once a study is graded: without memory for it, ``Thread.start`` of CPython waits forever.
"""

import contextlib
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from tqdm import tqdm

from lumbar.bundle.manifest import Manifest, read_manifest
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.study_record import StudyRecord
from lumbar.grading.time_limit import Budget
from lumbar.networks.device import Device, keep_freed_memory
from lumbar.networks.device_choice import choose_devices
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import Study
from lumbar.run.compiler_process import CompilerProcess
from lumbar.run.consumer import Failure, Grading
from lumbar.run.consumer_process import ConsumerProcess
from lumbar.run.consumers import AnyConsumer, consume, cpu_consumer, open_consumers, side_by_side
from lumbar.run.options import RunOptions
from lumbar.run.read_ahead import read_ahead, readers_for
from lumbar.run.recording import record_outcome
from lumbar.run.run_state import Run, TolerantStream
from lumbar.run.summary import Summary
from lumbar.run.waiting_studies import WaitingStudies

logger = logging.getLogger(__name__)

BAR = {"unit": "study", "desc": "grading", "dynamic_ncols": True, "miniters": 1}  # drawn at each study
EXIT_UNWRITTEN = 5  # as infer.py has it for data that can't be used


class Bar(tqdm):
    """A progress bar without the thread that draws it when too few studies do."""

    monitor_interval = 0


def run(options: RunOptions, clock: Callable[[], float] = time.monotonic) -> Summary:
    """Grade all studies of a competition folder, or of any folder of DICOM, and return the run's summary.

    Args:
        options: What to read, how to grade and where to write.
        clock: Of the time limit, in seconds; a test may control it.

    Raises:
        DataNotFoundError, BundleError, DeviceError, JournalError: Before any study is read.
        OSError: The file can't be written. An interrupt is passed on after all finished studies are written.
    """
    keep_freed_memory()
    manifest = read_manifest(options.bundle)
    dataset = find_dataset(options.data, options.split, options.series)
    devices = choose_devices(options.devices, options.precision)
    for device in devices:
        logger.info("device %s (%s), precision %s", device.torch, device.reason, device.precision)
    state = Run(options, dataset, manifest, devices)
    budget = Budget(options.time_limit, options.started, clock, consumers=len(devices))
    complete = False
    # Readers and networks start side by side. A bundle that can't be loaded leaves the prior, and earlier results.
    with (
        end_before(budget, state),
        reading(devices, state) as studies,
        open_consumers(devices, grading_of(options, clock)) as consumers,
        compilers_of(consumers, manifest, options) as compilers,
    ):
        try:
            grade_all(consumers, studies, budget, state, compilers)
            complete = True
        finally:
            state.summary.waits = studies.waits()
            state.summary.compilers = {
                str(one.consumer.device.torch): one.state for one in compilers.values()
            }
            state.summary.process_memory = {
                str(one.device.torch): one.peak_memory
                for one in consumers
                if isinstance(one, ConsumerProcess)
            }
            state.finish(complete)
    return state.summary


@contextlib.contextmanager
def reading(devices: Sequence[Device], state: Run) -> Iterator[WaitingStudies]:
    """Have the pending studies read inside a ``with`` block, as many ahead as the devices take at once."""
    pending, room = list(state.pending.values()), sum(device.studies for device in devices)
    workers = state.options.workers or readers_for(len(devices), devices[0].torch.type == "cpu")
    studies = WaitingStudies(lambda closed: read_ahead(pending, workers, closed=closed), room, len(devices))
    with contextlib.closing(studies):
        yield studies


def grading_of(options: RunOptions, clock: Callable[[], float]) -> Grading:
    """Return the options of the run's consumers."""
    return Grading(options.bundle, options.missing == "zero", options.calibration, clock)


@contextlib.contextmanager
def compilers_of(
    consumers: Sequence[AnyConsumer], manifest: Manifest, options: RunOptions
) -> Iterator[dict[int, CompilerProcess]]:
    """Yield the compiler of each consumer, by the consumer's identity; their processes end with the block."""
    names = consumers[0].members.classifiers
    backbones = {one["config"]["backbone"]: None for one in manifest.classifiers if one["name"] in names}
    with contextlib.ExitStack() as opened:
        yield {
            id(one): opened.enter_context(
                contextlib.closing(CompilerProcess(one, [*backbones], options.compile == "auto"))
            )
            for one in consumers
        }


def grade_all(
    consumers: Sequence[AnyConsumer],
    studies: WaitingStudies,
    budget: Budget,
    state: Run,
    compilers: dict[int, CompilerProcess],
) -> None:
    """Grade the studies as the readers bring them, each with the members that the time allows."""
    state.use_members(consumers[0].members)
    for consumer in consumers:
        consumer.warm_up(studies.any_waits)
    with Bar(total=len(state.pending), file=TolerantStream(sys.stderr), **BAR) as bar:
        takers = consumers
        while True:
            budget.consumers = studies.consumers = len(takers)
            streams = [
                consume(one, studies, budget, lambda: len(state.pending), compilers.get(id(one)))
                for one in takers
            ]
            for study, outcome in side_by_side(streams):
                if "first grades" not in state.summary.seconds:
                    state.summary.seconds["start"] = studies.first_taken - state.options.started
                    state.summary.seconds["first grades"] = budget.elapsed()
                state.add(record_of(study, outcome, state))
                bar.update()
            if not any(one.lost for one in takers) or not studies.any_left():
                break
            # A device was lost after all others had ended. One takes the few studies that are left, in this thread.
            takers = [one for one in consumers if not one.lost][:1]
            takers = takers or [cpu_consumer(grading_of(state.options, budget.clock))]
    state.give_up_pending()


def record_of(study: Study, outcome: GradedStudy | Failure, state: Run) -> StudyRecord:
    """Return a study's record and write its page."""
    record = record_outcome(study, outcome, bool(state.options.dump or state.report))
    if isinstance(outcome, GradedStudy):
        state.show(record, study, outcome.detections)
    return record


@contextlib.contextmanager
def end_before(budget: Budget, state: Run) -> Iterator[None]:
    """Write all finished studies and end the process before the time limit, even if a member or the reading hangs."""
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
        logger.error("the run did not end before the time limit; the rest is submitted as it stands")
        if state.lock.acquire(timeout=patience):  # and never released: the main thread must add nothing now
            state.report = None  # pages take time
            state.give_up_pending()
            summary = state.finish(complete=False)
            print(summary.text(), file=TolerantStream(sys.stderr))
            status = summary.exit_status
    except BaseException:
        logger.exception("the last write failed; the file is the one before it")
    finally:
        try:
            for reader in multiprocessing.active_children():
                reader.kill()
        finally:
            os._exit(status)
