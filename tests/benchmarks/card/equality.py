"""The shipped bundle on the CPU and on the card: the same points, and how far probabilities differ."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lumbar.bundle.placement import ready_bundle
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.study_grading import StudyGrader
from lumbar.grading.time_limit import Plan
from lumbar.networks.device_choice import choose_device
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import Study, read_study


def compare(work: Path, bundle: Path, device: str, studies: int, save: Callable[[dict], None]) -> None:
    """Save how results on the device, in float32 and with AMP, differ from those in float32 on the CPU.

    Studies are graded side by side.
    """
    read = [read_study(ref) for ref in find_dataset(work / "phantoms").studies[:studies]]
    expected = grade(bundle, "cpu", "fp32", read)
    found = {
        f"{device} {precision}": differences(grade(bundle, device, precision, read), expected)
        for precision in ("fp32", "amp")
    }
    save({"studies": len(read)} | found)


def grade(folder: Path, device: str, precision: str, studies: list[Study]) -> list[GradedStudy]:
    """Grade studies twice, as a card replays captured passes from the third call on; return the last grades."""
    chosen = choose_device(device, precision)
    bundle = ready_bundle(folder, chosen)
    grader = StudyGrader(bundle, chosen)
    plan = Plan(len(bundle.detectors), len(bundle.classifiers))
    grader.grade(studies, plan)
    return grader.grade(studies, plan)


def differences(found: list[GradedStudy], expected: list[GradedStudy]) -> dict:
    """Return how many sites have equal points, and the largest difference of a member's probability.

    Probabilities are those of detections with equal points at all sites and slices of crops; None if there is none.
    """
    equal: list[bool] = []
    apart: list[float] = []
    for one, other in zip(found, expected, strict=True):
        for name, detection in other.detections.items():
            same = [
                (points.points == one.detections[name].points[description].points).all(axis=(1, 2))
                for description, points in detection.points.items()
            ]
            equal += np.concatenate(same).tolist()
            members = [member for member in other.members if member[0] == name]
            if np.concatenate(same).all():
                apart += [float(np.nanmax(np.abs(one.members[m] - other.members[m]))) for m in members]
    return {"points": len(equal), "equal": sum(equal), "largest_difference": max(apart, default=None)}
