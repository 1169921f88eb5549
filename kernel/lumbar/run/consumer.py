"""A consumer of studies: a bundle on one device that grades studies in this process."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lumbar.bundle.placement import ready_bundle
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.study_grading import StudyGrader
from lumbar.grading.time_limit import Plan
from lumbar.networks.device import Device, is_out_of_memory
from lumbar.networks.device_choice import try_device
from lumbar.reading.study import Study
from lumbar.run.shared_study import SharedStudy

logger = logging.getLogger(__name__)


class DeviceLostError(Exception):
    """A device computes no longer: its studies are given back."""


@dataclass(frozen=True)
class Failure:
    """A study that was not graded.

    Attributes:
        reason: ``"grading_failed"``, ``"out_of_memory"``, ``"grader_died"``, or why it was not read.
        message: The error's text.
    """

    reason: str
    message: str


@dataclass(frozen=True)
class Grading:
    """The options of consumers.

    Attributes:
        bundle: The bundle's folder.
        zero_crops: Whether sites without a series are graded from zero crops.
        calibrated: Whether the bundle's calibration is applied, if it has one.
        clock: Of deadlines, in seconds.
    """

    bundle: Path
    zero_crops: bool = False
    calibrated: bool = True
    clock: Callable[[], float] = time.monotonic


class Consumer:
    """A bundle on a device, in this process.

    Attributes:
        device: As it was chosen.
        members: The bundle's members that are there.
        lost: Whether the device computes no longer.
        compiled: Whether classifiers run compiled.
    """

    def __init__(self, device: Device, grading: Grading):
        """Load the bundle; BundleError if it can't be used."""
        self.device = device
        self.lost = self.compiled = False
        if device.torch.type == "cuda":
            torch.cuda.set_device(device.torch)
        bundle = ready_bundle(grading.bundle, device, strict=False)
        if not grading.calibrated:
            bundle = replace(bundle, calibration=None)
        self.members = bundle.members
        self.grader = StudyGrader(bundle, device, grading.zero_crops, grading.clock)

    def warm_up(self, needed: Callable[[], bool]) -> None:
        """Run passes on empty images until there is a study to grade: the first pass of each loads and plans."""
        for run in self.grader.warm_ups():
            if needed():
                return
            run()

    def grade(
        self, studies: Sequence[SharedStudy], plan: Plan, deadline: float
    ) -> list[tuple[Study, GradedStudy | Failure]]:
        """Grade studies side by side; an error costs one study alone.

        Args:
            studies: At least one; they stay the caller's.
            plan: Members to run.
            deadline: On the clock: no further member starts then.

        Raises:
            DeviceLostError: The device computes no longer.
        """
        opened = [study.open() for study in studies]
        return list(zip(opened, grade_group(self.grader, opened, plan, deadline), strict=True))

    def use_compiled(self) -> str:
        """Let classifiers run compiled from now on; return why they can't, or nothing."""
        try:
            self.grader.use_compiled()
        except Exception as error:
            return one_line(error)
        self.compiled = True
        return ""

    def close(self) -> None:
        """Nothing is left to do: the bundle goes with this object."""


def one_line(error: Exception) -> str:
    """Return an error's type and the first line of its text."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def grade_group(
    grader: StudyGrader, studies: Sequence[Study], plan: Plan, deadline: float
) -> list[GradedStudy | Failure]:
    """Grade studies side by side; if that fails, one by one, so that each error costs its study alone.

    Raises:
        DeviceLostError: The device computes no longer.
    """
    try:
        return [*grader.grade(studies, plan, deadline)]
    except Exception as error:
        device = grader.runner.device.torch
        if device.type == "cuda" and not try_device(device)[0]:
            raise DeviceLostError(f"{device}: computes no longer after {error}") from error
        if len(studies) == 1:
            reason = "out_of_memory" if is_out_of_memory(error) else "grading_failed"
            logger.exception("study %s: not graded", studies[0].study_id)
            return [Failure(reason, f"{type(error).__name__}: {error}")]
        logger.warning(
            "%d studies side by side: %s: %s; one by one", len(studies), type(error).__name__, error
        )
    return [outcome for study in studies for outcome in grade_group(grader, [study], plan, deadline)]
