"""The commands for a Ray cluster in kernel/README.md: its file for ``ray up``, and a cluster of two nodes."""

import copy
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import archive
from tests.making.orthanc import free_port
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import write_tiny_bundle
from tests.test_readme import KERNEL_README, blocks_of

pytest.importorskip("ray", reason="needs Ray: pip install -r kernel/requirements-archive.txt")
SECONDS = 300  # for a busy machine: seconds at most, of each step


def test_the_file_for_ray_up_is_valid():
    """Ray's own check, after the defaults that ``ray up`` adds."""
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("jsonschema")
    from ray.autoscaler._private.util import prepare_config, validate_config

    (block,) = blocks_of(KERNEL_README, "yaml")
    config = yaml.safe_load(block)
    validate_config(prepare_config(copy.deepcopy(config)))
    with pytest.raises(ValueError, match="head_node_type"):
        validate_config(prepare_config({**copy.deepcopy(config), "head_node_type": "other"}))
    kinds = config["available_node_types"]
    assert sum(kind.get("min_workers", 0) for kind in kinds.values()) <= config["max_workers"]


@pytest.mark.long
@pytest.mark.timeout(4 * SECONDS)
def test_a_cluster_of_two_nodes(tmp_path, monkeypatch):
    """``ray get-auth-token``, ``ray start --head``, ``ray start --address``, and ``grade --address auto``."""
    data, bundle = write_studies(tmp_path / "data"), write_tiny_bundle(tmp_path / "bundle")
    index = ["index", "--data", str(data), "--out", str(tmp_path / "archive"), "--workers", "1"]
    assert archive.main(index) == 0
    address = f"127.0.0.1:{free_port()}"
    variables = {"HOME": str(tmp_path), "RAY_ADDRESS": address, "RAY_USAGE_STATS_ENABLED": "0"}
    variables |= {"RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    token = subprocess.run([*ray, "get-auth-token", "--generate"], capture_output=True, text=True, check=True)
    place = tempfile.mkdtemp(prefix="ray-")  # the names of sockets below it may have 107 bytes
    node = ["--num-cpus", "1", "--object-store-memory", "100000000", "--block"]
    head = ["--head", "--port", address.rpartition(":")[2], "--include-dashboard", "false"]
    head += ["--node-ip-address", "127.0.0.1", "--temp-dir", place]
    nodes = [subprocess.Popen([*ray, "start", *head, *node])]
    try:
        wait_for_nodes(ray, address, 1)
        nodes.append(subprocess.Popen([*ray, "start", "--address", address, *node]))
        wait_for_nodes(ray, address, 2)
        script = str(Path(archive.__file__))
        grade = [sys.executable, script, "grade", str(tmp_path / "archive"), "--bundle", str(bundle)]
        grade += ["--engine", "ray", "--address", "auto", "--gpus-per-worker", "0", "--readers", "1"]
        graded = subprocess.run([*grade, "--chunk", "1"], capture_output=True, text=True, timeout=SECONDS)
    finally:
        for process in reversed(nodes):
            process.terminate()
        for process in reversed(nodes):
            process.wait(SECONDS)
        shutil.rmtree(place, ignore_errors=True)
    assert graded.returncode == 0, graded.stderr
    assert "3 of 3 studies done (100.0%), 0 of them" in graded.stdout
    assert graded.stderr.count("is ready") == 2  # a worker of each node
    assert (tmp_path / ".ray/auth_token").read_text() == token.stdout.strip()


def wait_for_nodes(ray: list[str], address: str, count: int) -> None:
    """Wait until a cluster has so many nodes."""
    code = f"import ray; ray.init({address!r}, logging_level='ERROR'); print(len(ray.nodes()))"
    end = time.monotonic() + SECONDS
    while True:
        asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
        if asked.stdout.strip().endswith(str(count)):
            return
        assert time.monotonic() < end, asked.stderr
        time.sleep(1)
