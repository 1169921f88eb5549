"""SIGKILL of workers and of the driver, also between the three files of a part: the merged tables stay the same."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from archiving.archive_folder import ArchiveFolder
from archiving.merging import merge
from archiving.verifying import problems
from tests.archiving.stub_archive import grade, index_of, make_archive
from tests.archiving.stub_worker import SlowerStub, SlowStub

REPOSITORY = Path(__file__).resolve().parents[2]
IDS = [f"study-{number:04d}" for number in range(600)]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> dict[str, bytes]:
    archive = make_archive(tmp_path_factory.mktemp("unbroken"), IDS)
    grade(archive)
    return merged(archive)


def merged(archive: ArchiveFolder) -> dict[str, bytes]:
    assert list(problems(archive, index_of(archive))) == []
    return {path.name: path.read_bytes() for path in merge(archive, index_of(archive), csv=True)}


def run_driver(archive: ArchiveFolder, *flags: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.archiving.stub_archive", str(archive.path), *flags]
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "kernel")])
    return subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": path})


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_a_driver_killed_between_the_files_of_a_part(tmp_path, unbroken, kills):
    archive = make_archive(tmp_path / "a", IDS)
    for kill in range(kills):
        write = 1 + kill % 6  # 3 n + 1: no file of the part is there, + 2: its sites, + 3: its points too
        assert run_driver(archive, "--kill-at-write", str(write)).wait() == -signal.SIGKILL
    assert run_driver(archive).wait() == 0
    assert merged(archive) == unbroken


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "flags"), [(2, []), pytest.param(20, ["--slower"], marks=pytest.mark.long)]
)
def test_a_driver_killed_at_random_moments(tmp_path, unbroken, kills, flags):
    archive, chance = make_archive(tmp_path / "a", IDS), random.Random(5)
    for _ in range(kills):
        driver = run_driver(archive, *flags)
        time.sleep(chance.uniform(1.0, 3.0))
        assert driver.poll() is None
        driver.kill()
        driver.wait()
    assert run_driver(archive).wait() == 0
    assert merged(archive) == unbroken


@pytest.mark.parametrize(
    ("kills", "stub"), [(3, SlowStub), pytest.param(20, SlowerStub, marks=pytest.mark.long)]
)
def test_random_workers_are_killed(tmp_path, unbroken, kills, stub, monkeypatch):
    archive, chance, hit = make_archive(tmp_path / "a", IDS), random.Random(6), 0
    ended = threading.Event()

    def kill_workers() -> None:
        nonlocal hit
        while hit < kills and not ended.wait(0.4):
            if workers := ready_workers():
                os.kill(chance.choice(workers), signal.SIGKILL)
                hit += 1

    started: list[int] = []
    keep = "archiving.driver.logger.info"
    monkeypatch.setattr(keep, lambda text, *values: "ready" in text and started.append(pid_of(values[1])))

    def ready_workers() -> list[int]:
        return [pid for pid in started if Path(f"/proc/{pid}/stat").is_file() and state(pid) != "Z"]

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        grade(archive, stub, tries=kills + 1)
    finally:
        ended.set()
        killer.join()
    assert hit == kills
    assert merged(archive) == unbroken


def pid_of(host: str) -> int:
    return int(host.rsplit(" ", 1)[1])


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
