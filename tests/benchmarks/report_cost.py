"""Seconds and bytes per study of everything that a run can write beside the submission.

    python -m tests.benchmarks.report_cost --data DIR [--repeats 5]

Grades the first study of a folder with the shipped bundle, then writes its page without and with slices to scroll, its
key slices and its summary. Seconds are the median of the repeats.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import lumbar
from lumbar.grading.study_grading import GradedStudy
from lumbar.grading.study_record import StudyRecord, record_graded
from lumbar.grading.time_limit import Plan
from lumbar.networks.architecture import shown_rule
from lumbar.outputs.findings import site_findings
from lumbar.outputs.pacs.study_objects import write_study_objects
from lumbar.outputs.report import Report
from lumbar.reading.listing import find_dataset
from lumbar.reading.references import StudyRef
from lumbar.reading.study import Study, read_study

CHECKOUT = Path(__file__).resolve().parents[2]


class Cost(NamedTuple):
    """The cost of one kind of output, per study."""

    kind: str
    seconds: float
    size: int


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.report_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="any input of infer.py")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    ref = find_dataset(options.data).studies[0]
    study = read_study(ref)
    grader = lumbar.load(CHECKOUT, device="cpu").study_grader
    bundle = grader.bundle
    (graded,) = grader.grade([study], Plan(len(bundle.detectors), len(bundle.classifiers)))
    about = {
        "bundle": bundle.name,
        "bundle_sha256": bundle.fingerprint,
        "trained_on": bundle.trained_on,
        "detectors": [member.name for member in bundle.detectors],
        "classifiers": [member.name for member in bundle.classifiers],
        "crop_rule": shown_rule([bundle.classifiers[0].network.config.crops]),
    }
    slices = sum(len(volume) for volume in study.volumes.values())
    print(f"study {ref.study_id}: {slices} slices")
    for cost in costs(ref, study, graded, about, options.repeats):
        print(f"{cost.kind:24} {cost.seconds:6.2f} s {cost.size / 1e6:7.2f} MB")


def costs(ref: StudyRef, study: Study, graded: GradedStudy, about: dict, repeats: int) -> list[Cost]:
    """Return the cost of each kind of output."""
    record = record_graded(study, graded, [], site_findings(study, graded))

    def page(folder: Path, slices: bool) -> None:
        report = Report(folder, about, slices=slices)
        report.add_study(record, study, graded.detections)
        assert not report.failures, report.failures

    def objects(folder: Path, record: StudyRecord, captures: bool) -> None:
        kinds = captures, not captures
        problem = write_study_objects(ref, record, study, graded.detections, about, folder, *kinds)
        assert problem is None, problem

    kinds: dict[str, Callable[[Path], None]] = {
        "page, small": lambda folder: page(folder, False),
        "page, full": lambda folder: page(folder, True),
        "Secondary Capture": lambda folder: objects(folder, record, True),
        "Encapsulated PDF": lambda folder: objects(folder, record, False),
    }
    return [measured(kind, write, repeats) for kind, write in kinds.items()]


def measured(kind: str, write: Callable[[Path], None], repeats: int) -> Cost:
    """Return the median of the seconds, and the bytes that were written."""
    seconds, size = [], 0
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            began = time.perf_counter()
            write(Path(name))
            seconds.append(time.perf_counter() - began)
            size = sum(file.stat().st_size for file in Path(name).rglob("*") if file.is_file())
    return Cost(kind, statistics.median(seconds), size)


if __name__ == "__main__":
    main()
