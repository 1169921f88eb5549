"""Time the kernel against the plain reference and against the machine.

    python -m tests.benchmarks                       everything, on the CPU
    python -m tests.benchmarks --part ratio --runs 1 a first look
    python -m tests.benchmarks --device cuda         the same on a GPU; ``tests.benchmarks.card`` is made for one

First use makes phantoms and trains a detector on them, kept in $LUMBAR_BENCHMARK_CACHE (default
~/.cache/lumbar-benchmarks).
"""

import argparse
import json
import logging
import os
import platform
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = REPOSITORY.parent / "shared" / "real" / "studies"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=REAL,
        help="studies in the competition's layout; the first is timed (default: the real study, where it is at hand)",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=5, help="alternating runs (default: %(default)s)")
    parser.add_argument(
        "--part",
        choices=("ratio", "scaling", "start", "memory", "agreement", "all"),
        default="all",
        help="default: %(default)s",
    )
    parser.add_argument("--json", type=Path, help="where to write all figures")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    result = measure(args.data, args.device, args.runs, args.part)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def measure(data: Path, device: str, runs: int, part: str) -> dict:
    """Measure the requested part, print each figure as it comes, and return all of them."""
    from lumbar.networks.device_choice import choose_device
    from lumbar.reading.listing import find_dataset
    from tests.benchmarks import table
    from tests.benchmarks.amp_agreement import agreement
    from tests.benchmarks.flop_floor import image_flops
    from tests.benchmarks.members import learnt_members, phantoms, random_members
    from tests.benchmarks.memory import published_ensemble
    from tests.benchmarks.scaling import grow
    from tests.benchmarks.speed_ratio import PRECISIONS, compare
    from tests.benchmarks.start import start_up

    devices = {precision: choose_device(device, precision) for precision in PRECISIONS}
    folders = {"real study": data} if data.is_dir() else {}
    folders["phantom"] = phantoms(1, seed=1, split="test")
    studies = {name: find_dataset(folder).studies[0].study_id for name, folder in folders.items()}
    name = next(iter(folders))
    result = {"machine": machine(devices), "cases": []}
    print(json.dumps(result["machine"]))
    if part in ("ratio", "all"):
        bundles = {"learnt": learnt_members(device), "random": random_members()}
        image = image_flops(bundles["random"])
        result["image_flops"] = image
        for weights, study in [*(("learnt", study) for study in folders), ("random", name)]:
            case = compare(folders[study], studies[study], bundles[weights], device, runs, image)
            result["cases"].append({"weights": weights, "study": study} | case)
            for precision in PRECISIONS:
                print("\n".join(table.case_lines(f"{study}, {weights} weights", precision, case[precision])))
        result |= {precision: result["cases"][0][precision] for precision in PRECISIONS}
    if part in ("scaling", "all"):
        result["scaling"] = grow(folders[name], studies[name], device)
        print("\n".join(table.scaling_lines(result["scaling"])))
    if part in ("start", "all"):
        result["start"] = start_up(folders["phantom"], device, runs)
        print(json.dumps(result["start"]))
    if part in ("memory", "all"):
        result["memory"] = published_ensemble(folders["phantom"], device)
        print(json.dumps(result["memory"]))
    if part in ("agreement", "all"):
        result["agreement"] = agreement(phantoms(25, seed=3, split="test"), device)
        print(json.dumps(result["agreement"]))
    return result


def machine(devices: dict) -> dict:
    import torch

    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "devices": {precision: f"{d.torch} {d.precision}: {d.reason}" for precision, d in devices.items()},
    }


if __name__ == "__main__":
    main()
