"""One stage of the script: a process of its own with a time limit, its result in a file, its text in a log."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def run_stage(
    name: str, work: Path, seconds: float, options: list[str], environment: dict | None = None
) -> dict:
    """Run a stage; return its result with what became of it.

    Args:
        name: Of the stage, and of its files ``NAME.json`` and ``NAME.log``.
        work: Folder of the files.
        seconds: After that many the stage and its children are killed. Files that were written until then count.
        options: Arguments of ``python -m tests.benchmarks.card``.
        environment: Further variables to set.
    """
    started, log = time.monotonic(), work / f"{name}.log"
    command = [sys.executable, "-m", "tests.benchmarks.card", "--stage", name, "--work", str(work), *options]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            cwd=REPOSITORY,
            env=os.environ | (environment or {}),
            start_new_session=True,
        )
        try:
            status: int | str = process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            status = "time limit"
        finally:
            kill_session(process)
    result = work / f"{name}.json"
    found = json.loads(result.read_text()) if result.is_file() else {}
    return found | {"status": status, "stage_seconds": time.monotonic() - started}


def kill_session(process: subprocess.Popen) -> None:
    """Kill a stage with everything that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def write_result(name: str, work: Path, result: dict) -> None:
    """Write the figures so far; a stage may be killed at any moment."""
    beside = work / f".{name}.part"
    beside.write_text(json.dumps(result, indent=1))
    beside.replace(work / f"{name}.json")


def bundle_folders(work: Path) -> dict[str, Path]:
    """Return the folder of each bundle by name; ``make_bundles`` fills those that the checkout does not ship."""
    names = ("a_x_1", "ab_x_6", "published")
    return {"shipped": REPOSITORY} | {name: work / "bundles" / name for name in names}
