"""One study through the ensemble, and what to do when a member fails on it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from lumbar.bundle.loading import Bundle, Detector
from lumbar.bundle.placement import place
from lumbar.faults import Fault
from lumbar.grading.ensemble import Detection, classify, detect, searched_sites, site_windows, weighted_mean
from lumbar.grading.time_limit import NO_MEMBERS, Budget, Plan
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device import BATCH_CPU, Device, DeviceMemoryError, NotFiniteError, is_out_of_memory
from lumbar.reading.study import Study
from lumbar.sites import DESCRIPTION_SITES, DESCRIPTIONS, SITES

logger = logging.getLogger(__name__)

PRIOR, ZERO_CROPS = "prior", "zero crops"  # what a site without a series gets
T = TypeVar("T")


@dataclass
class GradedStudy:
    """What the ensemble found in a study.

    Attributes:
        probabilities: (25, 3), NaN at sites that no member graded. None if no site was graded.
        detections: By detector.
        members: (25, 3) by (detector, classifier), NaN at sites that count for nothing in the mean.
        faults: Of the study's files, of members that failed, and the reasons of fallbacks.
        fallbacks: By description without grades of its own crops, ``PRIOR`` or ``ZERO_CROPS``.
        seconds: By stage.
        plan: The detectors and classifiers that were run.
    """

    study_id: str
    probabilities: np.ndarray | None = None
    detections: dict[str, Detection] = field(default_factory=dict)
    members: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    fallbacks: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    plan: Plan = NO_MEMBERS


class StudyGrader:
    """One consumer of studies: a bundle on a device, and what its passes have learnt about the memory.

    Attributes:
        bundle: The networks, on the runner's device.
        runner: Its device is the CPU from the moment on that the networks no longer fit on the card.
        zero_crops: Whether sites without a series are graded from zero crops, as in the authors' notebooks.
    """

    def __init__(self, bundle: Bundle, device: Device, zero_crops: bool = False):
        self.bundle = bundle
        self.zero_crops = zero_crops
        self.runner = BatchRunner(device)

    def grade(self, study: Study, plan: Plan, budget: Budget) -> GradedStudy:
        """Detect, crop, classify and average with the first members that the plan allows.

        A member that gives NaN or Inf runs once more in float32 and is left out of this study if that does not
        help. A study that does not fit into the device's memory is graded on the CPU.

        Raises:
            DeviceMemoryError: The study does not fit into the CPU's memory either.
        """
        graded = GradedStudy(study.study_id, faults=list(study.faults))
        if study.volumes and plan.detectors:
            self.grade_where_it_fits(study, plan, budget, graded)
        average_members(study, self.bundle, self.zero_crops, graded)
        return graded

    def grade_where_it_fits(self, study: Study, plan: Plan, budget: Budget, graded: GradedStudy) -> None:
        """Run the plan on the device, or on the CPU if the study does not fit into the device's memory."""
        full = ""
        try:
            run_members(study, self.bundle, plan, self.runner, budget, graded)
        except (RuntimeError, MemoryError, DeviceMemoryError) as error:
            if not is_out_of_memory(error) or self.runner.device.torch.type == "cpu":
                raise
            full = str(error) or "out of memory"  # not the error: its traceback holds what was allocated
        if full:
            logger.warning("study %s: %s; graded on the CPU", study.study_id, full)
            graded.detections, graded.members = {}, {}
            self.grade_on_cpu(study, plan, budget, graded)

    def grade_on_cpu(self, study: Study, plan: Plan, budget: Budget, graded: GradedStudy) -> None:
        """Run the plan on the CPU, then bring the networks back; if the card has no room for them now, stay."""
        device = self.runner.device
        cpu = Device(torch.device("cpu"), None, "out of device memory", BATCH_CPU)
        place(self.bundle, cpu)
        torch.cuda.empty_cache()
        try:
            run_members(study, self.bundle, plan, BatchRunner(cpu), budget, graded)
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


