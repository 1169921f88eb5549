"""The driver of archives with 10^6 studies that exist in the index alone, graded by stub workers.

    python -m tests.benchmarks.archive_scale --studies 1000000 --out FOLDER
    python -m tests.benchmarks.archive_scale --studies 20000 --engine ray --out FOLDER

Prints the seconds of the index, studies per second, the driver's own CPU time and peak memory, and bytes per study.
Then it prints the seconds until a resumed driver gives out its first study, and those of merging; of Ray also the
most bytes of its object store.
"""

import argparse
import logging
import resource
import time
from pathlib import Path

from archiving.merging import merge
from archiving.parts import committed_numbers
from archiving.progress import read_progress
from tests.archiving.stub_archive import grade, index_of, make_archive, ray_engine
from tests.archiving.stub_worker import StubWorker
from tests.benchmarks.object_store import watched_store


class Numbered:
    """The ids of so many studies, without a list of them."""

    def __init__(self, studies: int):
        self.studies = studies

    def __len__(self) -> int:
        return self.studies

    def __getitem__(self, places: slice) -> list[str]:
        return [f"1.2.826.0.1.3680043.8.498.{n:039d}" for n in range(*places.indices(self.studies))]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    started = time.monotonic()
    archive = make_archive(arguments.out, Numbered(arguments.studies))
    print(f"index: {time.monotonic() - started:.0f} s, peak {peak_mb():.0f} MB", flush=True)
    left = int((~index_of(archive).done(committed_numbers(archive))).sum())  # all, unless a run was stopped
    started, computed = time.monotonic(), time.process_time()
    on_ray = arguments.engine == "ray"
    with watched_store(on_ray) as store:
        engine = ray_engine if on_ray else None
        grade(archive, StubWorker, arguments.workers, chunk=64, open_engine=engine)
    seconds, computed = time.monotonic() - started, time.process_time() - computed
    print(f"grade: {left} studies in {seconds:.0f} s, {left / seconds:.0f} studies per second", flush=True)
    own = 1000 * computed / max(1, left)
    print(f"driver: {own:.2f} ms of CPU time per study, peak {peak_mb():.0f} MB", flush=True)
    if on_ray:
        used = f"at most {store.bytes / 2**20:.1f} MiB in {store.looks} looks"
        print(f"object store: {used}", flush=True)
    started = time.monotonic()
    index = index_of(archive)
    done = index.done(committed_numbers(archive))
    done[-1] = False  # as if the last one were left
    assert next(index.pending(done)).number == arguments.studies - 1
    print(f"resume: {time.monotonic() - started:.1f} s", flush=True)
    assert read_progress(archive, index).done == arguments.studies
    size = sum(path.stat().st_size for path in archive.path.rglob("*.parquet"))
    print(f"parts and index: {size / arguments.studies:.0f} bytes per study", flush=True)
    started = time.monotonic()
    merge(archive, index)
    print(f"merge: {time.monotonic() - started:.0f} s, peak {peak_mb():.0f} MB", flush=True)


if __name__ == "__main__":
    main()
