"""Archives on Ray: poison, killed actors, and two nodes of which one is killed in the middle."""

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from archiving.archive_folder import ArchiveFolder
from archiving.merging import merge
from tests.archiving.stub_archive import grade, index_of, make_archive, ray_engine
from tests.archiving.stub_worker import SlowStub, StubWorker

pytestmark = pytest.mark.slow

ray = pytest.importorskip("ray", reason="needs Ray: pip install -r kernel/requirements-archive.txt")
REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "kernel")])
    monkeypatch.setenv("PYTHONPATH", path)
    yield
    ray.shutdown()


def grade_on_ray(archive: ArchiveFolder, maker, workers: int, tries: int = 3) -> None:
    def engine(made, workers):
        if not ray.is_initialized():
            ray.init(num_cpus=2, object_store_memory=100 * 2**20, **SETTINGS)
        return ray_engine(made, workers)

    grade(archive, maker, workers, tries, open_engine=engine)


def results(archive: ArchiveFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in merge(archive, index_of(archive), csv=True)}


def test_poison_on_ray_as_on_this_machine(tmp_path, ids):
    ids[5], ids[6], ids[30] = "poison-a", "poison-b", "gone"
    here, there = make_archive(tmp_path / "here", ids), make_archive(tmp_path / "there", ids)
    grade(here, tries=2, workers=1)
    grade_on_ray(there, StubWorker, workers=1, tries=2)
    ours, theirs = results(here), results(there)
    assert ours["sites.parquet"] == theirs["sites.parquet"]
    assert ours["points.parquet"] == theirs["points.parquet"]
    deaths = Counter(json.loads(line)["study_id"] for line in there.deaths.read_text().splitlines())
    assert deaths == {"poison-a": 2, "poison-b": 2}


@pytest.mark.long
def test_one_of_two_nodes_is_killed(tmp_path):
    from ray.cluster_utils import Cluster

    ids = [f"study-{number:04d}" for number in range(1500)]
    here, there = make_archive(tmp_path / "here", ids), make_archive(tmp_path / "there", ids)
    grade(here)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)
    ended, killed = threading.Event(), []

    def kill_node() -> None:
        while not ended.wait(0.2):
            if len(list((there.path / "studies").glob("*.parquet"))) >= 1:
                cluster.remove_node(node, allow_graceful=False)
                killed.append(node)
                return

    killer = threading.Thread(target=kill_node)
    try:
        ray.init(address=cluster.address)
        killer.start()
        grade_on_ray(there, SlowStub, workers=2)
    finally:
        ended.set()
        killer.join()
        ray.shutdown()
        cluster.shutdown()
    assert killed == [node]
    assert results(there) == results(here)


def test_killed_actors(tmp_path, monkeypatch):
    ids = [f"study-{number:03d}" for number in range(300)]
    here, there = make_archive(tmp_path / "here", ids), make_archive(tmp_path / "there", ids)
    grade(here)
    killed: list[int] = []

    def kill_once(text, *values):
        if "is ready" in text and len(killed) < 1:
            killed.append(int(values[1].rsplit(" ", 1)[1]))
            threading.Thread(target=kill_later, args=(killed[-1],)).start()

    def kill_later(pid: int) -> None:
        time.sleep(1.0)
        os.kill(pid, signal.SIGKILL)

    monkeypatch.setattr("archiving.driver.logger.info", kill_once)
    grade_on_ray(there, SlowStub, workers=1)
    assert killed
    assert results(there) == results(here)
