"""Seconds from the command to the first study's computing."""

from pathlib import Path
from statistics import median

from tests.benchmarks.scaling import REPOSITORY, run_command


def start_up(root: Path, device: str, runs: int) -> dict:
    """Return seconds from the command to the first study's computing, with the bundle of this checkout."""
    seconds = [run_command(root, REPOSITORY, device)["seconds"]["start"] for _ in range(runs)]
    return {"start_s": median(seconds), "spread": [min(seconds), max(seconds)]}
