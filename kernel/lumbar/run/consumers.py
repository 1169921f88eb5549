"""All consumers of a run: one per device, each takes studies that wait, and their outcomes come as one stream."""

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.time_limit import Budget
from lumbar.networks.device import Device
from lumbar.networks.device_choice import choose_device
from lumbar.reading.study import Study
from lumbar.run.compiler_process import CompilerProcess
from lumbar.run.consumer import Consumer, DeviceLostError, Failure, Grading
from lumbar.run.consumer_process import ConsumerProcess
from lumbar.run.reader_process import Unreadable
from lumbar.run.shared_study import SharedStudy
from lumbar.run.waiting_studies import WaitingStudies

logger = logging.getLogger(__name__)

AnyConsumer = Consumer | ConsumerProcess
Outcome = tuple[Study, GradedStudy | Failure]
T = TypeVar("T")


@contextlib.contextmanager
def open_consumers(devices: Sequence[Device], grading: Grading) -> Iterator[list[AnyConsumer]]:
    """Load the bundle on each device: a single one computes in this process, of several each in its own.

    A device without a process that gets ready is left out. If all are, the CPU computes.

    Raises:
        BundleError: The bundle can't be used.
    """
    if len(devices) == 1:
        yield [Consumer(devices[0], grading)]
        return
    threads = max(1, (os.cpu_count() or 1) // len(devices))
    with contextlib.ExitStack() as opened:
        started: list[ConsumerProcess] = []
        for device in devices:
            try:
                consumer = ConsumerProcess(device, grading, threads)
            except DeviceLostError as error:
                logger.error("%s", error)
            else:
                started.append(opened.enter_context(contextlib.closing(consumer)))
        ready: list[AnyConsumer] = []
        for consumer in started:
            try:
                consumer.wait_until_ready()
            except DeviceLostError as error:
                logger.error("%s", error)
            else:
                ready.append(consumer)
        yield ready or [cpu_consumer(grading)]


def cpu_consumer(grading: Grading) -> Consumer:
    """Return a consumer on the CPU, for a run that has no other device left."""
    logger.error("no device is left; the CPU from here on")
    return Consumer(choose_device("cpu", "fp32"), grading)


def consume(
    consumer: AnyConsumer,
    studies: WaitingStudies,
    budget: Budget,
    studies_left: Callable[[], int],
    compiler: CompilerProcess | None = None,
) -> Iterator[Outcome]:
    """Yield the outcomes of the studies that a consumer takes, until none is left or there is no time for one.

    If the device is lost, the consumer gives its studies back and ends. Compiled passes are taken between two groups
    of studies: the time limit counts the seconds for it to no member.
    """
    members = list(consumer.members.detectors), list(consumer.members.classifiers)
    begun = budget.clock()
    while taken := studies.take(consumer.device.studies):
        if compiler:
            compiler.hand_over()
        plan, deadline = budget.plan(studies_left(), *members), budget.deadline(studies_left(), len(taken))
        with contextlib.ExitStack() as held:
            shared = [held.enter_context(one) for _, one in taken if isinstance(one, SharedStudy)]
            if not plan.detectors:
                return
            try:
                outcomes = consumer.grade(shared, plan, deadline) if shared else []
            except DeviceLostError as error:
                logger.error("%s", error)
                consumer.lost = True
                held.pop_all()  # whoever takes them next closes them
                studies.give_back(taken)
                return
        outcomes += [
            (Study(ref.study_id), Failure(one.reason, one.message))
            for ref, one in taken
            if isinstance(one, Unreadable)
        ]
        yield from outcomes
        graded = [outcome for _, outcome in outcomes if isinstance(outcome, GradedStudy)]
        budget.learn_all([one.costs for one in graded])
        ended, computed = budget.clock(), sum(sum(one.seconds.values()) for one in graded)
        budget.learn("other", max(0.0, ended - begun - computed) / len(taken))
        begun = ended
        if compiler and graded:
            compiler.learn(graded[0].seconds.get("stage 2", 0.0), studies_left() / budget.consumers)


def side_by_side(streams: Sequence[Iterator[T]]) -> Iterator[T]:
    """Yield the items of several iterators as they come; each but a single one runs in a thread of its own."""
    if len(streams) == 1:
        yield from streams[0]
        return
    given: queue.SimpleQueue[tuple[T] | BaseException | None] = (
        queue.SimpleQueue()
    )  # None: a stream has ended

    def drain(stream: Iterator[T]) -> None:
        try:
            for item in stream:
                given.put((item,))
        except BaseException as error:
            given.put(error)
        given.put(None)

    for stream in streams:
        threading.Thread(target=drain, args=(stream,), daemon=True).start()
    running = len(streams)
    while running:
        got = given.get()
        if isinstance(got, BaseException):
            raise got
        if got is None:
            running -= 1
        else:
            yield got[0]
