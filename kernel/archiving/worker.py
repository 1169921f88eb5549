"""One worker: a bundle on a device, with readers of its own, which grades the studies that come as infer.py would."""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from archiving.study_index import IndexedStudy
from archiving.study_rows import StudyRows, rows_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerSettings:
    """How workers grade; see infer.py's flags of the same names.

    Attributes:
        readers: Processes that read studies, per worker.
        threads: Of the CPU's operators; None leaves them to the libraries.
        maker: Makes the worker, from its settings and its device; a benchmark has another.
    """

    bundle: Path
    precision: str = "auto"
    zero_crops: bool = False
    calibrated: bool = True
    readers: int = 4
    threads: int | None = None
    maker: "Callable[[WorkerSettings, str], Worker] | None" = None


class Worker:
    """Grades studies as they are given, on a device.

    Attributes:
        facts: Of the archive's identity, as ``Ready`` carries them.
    """

    def __init__(self, settings: WorkerSettings, device: str):
        """Load the bundle.

        Args:
            settings: How to grade.
            device: As infer.py's ``--devices``; of several cards, the first is taken.

        Raises:
            BundleError, DeviceError: It can't be used.
        """
        import torch

        from lumbar.bundle.manifest import read_manifest
        from lumbar.networks.device import keep_freed_memory
        from lumbar.networks.device_choice import choose_device
        from lumbar.run.consumer import Consumer, Grading
        from lumbar.run.study_inbox import StudyInbox

        keep_freed_memory()
        if settings.threads:
            torch.set_num_threads(settings.threads)
        chosen = choose_device(device, settings.precision)
        grading = Grading(settings.bundle, settings.zero_crops, settings.calibrated)
        self.consumer = Consumer(chosen, grading)
        self.readers = settings.readers
        self.inbox = StudyInbox()
        members = self.consumer.members
        self.facts = {
            "bundle": read_manifest(settings.bundle).fingerprint,
            "device": chosen.torch.type,
            "precision": chosen.precision,
            "missing": "zero" if settings.zero_crops else "prior",
            "calibration": settings.calibrated,
            "members": [*members.detectors, *members.classifiers],
        }

    def give(self, studies: Sequence[IndexedStudy]) -> None:
        """Add studies to those that wait; from any thread."""
        self.inbox.put([study.ref() for study in studies])

    def rows(self) -> Iterator[StudyRows]:
        """Yield the rows of each study as it is graded, until the worker is closed.

        Raises:
            DeviceLostError: The device computes no longer.
        """
        from lumbar.grading.time_limit import Budget
        from lumbar.run.consumer import DeviceLostError
        from lumbar.run.consumers import consume
        from lumbar.run.read_ahead import read_ahead
        from lumbar.run.recording import record_outcome
        from lumbar.run.waiting_studies import WaitingStudies

        def read(closed: Callable[[], bool]) -> Iterator:
            return read_ahead(self.inbox, self.readers, closed=closed)

        budget = Budget(None, 0.0)
        with contextlib.closing(WaitingStudies(read, self.consumer.device.studies)) as studies:
            for study, outcome in consume(self.consumer, studies, budget, lambda: 1):
                yield rows_of(record_outcome(study, outcome, findings=True))
            if self.consumer.lost:
                raise DeviceLostError(f"{self.consumer.device.torch}: computes no longer")

    def close(self) -> None:
        """Let ``rows`` end after the studies that were given."""
        self.inbox.close()


def make_worker(settings: WorkerSettings, device: str) -> Worker:
    """Return a worker as the settings have it, with its place among its facts."""
    worker = (settings.maker or Worker)(settings, device)
    worker.facts = worker.facts | {"host": f"{socket.gethostname()}, process {os.getpid()}"}
    return worker
