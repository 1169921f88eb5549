"""Seconds until a command answers: ``--help``, a reader process, the first study.

python -m tests.benchmarks --part start
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.benchmarks.scaling import REPOSITORY, run_command

ENTRIES = ("kernel/infer.py", "kernel/train.py", "kernel/evaluate.py", "build_dataset.py")
# The imports of a reader process: "spawn" runs the main script under this name.
READER = """
import runpy
runpy.run_path("kernel/infer.py", run_name="__mp_main__")
import lumbar.run.read_ahead
"""
POLL = 0.05  # seconds


def start_up(root: Path, device: str, runs: int) -> dict:
    """Return median, lowest and highest seconds of each start, with the bundle of this checkout.

    Args:
        root: A data set.
        device: ``cpu`` or ``cuda``.
        runs: Of each command.
    """
    env = os.environ | {"PYTHONPATH": str(REPOSITORY / "kernel")}
    starts: dict[str, Callable[[], float]] = {
        **{f"{entry} --help": lambda entry=entry: seconds_of([entry, "--help"], env) for entry in ENTRIES},
        "a reader process": lambda: seconds_of(["-c", READER], env),
        "from the command to the first study's computing": lambda: study_start(root, device),
        "from --demo to the first study's grades, its phantoms made": lambda: demo_seconds(device),
    }
    result = {"load": os.getloadavg()}
    for name, start in starts.items():
        seconds = [start() for _ in range(runs)]
        result[name] = {"s": median(seconds), "spread": [min(seconds), max(seconds)]}
    return result


def seconds_of(arguments: list[str], env: dict[str, str]) -> float:
    """Return the seconds that Python takes for arguments, in the checkout."""
    start = time.monotonic()
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, env=env, check=True, capture_output=True)
    return time.monotonic() - start


def study_start(root: Path, device: str) -> float:
    """Return the seconds from the command to the first study's computing, as ``run.json`` has them."""
    return run_command(root, REPOSITORY, device)["seconds"]["start"]


def demo_seconds(device: str) -> float:
    """Return the seconds from the command ``--demo``, in an empty folder, until the journal has a study."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        command = [sys.executable, str(REPOSITORY / "kernel/infer.py"), "--demo", "--device", device]
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as demo:
            try:
                while demo.poll() is None:
                    if any(
                        file.read_bytes().count(b"\n") > 1 for file in Path(folder, "demo").glob("*.journal")
                    ):
                        return time.monotonic() - start
                    time.sleep(POLL)
            finally:
                demo.kill()
    raise RuntimeError(f"{' '.join(command)}: status {demo.returncode}, expected a study in its journal")
