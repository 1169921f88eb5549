"""Reference and kernel, each in a process of its own, graded study by study on request.

Two processes, so that each has its own peak memory and neither warms the other's caches; while one computes
the other waits.
"""

import logging
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lumbar.run.peak_memory import peak_memory

STAGES = ("read", "stage 1", "stage 2")


@dataclass(frozen=True)
class Measured:
    """One study, once.

    Attributes:
        seconds: By stage.
        points: (25, 3) slice, row, column.
        margins: (25,), by how much each point's voxel beats the next (reference only).
        searched: (25,) bool, false without a volume.
        probabilities: (25, 3).
        counts: Images through each network (kernel only), the detector's by description.
        peak_mb: Of the process and the card.
    """

    seconds: dict[str, float]
    points: np.ndarray
    margins: np.ndarray | None
    searched: np.ndarray
    probabilities: np.ndarray
    counts: dict[str, dict[str, int] | int]
    peak_mb: dict[str, float]


class Side:
    """A process that grades studies: ``"reference"`` or ``"kernel"``."""

    def __init__(self, kind: str, bundle: Path, device: str, precision: str):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        serve = {"reference": serve_reference, "kernel": serve_kernel}[kind]
        arguments = (theirs, bundle, device, precision)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def grade(self, root: Path, study_id: str) -> Measured:
        self.connection.send((root, study_id))
        return self.connection.recv()

    def close(self) -> None:
        self.connection.close()
        self.process.join()


def serve_reference(connection, bundle: Path, device: str, precision: str) -> None:
    import torch

    from tests.reference import reference
    from tests.reference.reference_bundle import load_members

    torch.backends.cudnn.allow_tf32 = False  # as the kernel does: both are compared in float32
    detectors, classifiers = load_members(bundle, device)
    detector = detectors[0]["name"]
    for root, study_id in requests(connection):
        result = reference.infer_study(
            reference.study_folders(root, study_id), detectors, classifiers, device
        )
        spent = result["seconds"]
        connection.send(
            Measured(
                seconds={
                    "read": spent["read"],
                    "stage 1": spent["detect"],
                    "stage 2": spent["crop"] + spent["classify"],
                },
                points=result["points"][detector][:, 2],
                margins=result["margins"][detector][:, 2],
                searched=result["values"][detector] > 0,
                probabilities=result["probabilities"],
                counts={},
                peak_mb=peak_memory(),
            )
        )


def serve_kernel(connection, bundle: Path, device: str, precision: str) -> None:
    from lumbar.bundle.placement import ready_bundle
    from lumbar.grading.study_grading import StudyGrader
    from lumbar.grading.time_limit import Plan
    from lumbar.networks.device import keep_freed_memory
    from lumbar.networks.device_choice import choose_device
    from lumbar.reading.listing import find_dataset
    from lumbar.reading.study import read_study

    logging.disable(logging.INFO)
    keep_freed_memory()  # as the command does
    chosen = choose_device(device, precision)
    members = ready_bundle(bundle, chosen)
    grader = StudyGrader(members, chosen)
    plan = Plan(len(members.detectors), len(members.classifiers))
    for root, study_id in requests(connection):
        (ref,) = [study for study in find_dataset(root).studies if study.study_id == study_id]
        start = time.perf_counter()
        study = read_study(ref)
        read = time.perf_counter() - start
        (graded,) = grader.grade([study], plan)
        connection.send(kernel_result(study, graded, members, read))


def kernel_result(study, graded, members, read: float) -> Measured:
    """Return the first detector's points, and the counts, of a graded study."""
    from lumbar.grading.ensemble import distinct_images, site_windows
    from lumbar.sites import DESCRIPTION_SITES

    points, searched = np.zeros((25, 3), int), np.zeros(25, bool)
    counts = {"pointer": {}, "segmenter": {}, "slices": 0}
    detection = graded.detections[members.detectors[0].name]
    for description, found in detection.points.items():
        sites = DESCRIPTION_SITES[description]
        points[sites], searched[sites] = found.points[:, 2], True
        padding = members.detectors[0].networks[description].config.max_length - found.slices
        counts["pointer"][description] = found.slices + min(2, padding)
        counts["segmenter"][description] = found.segmented
        counts["slices"] += found.slices
    images, _ = distinct_images(
        site_windows(detection, study.volumes, members.classifiers[0].network.config.crops)
    )
    return Measured(
        seconds={"read": read} | {stage: graded.seconds[stage] for stage in STAGES[1:]},
        points=points,
        margins=None,
        searched=searched,
        probabilities=graded.probabilities,
        counts=counts | {"backbone": len(images)},
        peak_mb=peak_memory(),
    )


def requests(connection):
    """Yield the requests until the other end closes."""
    while True:
        try:
            yield connection.recv()
        except EOFError:
            return
