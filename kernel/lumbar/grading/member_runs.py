"""The members of a plan on several studies side by side, and a second try where one fails on a study."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from torch import nn

from lumbar.bundle.members import Bundle, Classifier, Detector
from lumbar.faults import Fault
from lumbar.grading.detection import detect, detect_study
from lumbar.grading.ensemble import classify, grade_crops, searched_groups, site_windows, upload_crops
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.time_limit import Plan
from lumbar.networks.architecture import CropRule
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device import NotFiniteError
from lumbar.networks.stopwatch import Stopwatch
from lumbar.networks.transfer import download
from lumbar.reading.study import Study

logger = logging.getLogger(__name__)
T = TypeVar("T")
Pairs = Sequence[tuple[Study, GradedStudy]]


@dataclass(frozen=True)
class Turn:
    """The time in which members may start.

    Attributes:
        clock: In seconds; a test may control it.
        deadline: On the clock: no further member starts then. The first detector and the first classifier do.
    """

    clock: Callable[[], float] = time.monotonic
    deadline: float = float("inf")

    def is_over(self) -> bool:
        return self.clock() >= self.deadline


def run_members(
    pairs: Pairs, bundle: Bundle, plan: Plan, runner: BatchRunner, turn: Turn, zero_crops: bool
) -> None:
    """Run both stages of a plan on studies; store the results and seconds of each member in ``GradedStudy``.

    With ``zero_crops`` sequences hold all sites, otherwise those that the detector searched.
    """
    start = turn.clock()
    costs = run_detectors(pairs, bundle.detectors[: plan.detectors], runner, turn)
    between = turn.clock()
    classifier_costs = run_classifiers(pairs, bundle, plan, runner, turn, zero_crops)
    end = turn.clock()
    for _, graded in pairs:
        graded.seconds = {"stage 1": (between - start) / len(pairs), "stage 2": (end - between) / len(pairs)}
        graded.costs = costs | classifier_costs
        graded.plan = Plan(len(graded.detections), len(classifier_costs) if was_searched(graded) else 0)


def run_detectors(
    pairs: Pairs, detectors: Sequence[Detector], runner: BatchRunner, turn: Turn
) -> dict[str, float]:
    """Run stage 1; return the seconds per study of each detector that ran."""
    costs: dict[str, float] = {}
    for sharing in sharing_networks(detectors):
        if costs and turn.is_over():
            break
        start = turn.clock()
        name = " and ".join(detector.name for detector in sharing)
        found = detect(sharing, [study.volumes for study, _ in pairs], runner)
        for (study, graded), detections in zip(pairs, found, strict=True):
            if isinstance(detections, NotFiniteError):
                detections = in_float32(
                    lambda on, sharing=sharing, study=study: detect_study(sharing, study.volumes, on),
                    list(sharing[0].networks.values()),
                    runner,
                    detections,
                    f"detector {name}",
                    graded,
                )
            graded.detections.update(detections or {})
        seconds = (turn.clock() - start) / len(sharing) / len(pairs)
        costs |= {f"detector {detector.name}": seconds for detector in sharing}
    return costs


def run_classifiers(
    pairs: Pairs, bundle: Bundle, plan: Plan, runner: BatchRunner, turn: Turn, zero_crops: bool
) -> dict[str, float]:
    """Run stage 2 on the crops of all detections; return the seconds of each classifier per study and detection."""
    classifiers = bundle.classifiers[: plan.classifiers]
    searched = [pair for pair in pairs if was_searched(pair[1])]
    if not searched or not classifiers:
        return {}
    rules = {member.network.config.crops for member in classifiers}
    cut = {rule: [study_crops(*pair, rule, zero_crops) for pair in searched] for rule in rules}
    crops = {}
    for rule, of_studies in cut.items():
        windows, groups = map(np.concatenate, zip(*of_studies, strict=True))
        crops[rule] = upload_crops(windows, runner, groups)
    watch, launched = Stopwatch(runner.device, turn.clock), {}
    for member in classifiers:
        if launched and turn.is_over():
            break  # the members before it are enough to end in time
        launched[member.name] = grade_crops(member, crops[member.network.config.crops], runner)
        bundle.scratch.release(member.network)
        watch.lap(member.name)
    given = dict(zip(launched, download(list(launched.values())), strict=True))
    watch.stop()
    for member in classifiers[: len(given)]:
        share_out(member, given[member.name], searched, cut[member.network.config.crops], runner)
    detections = sum(len(graded.detections) for _, graded in searched)
    return {f"classifier {name}": seconds / detections for name, seconds in watch.seconds.items()}


def was_searched(graded: GradedStudy) -> bool:
    """Return whether a detector found points in a study: without any there are no crops to grade."""
    return any(found.points for found in graded.detections.values())


def study_crops(
    study: Study, graded: GradedStudy, rule: CropRule, zero_crops: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows of a study's detections (detection, 25, S, 64, 64), and the groups of their sequences."""
    detections = graded.detections.values()
    groups = searched_groups(detections, rule.canal_from) | zero_crops
    return np.stack([site_windows(found, study.volumes, rule) for found in detections]), groups


def share_out(
    member: Classifier,
    given: np.ndarray,
    pairs: Pairs,
    crops: list[tuple[np.ndarray, np.ndarray]],
    runner: BatchRunner,
) -> None:
    """Store a classifier's probabilities for the detections of all studies, (n, 25, 3), study by study.

    ``crops`` are each study's windows and groups, for one that gets NaN or Inf.
    """
    ends = np.cumsum([len(graded.detections) for _, graded in pairs])
    for (_, graded), rows, (windows, groups) in zip(pairs, np.split(given, ends[:-1]), crops, strict=True):
        name = f"classifier {member.name}"
        if not np.isfinite(rows).all():
            rows = in_float32(
                lambda on, windows=windows, groups=groups: classify(member, windows, on, groups),
                [member.network],
                runner,
                NotFiniteError(f"{name}: NaN or Inf in the network's output"),
                name,
                graded,
            )
        if rows is not None:
            names = [(detector, member.name) for detector in graded.detections]
            graded.members |= dict(zip(names, rows, strict=True))


def sharing_networks(detectors: Sequence[Detector]) -> list[tuple[Detector, ...]]:
    """Group detectors that share their networks: one pass serves them all."""
    groups: dict[frozenset[int], list[Detector]] = {}
    for detector in detectors:
        groups.setdefault(frozenset(map(id, detector.networks.values())), []).append(detector)
    return [tuple(group) for group in groups.values()]


def in_float32(
    run: Callable[[BatchRunner], T],
    networks: list[nn.Module],
    runner: BatchRunner,
    error: NotFiniteError,
    member: str,
    graded: GradedStudy,
) -> T | None:
    """Run a member once more, in float32, on a study for which it gave NaN or Inf; then leave it out, as a fault."""
    device = runner.device
    logger.warning("study %s: %s (%s); once more in float32", graded.study_id, error, device.precision)
    wide = replace(device, autocast_type=None, fixed_shapes=False)
    try:
        for network in networks:
            wide.place(network)
        return run(BatchRunner(wide))
    except NotFiniteError as again:
        logger.error("study %s: %s in float32 too; %s is left out", graded.study_id, again, member)
        graded.faults.append(Fault(member, "not_finite", str(again)))
        return None
    finally:
        for network in networks:
            device.place(network)
        runner.forget_captured()  # their weights have moved
