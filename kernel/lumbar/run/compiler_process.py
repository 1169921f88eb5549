"""torch.compile for the classifiers of a long run, in a process beside it.

A compiler joins elementwise operators to their neighbours, of which a backbone on a card has more bytes than of
convolutions (``tests.benchmarks.published_time``). It takes a minute or more per card, so a process of its own fills
the compiler's cache while the run goes on. A consumer then takes the compiled passes from there, between two groups of
studies. No run depends on it: whatever fails is logged once, and the classifiers run as they are.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import cast

import numpy as np
import torch

from lumbar.bundle.members import Bundle, Classifier
from lumbar.bundle.placement import rewritten
from lumbar.grading.study_grading import StudyGrader
from lumbar.networks.architecture import Border, ClassifierConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.device import Device
from lumbar.run.consumer import Consumer, one_line
from lumbar.run.consumer_process import ConsumerProcess

logger = logging.getLogger(__name__)

# Seconds of stage 2 ahead of a device from which on compiling pays. Measured on an H100: a convnext takes 11 to 13 s to
# compile, and then a third less time (tiny: 5.5 ms instead of 8.1, small: 9.2 instead of 12.5).
WORTH_SECONDS = 600.0
GROUPS_MEASURED = 2  # the first loads and plans
NICENESS = 10  # readers come first


class CompilerProcess:
    """Compiles classifiers for one consumer, once enough work is ahead of its device.

    Attributes:
        consumer: It grades by the classifiers.
        state: What became of it, for run.json.
        ready: Whether compiled passes can be taken.
    """

    def __init__(self, consumer: Consumer | ConsumerProcess, backbones: Sequence[str], wanted: bool = True):
        """Wait for work; nothing is started yet.

        Args:
            consumer: Of any device. Only passes of fixed shape are compiled: others would be for each batch.
            backbones: Of its classifiers, each once.
            wanted: False: never compile.
        """
        self.consumer, self.backbones = consumer, backbones
        self.ready = self.answered = False
        self.process: BaseProcess | None = None
        self.measured: list[float] = []
        self.waits = wanted and consumer.device.fixed_shapes
        self.state = "few studies so far" if self.waits else "off" if not wanted else "cards only"

    def learn(self, seconds: float, studies_left: float) -> None:
        """Take the measurement of a group of studies; start to compile if enough work is ahead.

        Args:
            seconds: Of stage 2, per study.
            studies_left: That this device will still grade.
        """
        self.measured.append(seconds)
        if not self.waits or len(self.measured) < GROUPS_MEASURED:
            return
        ahead = min(self.measured) * studies_left
        self.state = f"not worth it: {ahead:.0f} s of stage 2 ahead, below {WORTH_SECONDS:.0f}"
        if ahead >= WORTH_SECONDS:
            self.waits = False
            self.start()

    def start(self) -> None:
        """Start the process."""
        context = multiprocessing.get_context("spawn")  # a fork would copy CUDA's and OpenMP's state
        self.connection, theirs = context.Pipe()
        self.state = "not ready before the run ended"
        given = theirs, self.consumer.device, self.backbones
        process = context.Process(target=fill_cache, args=given, daemon=True)
        try:
            process.start()
            self.process = process
        except (OSError, MemoryError) as error:
            self.fail(one_line(error))
        finally:
            theirs.close()

    def hand_over(self) -> None:
        """Let the consumer take the compiled passes, if they are ready and it does not have them."""
        if self.process and not self.answered and self.connection.poll():
            self.answered = True
            try:
                error = self.connection.recv()
            except (EOFError, OSError):
                self.process.join()
                error = f"the compiler's process died with status {self.process.exitcode}"
            self.ready = not error
            if error:
                self.fail(error)
        if not self.ready or self.consumer.compiled:
            return
        if error := self.consumer.use_compiled():
            self.fail(error)
        else:
            self.state = f"compiled after {len(self.measured)} groups of studies"
            logger.info("%s: classifiers are %s", self.consumer.device.torch, self.state)

    def fail(self, error: str) -> None:
        """Note why nothing is compiled."""
        self.ready, self.state = False, f"failed to compile: {error}"
        device = self.consumer.device.torch
        logger.warning("%s: classifiers can't be compiled (%s); they run as they are", device, error)

    def close(self) -> None:
        """End the process, even if it is compiling."""
        if self.process:
            self.process.kill()
            self.process.join()
            self.connection.close()


def fill_cache(connection: Connection, device: Device, backbones: Sequence[str]) -> None:
    """Compile an untrained classifier of each backbone as a consumer will; send why that failed, or nothing.

    Weights are a compiled pass's inputs: it serves all networks of its architecture.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.nice(NICENESS)
    torch.set_num_threads(1)
    try:
        if device.torch.type == "cuda":
            torch.cuda.set_device(device.torch)
        members = tuple(Classifier(name, 1.0, untrained(name, device)) for name in backbones)
        StudyGrader(Bundle("untrained", "nothing", (), members, np.empty(0), ""), device).use_compiled()
    except Exception as error:
        connection.send(one_line(error))
        return
    connection.send("")


def untrained(backbone: str, device: Device) -> ClassifierNetwork:
    """Return a classifier of random weights, rewritten and placed as a trained one."""
    network = ClassifierNetwork(ClassifierConfig(backbone, "level", Border.STRETCH, (0.0, 0.0, 0.0))).eval()
    return cast(ClassifierNetwork, rewritten(network, device))
