"""Studies through the ensemble, on the device or, where its memory does not suffice, on the CPU."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from lumbar.bundle.members import Bundle
from lumbar.bundle.placement import place
from lumbar.grading.ensemble import CROPS_A_SLICE, crop_features
from lumbar.grading.graded_study import GradedStudy, average_members
from lumbar.grading.member_runs import Pairs, Turn, run_members
from lumbar.grading.point_search import POINTED_A_SLICE, encode_slices, segment_peaks
from lumbar.grading.time_limit import Plan
from lumbar.grids import DETECTOR_GRID, WINDOW
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.detector import neighbours
from lumbar.networks.device import BATCH_CPU, Device, DeviceMemoryError, is_out_of_memory
from lumbar.reading.study import Study

logger = logging.getLogger(__name__)


class StudyGrader:
    """One consumer of studies: a bundle on a device, and the batch that fits into its memory.

    Attributes:
        bundle: The networks, on the runner's device.
        runner: Its device is the CPU from the moment on that the networks no longer fit on the card.
        zero_crops: Whether sites without a series are graded from zero crops, as in the authors' notebooks.
        clock: Of deadlines and measurements, in seconds; a test may control it.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        zero_crops: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.bundle = bundle
        self.zero_crops = zero_crops
        self.clock = clock
        self.runner = BatchRunner(device)

    def grade(
        self, studies: Sequence[Study], plan: Plan, deadline: float = float("inf")
    ) -> list[GradedStudy]:
        """Detect, crop, classify and average with the first members that the plan allows.

        Studies share passes, and each gets the grades that it would get alone. A member that gives NaN or Inf for a
        study runs once more in float32 and is left out of this study if that does not help. Studies that do not fit
        into the device's memory together are graded one by one; one that does not fit alone, on the CPU.

        Args:
            studies: In any order, at least one.
            plan: Members to run.
            deadline: On the clock: the first detector and the first classifier run, no further member starts then.

        Raises:
            DeviceMemoryError: A study does not fit into the CPU's memory either.
        """
        pairs = [(study, GradedStudy(study.study_id, faults=list(study.faults))) for study in studies]
        readable = [pair for pair in pairs if pair[0].volumes] if plan.detectors else []
        if readable:
            self.run_where_it_fits(readable, plan, Turn(self.clock, deadline))
        for study, graded in pairs:
            average_members(study, self.bundle, self.zero_crops, graded)
        return [graded for _, graded in pairs]

    def warm_ups(self) -> Iterator[Callable[[], None]]:
        """Yield calls that run each network's passes on empty images; see ``BatchRunner.warm_up``."""
        kind = self.runner.device.autocast_type or torch.float32
        slices = neighbours(torch.zeros(1, 1, DETECTOR_GRID, DETECTOR_GRID, dtype=kind))[0]
        networks = {id(n): n for detector in self.bundle.detectors for n in detector.networks.values()}
        for network in networks.values():
            yield partial(self.runner.warm_up, encode_slices, network, slices, POINTED_A_SLICE)
            yield partial(self.runner.warm_up, segment_peaks, network, slices)
        yield from self.classifier_warm_ups()

    def classifier_warm_ups(self) -> Iterator[Callable[[], None]]:
        """Yield those of the classifiers' networks."""
        window = torch.zeros(1, 1, WINDOW, WINDOW)
        for member in self.bundle.classifiers:
            yield partial(self.runner.warm_up, crop_features, member.network, window, CROPS_A_SLICE)

    def use_compiled(self) -> None:
        """Let the classifiers' backbones run compiled from now on.

        Raises:
            Exception: Whatever the compiler raises. They then run as before.
        """
        self.runner.compile(crop_features)
        try:
            for run in self.classifier_warm_ups():
                run()
        except Exception:
            self.runner.forget_compiled()
            raise

    def run_where_it_fits(self, pairs: Pairs, plan: Plan, turn: Turn) -> None:
        """Run the plan on the device; where memory does not suffice, study by study, and at last on the CPU."""
        full = ""
        try:
            run_members(pairs, self.bundle, plan, self.runner, turn, self.zero_crops)
        except (RuntimeError, MemoryError, DeviceMemoryError) as error:
            if not is_out_of_memory(error) or (self.runner.device.torch.type == "cpu" and len(pairs) == 1):
                raise
            full = str(error) or "out of memory"  # not the error: its traceback holds the tensors
        if not full:
            return
        for _, graded in pairs:
            graded.detections, graded.members = {}, {}
        self.runner.forget_captured()
        if len(pairs) > 1:
            logger.warning("%d studies side by side: %s; one by one", len(pairs), full)
            for pair in pairs:
                self.run_where_it_fits([pair], plan, turn)
        else:
            logger.warning("study %s: %s; graded on the CPU", pairs[0][0].study_id, full)
            self.run_on_cpu(pairs, plan, turn)

    def run_on_cpu(self, pairs: Pairs, plan: Plan, turn: Turn) -> None:
        """Run the plan on the CPU, then bring the networks back; if the card has no room for them now, stay."""
        device = self.runner.device
        cpu = Device(torch.device("cpu"), None, "out of device memory", BATCH_CPU)
        place(self.bundle, cpu)
        self.runner.forget_captured()
        try:
            run_members(pairs, self.bundle, plan, BatchRunner(cpu), turn, self.zero_crops)
        finally:
            try:
                place(self.bundle, device)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                logger.error(
                    "the networks no longer fit on %s (%s); the CPU from here on", device.torch, error
                )
                place(self.bundle, cpu)
                self.runner = BatchRunner(cpu)
