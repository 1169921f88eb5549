"""A consumer in a process of its own, for each of several devices.

Python launches for each device under an interpreter lock of its own. An error that a card does not recover from ends
its process, not the run. The process is started anew a few times; a study with which it dies twice is not graded.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

import torch

from lumbar.bundle.weights import BundleError
from lumbar.grading.detection import with_grids, without_grids
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.time_limit import Plan
from lumbar.networks.device import Device, keep_freed_memory
from lumbar.networks.device_choice import try_device
from lumbar.reading.study import Study
from lumbar.run.consumer import Consumer, DeviceLostError, Failure, Grading, grade_group
from lumbar.run.peak_memory import peak_memory
from lumbar.run.shared_study import SharedStudy

logger = logging.getLogger(__name__)

RESTARTS = 3  # of one device's process, in a run
SECONDS_TO_DIE = 5.0  # after a kill
USE_COMPILED = "use compiled passes"  # a request, as a number of studies is


class ConsumerProcess:
    """A bundle on a device, in another process; attributes and methods as those of ``Consumer``."""

    def __init__(self, device: Device, grading: Grading, threads: int):
        """Start the process; ``wait_until_ready`` comes before anything else.

        Args:
            device: Where it computes.
            grading: The bundle and how to grade; a deadline on its clock must hold in all processes.
            threads: Of the CPU, for its operators.

        Raises:
            DeviceLostError: The system refuses a process.
        """
        self.device = device
        self.lost = self.closed = False
        self.restarts = 0
        self.peak_memory: dict[str, float] = {}
        self.arguments = device, grading, threads, logging.getLogger().getEffectiveLevel()
        self.start()

    def start(self) -> None:
        self.compiled = False
        context = multiprocessing.get_context("spawn")  # a fork would copy CUDA's and OpenMP's state
        self.connection, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, *self.arguments), daemon=True)
        try:
            process.start()
            self.process = process
        except (OSError, MemoryError) as error:
            self.connection.close()
            raise DeviceLostError(f"{self.device.torch}: its process can't be started ({error!r})") from error
        finally:
            theirs.close()

    def wait_until_ready(self) -> None:
        """Wait until the bundle is loaded.

        Raises:
            BundleError: It can't be used.
            DeviceLostError: The device does not compute, or the process died.
        """
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            answer = DeviceLostError(f"{self.device.torch}: its process died with status {self.end()}")
        if isinstance(answer, Exception):
            raise answer
        self.members = answer

    def warm_up(self, _needed: Callable[[], bool]) -> None:
        """Nothing is left to do: the process warms up by itself until it gets a study."""

    def grade(
        self, studies: Sequence[SharedStudy], plan: Plan, deadline: float
    ) -> list[tuple[Study, GradedStudy | Failure]]:
        """Grade studies side by side; see ``Consumer.grade``."""
        outcomes = self.ask(studies, plan, deadline)
        if outcomes is None and len(studies) > 1:
            return [one for study in studies for one in self.grade([study], plan, deadline)]
        if outcomes is None:
            outcomes = self.ask(studies, plan, deadline)
        if outcomes is None:
            failure = Failure("grader_died", "the process that graded it died twice")
            outcomes = [failure]
        opened = [study.open() for study in studies]
        for study, outcome in zip(opened, outcomes, strict=True):
            if isinstance(outcome, GradedStudy):
                outcome.detections = with_grids(outcome.detections, study.volumes)
        return list(zip(opened, outcomes, strict=True))

    def use_compiled(self) -> str:
        """Let classifiers run compiled from now on; see ``Consumer.use_compiled``."""
        try:
            self.connection.send(USE_COMPILED)
            error = self.connection.recv()
        except (EOFError, OSError):  # the next studies find it dead, too
            return "the device's process died"
        self.compiled = not error
        return error

    def ask(
        self, studies: Sequence[SharedStudy], plan: Plan, deadline: float
    ) -> list[GradedStudy | Failure] | None:
        """Send studies to the process and return its outcomes; None if it died, and was started anew.

        Raises:
            DeviceLostError: It can't be started anew.
        """
        try:
            self.connection.send((len(studies), plan, deadline))
            for study in studies:
                study.send(self.connection)
            outcomes, self.peak_memory = self.connection.recv()
            return outcomes
        except (EOFError, OSError):
            if self.closed:
                raise DeviceLostError(f"{self.device.torch}: its process was ended") from None
            status = self.end()
        self.restarts += 1
        if self.restarts > RESTARTS:
            raise DeviceLostError(
                f"{self.device.torch}: its process died with status {status}, once too often"
            )
        logger.error("%s: its process died with status %s; started anew", self.device.torch, status)
        self.start()
        try:
            self.wait_until_ready()
        except BundleError as error:  # it could be used before
            raise DeviceLostError(f"{self.device.torch}: {error}") from error
        return None

    def end(self) -> int | None:
        """Kill the process, if it still lives; return its exit status."""
        if not self.process.is_alive():
            self.process.join()
        else:
            self.process.join(SECONDS_TO_DIE)  # its end of the pipe is closed: it is about to die
        self.process.kill()
        self.process.join(SECONDS_TO_DIE)
        self.connection.close()
        return self.process.exitcode

    def close(self) -> None:
        """End the process, even if it is grading."""
        self.closed = True
        self.process.kill()
        self.process.join(SECONDS_TO_DIE)
        self.connection.close()


def serve(connection: Connection, device: Device, grading: Grading, threads: int, level: int) -> None:
    """Grade studies as they come, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.basicConfig(level=level, format=f"%(levelname)s %(name)s, {device.torch}: %(message)s")
    keep_freed_memory()
    torch.set_num_threads(threads)
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        usable, why = try_device(device.torch)
        if not usable:
            connection.send(DeviceLostError(f"{device.torch}: {why}"))
            return
        try:
            consumer = Consumer(device, grading)
        except BundleError as error:
            connection.send(error)
            return
        connection.send(consumer.members)
        consumer.warm_up(connection.poll)
        while True:
            request = connection.recv()
            if request == USE_COMPILED:
                connection.send(consumer.use_compiled())
                continue
            number, plan, deadline = request
            studies = []
            for _ in range(number):
                with SharedStudy.receive(connection.recv(), connection) as study:
                    studies.append(study.open())
            try:
                outcomes = grade_group(consumer.grader, studies, plan, deadline)
            except DeviceLostError:
                logger.exception("%s: the process ends", device.torch)
                os._exit(1)  # the parent starts another, which tries the device
            for outcome in outcomes:
                if isinstance(outcome, GradedStudy):
                    outcome.detections = without_grids(outcome.detections)
            connection.send((outcomes, peak_memory()))
