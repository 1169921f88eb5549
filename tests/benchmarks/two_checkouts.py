"""Time the grading of studies by two checkouts of the kernel, by turns on the CPU.

    git worktree add --detach ../before 1f2763f
    python -m tests.benchmarks.two_checkouts --before ../before --data DIR

Each checkout has a process of one thread, which reads the studies once. Seconds are the processor's, which a busy
machine changes least. A ratio above 1 means that this checkout is faster.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).resolve().parents[2]
PRECISIONS = ("fp32", "amp")


def serve(checkout: Path, data: Path, bundle: Path, precision: str) -> None:
    """Grade all studies by the checkout that ``sys.path`` leads to for each line of the input; print the seconds."""
    import torch

    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    rooms = (checkout / "kernel/lumbar/networks").is_dir()
    grade = (grading if rooms else grading_before)(data, bundle, precision)
    for _ in sys.stdin:
        started = time.process_time()
        grade()
        print(time.process_time() - started, flush=True)


def grading(data: Path, bundle: Path, precision: str) -> Callable[[], None]:
    """Return a call that grades all studies, one by one."""
    from lumbar.bundle.placement import ready_bundle
    from lumbar.grading.study_grading import StudyGrader
    from lumbar.grading.time_limit import Plan
    from lumbar.networks.device import keep_freed_memory
    from lumbar.networks.device_choice import choose_device
    from lumbar.reading.listing import find_dataset
    from lumbar.reading.study import read_study

    keep_freed_memory()  # as the command does
    device = choose_device("cpu", precision)
    members = ready_bundle(bundle, device)
    grader, plan = StudyGrader(members, device), Plan(len(members.detectors), len(members.classifiers))
    studies = [read_study(ref) for ref in find_dataset(data).studies]
    return lambda: [grader.grade([study], plan) for study in studies] and None


def grading_before(data: Path, bundle: Path, precision: str) -> Callable[[], None]:
    """Do the same at commit 1f2763f."""
    names = ("device", "grading", "budget", "studies")
    device, grading, budget, studies = (import_module(f"lumbar.{name}") for name in names)
    device.keep_freed_memory()
    chosen = device.choose_device("cpu", precision)
    members = grading.ready_bundle(bundle, chosen)
    plan, clock = budget.Plan(len(members.detectors), len(members.classifiers)), time.monotonic
    read = [studies.read_study(ref) for ref in studies.find_competition(data).studies]
    return lambda: (
        [grading.grade_study(study, members, plan, chosen, budget.Budget(None, clock())) for study in read]
        and None
    )


class Side:
    """The process of a checkout."""

    def __init__(self, checkout: Path, data: Path, bundle: Path, precision: str):
        paths = [str(path) for path in (checkout / "kernel", REPOSITORY, REPOSITORY / "kernel")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--serve", checkout, data, bundle, precision],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self) -> float:
        """Return the processor's seconds for all studies."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def compare(
    before: Path, data: Path, bundle: Path | None, precision: str, runs: int
) -> list[tuple[float, float]]:
    """Return the seconds of both checkouts, of runs by turns after one to warm up."""
    sides = [Side(checkout, data, bundle or checkout, precision) for checkout in (before, REPOSITORY)]
    try:
        pairs = [(sides[0].seconds(), sides[1].seconds()) for _ in range(runs + 1)]
    finally:
        for side in sides:
            side.close()
    return pairs[1:]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="checkout to compare with")
    parser.add_argument("--data", type=Path, required=True, help="data in the competition's layout")
    parser.add_argument("--bundle", type=Path, help="for both checkouts (default: the one that each ships)")
    parser.add_argument("--runs", type=int, default=7, help="of each checkout (default: %(default)s)")
    args = parser.parse_args()
    before, data = args.before.resolve(), args.data.resolve()
    bundle = args.bundle and args.bundle.resolve()
    for precision in PRECISIONS:
        pairs = compare(before, data, bundle, precision, args.runs)
        old, new = (median(seconds) for seconds in zip(*pairs, strict=True))
        ratios = [a / b for a, b in pairs]
        print(
            f"{precision}: {old:.2f} s before, {new:.2f} s now; ratio {median(ratios):.3f} in the median"
            f" ({min(ratios):.3f} to {max(ratios):.3f})",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        checkout, data, bundle = map(Path, sys.argv[2:5])
        serve(checkout, data, bundle, sys.argv[5])
    else:
        main()
