"""The cost of float16 weight files: points and probabilities against the same networks in float32 files.

    python -m tests.benchmarks.half_weights --json FILE

shipped       the networks of this checkout. Their files are float16, so every weight is drawn anew among the float32
              numbers that round to it. The float16 files are then those of the checkout. 25 phantoms.
random        untrained networks of full size: family A's detector with a convnext_tiny, family B's (its axial pointer
              is a transformer) with a convnext_small. Their peaks lead by little, so points move that a trained
              network would keep. Four phantoms.

Both bundles of a pair go through ``kernel/infer.py`` in float32. Ten minutes on two cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from lumbar.bundle.loading import load_bundle
from lumbar.bundle.members import Bundle
from lumbar.bundle.writing import write_bundle
from lumbar.networks.architecture import DetectorConfig
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SEVERITIES
from tests.benchmarks.members import phantoms
from tests.benchmarks.scaling import REPOSITORY
from tests.making.random_bundle import (
    FAMILY_A,
    FAMILY_B,
    FAMILY_B_AXIAL,
    LENGTHS,
    random_classifier,
    random_detector,
    random_network,
)

NEAR = 1  # pixels of the detector grid, on the same slice
ULP = 2.0**-11  # half a unit of float16's last place, relative to the power of two below a number
SMALLEST = 2.0**-25  # half of float16's smallest number


def main(arguments: list[str] | None = None) -> dict:
    """Measure both pairs of bundles, print the figures and return them."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.half_weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--studies", type=int, default=25, help="phantoms for the shipped networks (default: %(default)s)"
    )
    parser.add_argument(
        "--random-studies", type=int, default=4, help="and for random ones (default: %(default)s)"
    )
    parser.add_argument("--only", choices=ENSEMBLES, help="one of the two")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    counts = {"shipped": options.studies, "random": options.random_studies}
    result = {
        name: measure(make(), phantoms(counts[name], seed=3, split="test"))
        for name, make in ENSEMBLES.items()
        if options.only in (None, name)
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return result


def shipped() -> Bundle:
    """Return the checkout's bundle with float32 weights that round to its float16 ones."""
    return load_bundle(REPOSITORY, prepare=unrounded)


@torch.no_grad()
def unrounded(network: nn.Module) -> nn.Module:
    """Draw every weight among the float32 numbers that round to it, uniformly; batch norms' counts stay."""
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            power = torch.exp2(torch.floor(torch.log2(tensor.abs().clamp(min=2.0**-14))))
            half_step = (power * ULP).clamp(min=SMALLEST)
            drawn = tensor + (torch.rand_like(tensor) * 2 - 1) * half_step * 0.98
            tensor.copy_(torch.where(drawn.half() == tensor.half(), drawn, tensor))
    return network


def random_ensemble() -> Bundle:
    """Return untrained networks of full size: a detector and a classifier of each family."""
    of_a = random_detector("family_a", "fixed", LENGTHS["family_a"], FAMILY_A)
    of_b = random_detector("family_b", "dynamic", {}, FAMILY_B)
    for description in DESCRIPTIONS:
        parts = FAMILY_B_AXIAL if description == AXIAL_T2 else FAMILY_B
        length = LENGTHS["family_b"][description]
        of_b.networks[description] = random_network(
            DetectorConfig(description=description, max_length=length, **parts)
        )
    classifiers = (
        random_classifier("tiny", "convnext_tiny", "level", "stretch"),
        random_classifier("small", "convnext_small", "level_skip", "shift"),
    )
    return Bundle("random", "nothing", (of_a, of_b), classifiers, np.full((25, 3), 1 / 3), "")


def measure(bundle: Bundle, studies: Path) -> dict:
    """Return how a bundle in float16 files differs from itself in float32 files, and the size of the files."""
    with tempfile.TemporaryDirectory() as scratch:
        runs = {}
        for name, half in (("float32", False), ("float16", True)):
            folder = Path(scratch) / name
            write_bundle(bundle, folder / "bundle", half=half)
            runs[name] = run_kernel(folder, studies)
        differences = compare(*(Path(scratch) / name / "dump" for name in runs))
    result = differences | runs
    print(json.dumps(result, indent=1))
    return result


def run_kernel(folder: Path, studies: Path) -> dict:
    """Grade the studies in float32, with tables under ``folder/dump``; return bytes, seconds to start and memory."""
    command = [
        sys.executable,
        REPOSITORY / "kernel/infer.py",
        "--data",
        studies,
        "--bundle",
        folder / "bundle",
    ]
    command += ["--out", folder / "submission.csv", "--dump", folder / "dump", "--precision", "fp32"]
    subprocess.run(list(map(str, [*command, "--device", "cpu"])), check=True)
    run = json.loads((folder / "dump/run.json").read_text())
    weights = sum(file.stat().st_size for file in (folder / "bundle/weights").iterdir())
    return {
        "weights_mb": weights / 1e6,
        "start_s": run["seconds"]["start"],
        "peak_memory_mb": run["peak_memory_mb"]["process"],
    }


def compare(first: Path, second: Path) -> dict:
    """Compare the tables of two runs: the middle points, and the probabilities of every member and site."""
    points = joined(first, second, "points.csv", ["study_id", "detector", "site", "offset"])
    points = points[points["offset"] == 0]
    apart = np.stack(
        [(points[f"{axis}_x"] - points[f"{axis}_y"]).abs() for axis in ("slice", "row", "column")]
    )
    points["moved"] = apart.any(axis=0)
    points["near"] = (apart[0] == 0) & (apart[1:] <= NEAR).all(axis=0)
    members = joined(first, second, "members.csv", ["study_id", "detector", "classifier", "site"])
    members["difference"] = np.max(
        [(members[f"{s}_x"] - members[f"{s}_y"]).abs() for s in SEVERITIES], axis=0
    )
    moved = points.groupby(["study_id", "detector"])["moved"].any().rename("any_moved").reset_index()
    still = members.merge(moved, on=["study_id", "detector"])
    still = still[~still["any_moved"]]["difference"]
    return {
        "points": len(points),
        "points_moved": int(points["moved"].sum()),
        "points_beyond_1_px": int((~points["near"]).sum()),
        "probability_difference": {
            "median": float(members["difference"].median()),
            "99_percent": float(members["difference"].quantile(0.99)),
            "largest": float(members["difference"].max()),
            "largest_where_no_point_moved": float(still.max()) if len(still) else None,
        },
    }


def joined(first: Path, second: Path, name: str, keys: list[str]) -> pd.DataFrame:
    """Return the rows of two runs' tables side by side; columns of the first end in ``_x``, of the second in ``_y``."""
    tables = [pd.read_csv(folder / name, dtype={"study_id": str}) for folder in (first, second)]
    return tables[0].merge(tables[1], on=keys, validate="one_to_one")


ENSEMBLES = {"shipped": shipped, "random": random_ensemble}

if __name__ == "__main__":
    main()
