"""The cost of archives per study: ``archive.py grade``, by both engines, against ``infer.py`` on the same studies.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.archive_overhead --studies 100 --runs 5 --out FOLDER

Small studies and tiny networks, so that the overhead is a large part; fp32 on the CPU, one worker with one reader.
Every round runs all three, each second round in the opposite order. Time per study counts from the first graded study
to the last write, so that starts are apart. Overheads are differences within a round.
"""

import argparse
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest.mock import patch

import archive
import infer
from archiving.parts import PartWriter
from lumbar.run.run_state import Run
from tests.benchmarks.object_store import watched_store
from tests.benchmarks.scaling import repeat_study
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import write_tiny_bundle

INFER, LOCAL, RAY = "infer.py", "archive.py, local", "archive.py, Ray"
ENGINES = {LOCAL: ["--device", "cpu"], RAY: ["--engine", "ray", "--gpus-per-worker", "0"]}
STUDY = "1"  # of ``write_studies``: it has all series


@dataclass
class Stopwatch:
    """When a run began, graded its first study, and ended its last write, in seconds of the monotonic clock."""

    begun: float
    first: float = 0.0
    last: float = 0.0

    def start_seconds(self) -> float:
        return self.first - self.begun

    def seconds_per_study(self, studies: int) -> float:
        return (self.last - self.first) / (studies - 1)


@contextmanager
def watched(grader: type, take: str, write: str) -> Iterator[Stopwatch]:
    """Time the methods of a class that take a study's result and write all results."""
    stopwatch = Stopwatch(time.monotonic())
    taken, written = getattr(grader, take), getattr(grader, write)

    def timed_take(self, *arguments):
        stopwatch.first = stopwatch.first or time.monotonic()
        return taken(self, *arguments)

    def timed_write(self, *arguments):
        try:
            return written(self, *arguments)
        finally:
            stopwatch.last = time.monotonic()

    with patch.object(grader, take, timed_take), patch.object(grader, write, timed_write):
        yield stopwatch


def run_infer(data: Path, bundle: Path, out: Path) -> Stopwatch:
    flags = ["--data", data, "--bundle", bundle, "--out", out / "submission.csv", "--devices", "cpu"]
    with watched(Run, "add", "finish") as stopwatch:
        assert infer.main([*map(str, flags), "--workers", "1", "--precision", "fp32"]) == 0
    return stopwatch


def run_archive(bundle: Path, out: Path, engine: str) -> Stopwatch:
    flags = ["--bundle", str(bundle), "--readers", "1", "--workers", "1", "--precision", "fp32"]
    with watched(PartWriter, "add", "flush") as stopwatch:
        assert archive.main(["grade", str(out), *flags, *ENGINES[engine]]) == 0
    return stopwatch


def text(name: str, seconds: list[float]) -> str:
    """Return the median of seconds and their spread, as milliseconds."""
    milliseconds = [1000 * one for one in seconds]
    low, high = min(milliseconds), max(milliseconds)
    return f"{name}: {median(milliseconds):.1f} ms ({low:.1f} to {high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    studies, place = arguments.studies, arguments.out / "run"
    data = repeat_study(write_studies(arguments.out / "small"), STUDY, studies, arguments.out / "data")
    bundle = write_tiny_bundle(arguments.out / "bundle")
    runs: dict[str, list[Stopwatch]] = {INFER: [], LOCAL: [], RAY: []}
    store = 0
    for number in range(arguments.runs + 1):  # the first one warms up
        for engine in reversed(runs) if number % 2 else runs:
            if engine == INFER:
                stopwatch = run_infer(data, bundle, place)
            else:
                index = ["index", "--data", str(data), "--out", str(place), "--workers", "1"]
                assert archive.main(index) == 0
                with watched_store(engine == RAY) as peak:
                    stopwatch = run_archive(bundle, place, engine)
                store = max(store, peak.bytes)
            shutil.rmtree(place)
            if number:
                runs[engine].append(stopwatch)
    seconds = {name: [one.seconds_per_study(studies) for one in runs[name]] for name in runs}
    for name, stopwatches in runs.items():
        print(text(f"{name}, per study", seconds[name]))
        print(text(f"{name}, until the first study", [one.start_seconds() for one in stopwatches]))
    for name in ENGINES:
        differences = [a - b for a, b in zip(seconds[name], seconds[INFER], strict=True)]
        print(text(f"{name}, overhead per study", differences))
    print(f"Ray's object store: at most {store / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
