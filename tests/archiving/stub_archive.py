"""An archive of studies that exist in its index alone, graded by stub workers.

    python -m tests.archiving.stub_archive ARCHIVE [--kill-at-write N] [--slower]

grades it in a process of its own, which kills itself before its N-th write of a part's file.
"""

import argparse
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from archiving import parts
from archiving.archive_folder import ArchiveFolder
from archiving.driver import DriverSettings
from archiving.engine_local import LocalEngine
from archiving.grading_run import grade_pending
from archiving.index_writing import write_index
from archiving.study_index import StudyIndex
from archiving.worker import WorkerSettings
from lumbar.reading.references import StudyRef
from tests.archiving.stub_worker import BUNDLE, PRIOR, SlowerStub, SlowStub, StubWorker

CHUNK = 4


class FakeSource:
    """Studies by their ids, ten per task."""

    def __init__(self, ids: Sequence[str], url: str = "fake"):
        self.ids = ids
        self.url = url

    def tasks(self):
        return iter(map(str, range(0, len(self.ids), 10)))

    def references(self, task: str):
        for study_id in self.ids[int(task) : int(task) + 10]:
            yield StudyRef(study_id, location=f"fake/{study_id}", files=1, bytes=1000)


def make_archive(path: Path, ids: Sequence[str]) -> ArchiveFolder:
    archive = ArchiveFolder(path)
    write_index(FakeSource(ids), archive.index, workers=1)
    return archive


def settings(maker=StubWorker, precision: str = "fp32") -> WorkerSettings:
    return WorkerSettings(Path("none"), precision, readers=1, maker=maker)


def grade(
    archive: ArchiveFolder,
    maker=StubWorker,
    workers: int = 2,
    tries: int = 3,
    seconds: float = 60.0,
    precision: str = "fp32",
    bundle: str = BUNDLE,
    chunk: int = CHUNK,
    open_engine=None,
) -> None:
    """Grade with stub workers on this machine, or by another engine, which takes the settings and their number."""

    def engine():
        made = settings(maker, precision)
        return open_engine(made, workers) if open_engine else LocalEngine(["cpu"] * workers, made)

    grade_pending(archive, bundle, PRIOR, DriverSettings(chunk, tries, seconds), engine)


def ray_engine(made: WorkerSettings, workers: int):
    """Return Ray actors on this machine, or in the cluster that this process is connected to."""
    from archiving.engine_ray import RayEngine, RayResources

    return RayEngine(made, RayResources(None, 0, workers), "cpu")


def index_of(archive: ArchiveFolder) -> StudyIndex:
    return StudyIndex(archive.index)


def kill_at_write(number: int) -> None:
    """Let this process kill itself when a part's file is to be written the ``number``-th time."""
    write, count = parts.write_table, 0

    def counted(*arguments):
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*arguments)

    parts.write_table = counted


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("archive", type=Path)
    parser.add_argument("--kill-at-write", type=int, default=0)
    parser.add_argument("--slower", action="store_true")
    arguments = parser.parse_args()
    parts.PART_STUDIES = 16
    kill_at_write(arguments.kill_at_write)
    grade(ArchiveFolder(arguments.archive), SlowerStub if arguments.slower else SlowStub)