def average_members(study: Study, bundle: Bundle, zero_crops: bool, graded: GradedStudy) -> None:
    """Average the members site by site; name the descriptions without grades, and why, in ``graded``.

    A member counts at a site if its detector searched the site's description. At a site that no detector searched
    none counts, or with ``zero_crops`` every one.
    """
    searched = {name: searched_sites(detection) for name, detection in graded.detections.items()}
    lost = ~np.any([np.zeros(len(SITES), bool), *searched.values()], axis=0)
    for (detector, classifier), rows in graded.members.items():
        counts = searched[detector] | (lost & zero_crops)
        graded.members[detector, classifier] = np.where(counts[:, None], rows, np.nan)
    if graded.members:
        weights = {member.name: member.weight for member in bundle.classifiers}
        graded.probabilities = weighted_mean(
            list(graded.members.values()), [weights[classifier] for _, classifier in graded.members]
        )
        whole = len(graded.members) == len(bundle.detectors) * len(bundle.classifiers) and not bundle.left_out
        if bundle.calibration and (whole or bundle.calibration.holds_for_partial):
            graded.probabilities = bundle.calibration.apply(graded.probabilities)
    for description in DESCRIPTIONS:
        if graded.probabilities is None or lost[DESCRIPTION_SITES[description]].any():
            graded.fallbacks[description] = ZERO_CROPS if graded.members and zero_crops else PRIOR
    absent = [d for d in graded.fallbacks if d not in study.volumes]
    unread = [d for d in DESCRIPTIONS if d in study.volumes and lost[DESCRIPTION_SITES[d]].any()]
    if absent:
        message = f"got no usable series of {', '.join(absent)}, expected one of each description"
        graded.faults.append(Fault(f"study {study.study_id}", "no_description", message))
    if unread and graded.detections:  # a detector that failed is a fault already
        message = f"got no network for {', '.join(unread)}, expected one in a detector that ran"
        graded.faults.append(Fault("bundle", "no_detector", message))
    if not bundle.classifiers:
        graded.faults.append(Fault("bundle", "no_classifier", "got no classifier, expected at least one"))


def run_members(
    study: Study, bundle: Bundle, plan: Plan, runner: BatchRunner, budget: Budget, graded: GradedStudy
) -> None:
    """Run stage 1 and stage 2 of the plan and store what each gave in ``graded``."""
    detectors, classifiers = bundle.detectors[: plan.detectors], bundle.classifiers[: plan.classifiers]
    start = budget.clock()
    for group in sharing_networks(detectors):
        if graded.detections and not budget.allows_another():
            break
        begun = budget.clock()
        name = " and ".join(detector.name for detector in group)
        found = retry_in_float32(
            lambda on, group=group: detect(group, study.volumes, on),
            list(group[0].networks.values()),
            runner,
            f"detector {name}",
            graded,
        )
        graded.detections.update(found or {})
        for detector in group:
            budget.learn(f"detector {detector.name}", (budget.clock() - begun) / len(group))
    graded.seconds["stage 1"] = budget.clock() - start
    graded.plan = Plan(len(graded.detections), 0)

    start = budget.clock()
    windows = {
        border: np.stack([site_windows(detection, border) for detection in graded.detections.values()])
        for border in {member.network.config.border for member in classifiers}
        if any(detection.points for detection in graded.detections.values())
    }
    for member in classifiers if windows else ():
        if graded.members and not budget.allows_another():
            break  # what the members before it said is enough to end in time
        begun = budget.clock()
        crops = windows[member.network.config.border]
        said = retry_in_float32(
            lambda on, member=member, crops=crops: classify(member, crops, on),
            [member.network],
            runner,
            f"classifier {member.name}",
            graded,
        )
        for detector, probabilities in zip(graded.detections, said if said is not None else (), strict=False):
            graded.members[detector, member.name] = probabilities
        bundle.scratch.release(member.network)
        budget.learn(f"classifier {member.name}", (budget.clock() - begun) / len(crops))
        graded.plan = replace(graded.plan, classifiers=graded.plan.classifiers + 1)
    graded.seconds["stage 2"] = budget.clock() - start


def sharing_networks(detectors: tuple[Detector, ...]) -> list[tuple[Detector, ...]]:
    """Group detectors that share their networks: one pass serves them all."""
    groups: dict[frozenset[int], list[Detector]] = {}
    for detector in detectors:
        groups.setdefault(frozenset(map(id, detector.networks.values())), []).append(detector)
    return [tuple(group) for group in groups.values()]


def retry_in_float32(
    run: Callable[[BatchRunner], T],
    networks: list[nn.Module],
    runner: BatchRunner,
    member: str,
    graded: GradedStudy,
) -> T | None:
    """Run a member. If its numbers are not finite, run it once more in float32; then leave it out, as a fault."""
    device = runner.device
    try:
        return run(runner)
    except NotFiniteError as error:
        logger.warning("study %s: %s (%s); once more in float32", graded.study_id, error, device.precision)
    wide = replace(device, autocast_type=None)
    try:
        for network in networks:
            wide.place(network)
        return run(BatchRunner(wide))
    except NotFiniteError as error:
        logger.error("study %s: %s in float32 too; %s is left out", graded.study_id, error, member)
        graded.faults.append(Fault(member, "not_finite", str(error)))
        return None
    finally:
        for network in networks:
            device.place(network)
