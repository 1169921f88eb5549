"""Time the kernel on a card, within a few minutes, from a bare checkout.

    python -m tests.benchmarks.card --minutes 6                on the first card
    python -m tests.benchmarks.card --wheels DIR               with the wheels of packages that the machine lacks
    python -m tests.benchmarks.card --device cpu --tiny        the whole script, rehearsed on a CPU

Weights and studies are made on the machine. Every stage is a process with a time limit of its own; full figures go to
``--work`` (default: $OUT, or a temporary folder), a short table is printed last.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path

from tests.benchmarks.card.stage import REPOSITORY, bundle_folders, run_stage, write_result
from tests.benchmarks.card.table import lines

REHEARSAL = 30  # times the seconds of each stage, on a CPU that others keep busy
SIDE_BY_SIDE = 8  # studies that share passes on a card
# Stages in order, the most important first, and the seconds that each may take.
STAGES = {
    "machine": 40,
    "studies": 40,
    "bundles": 110,
    "equality": 60,
    "run:shipped": 60,
    "run:a_x_1": 60,
    "run:ab_x_6": 75,
    "run:published": 100,
    "compile": 90,
    "train:family_a": 60,
    "train:family_b": 60,
    "first:shipped": 40,
    "first:ab_x_6": 60,
    "passes": 60,
}
COPIES = {"shipped": 60, "a_x_1": 60, "ab_x_6": 60, "published": 24}  # studies of a whole run


def main() -> int:
    args = arguments()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if args.stage:
        kind, _, what = args.stage.partition(":")
        KINDS[kind](args, what, partial(write_result, args.stage, args.work))
        return 0
    args.work.mkdir(parents=True, exist_ok=True)
    environment = {"LUMBAR_BENCHMARK_CACHE": str(args.work / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(REPOSITORY), str(REPOSITORY / "kernel"), *unpacked(args.wheels, args.work)]
    )
    ends, results = time.monotonic() + 60 * args.minutes, {}
    options = ["--device", args.device, *(["--tiny"] if args.tiny else [])]
    for name, seconds in STAGES.items():
        left = min(seconds * (REHEARSAL if args.tiny else 1), ends - time.monotonic())
        if left < 5:
            results[name] = {"status": "no time left", "stage_seconds": 0.0}
        else:
            results[name] = run_stage(name, args.work, left, options, environment)
        print(f"{name}: {results[name]['status']}, {results[name]['stage_seconds']:.1f} s", flush=True)
        if results[name]["status"] not in (0, "no time left"):
            print((args.work / f"{name}.log").read_text(errors="replace")[-1500:], flush=True)
    (args.work / "card.json").write_text(json.dumps(results, indent=1))
    print("\n".join(lines(results)))
    return int(any(result["status"] != 0 for result in results.values()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.card",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=6.0, help="for all stages (default: %(default)s)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default: %(default)s")
    parser.add_argument("--tiny", action="store_true", help="small networks and few studies, as a rehearsal")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to use besides what is installed")
    out = Path(os.environ.get("OUT") or tempfile.gettempdir()) / "card"
    parser.add_argument(
        "--work", type=Path, default=out, help="folder for all figures (default: %(default)s)"
    )
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    return parser.parse_args()


def unpacked(wheels: Path | None, work: Path) -> list[str]:
    """Unpack wheels beside the results, which installs them for this run alone; return the folder."""
    if wheels is None:
        return []
    folder = work / "site"
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return [str(folder)]


def machine(args: argparse.Namespace, _what: str, save) -> None:
    """Record versions, cores, and the two ceilings: copies and a large matrix product."""
    import torch

    from lumbar.networks.device_choice import choose_device
    from lumbar.run.summary import versions
    from tests.benchmarks.card.ceilings import ceilings
    from tests.benchmarks.flop_floor import matrix_rate

    result = {"cores": os.cpu_count(), "versions": versions(), "cudnn": torch.backends.cudnn.version()}
    for precision in ("fp32", "amp"):
        device = choose_device(args.device, precision)
        result[precision] = {"device": str(device.torch), "reason": device.reason, "type": device.precision}
        result[precision]["matrix_tflops"] = matrix_rate(device) / 1e12
    save(result | ceilings(device))


def studies(args: argparse.Namespace, _what: str, save) -> None:
    from tests.benchmarks.card.inputs import make_studies

    save(make_studies(args.work, args.tiny))


def bundles(args: argparse.Namespace, _what: str, save) -> None:
    from tests.benchmarks.card.inputs import make_bundles

    save(make_bundles(args.work, args.tiny))


def equality(args: argparse.Namespace, _what: str, save) -> None:
    """Compare the shipped bundle's results on the card with the CPU's."""
    from tests.benchmarks.card.equality import compare

    compare(args.work, REPOSITORY, args.device, 1 if args.tiny else 2, save)


def whole_run(args: argparse.Namespace, bundle: str, save) -> None:
    """Run the command on copies of the phantoms."""
    from tests.benchmarks.card.whole_run import grade_copies

    copies = 2 if args.tiny else COPIES[bundle]
    save(grade_copies(args.work, bundle_folders(args.work)[bundle], args.device, copies))


def train(args: argparse.Namespace, recipe: str, save) -> None:
    """Time training steps of a recipe's members."""
    from tests.benchmarks.card.training_steps import time_training

    time_training(args.work, "tiny" if args.tiny else recipe, args.device, save)


def first_study(args: argparse.Namespace, bundle: str, save) -> None:
    """Time the parts of a process's first studies."""
    from tests.benchmarks.card.first_study import profile_start

    count = 2 if args.tiny else SIDE_BY_SIDE
    profile_start(args.work, bundle_folders(args.work)[bundle], args.device, count, save)


def compiled(args: argparse.Namespace, _what: str, save) -> None:
    """Compare compiled classifiers of each backbone with those that run as they are."""
    from tests.benchmarks.card.compiled import compare_compiled

    compare_compiled(bundle_folders(args.work)["published"], args.device, args.work / "compiled", save)


def passes(args: argparse.Namespace, _what: str, save) -> None:
    """Time networks at the batch sizes of the kernel, and of a single image."""
    from lumbar.bundle.loading import load_bundle
    from lumbar.networks.device_choice import choose_device
    from tests.benchmarks.card.passes import time_passes

    folder = bundle_folders(args.work)
    small, large = load_bundle(folder["shipped"]), load_bundle(folder["ab_x_6"])
    networks = {f"shipped {d}": n for d, n in list(small.detectors[0].networks.items())[1:2]}
    for detector in large.detectors:
        networks |= {f"{detector.name} {d}": n for d, n in list(detector.networks.items())[1:2]}
    members = (*small.classifiers, *large.classifiers[:4])
    networks |= {member.name: member.network for member in (members[-1:] if args.tiny else members)}
    sizes = {"pointer": (128, 1), "segmenter": (32, 1), "backbone": (128, 1)}
    if args.tiny:
        sizes = dict.fromkeys(sizes, (1,))
    device = choose_device(args.device, "amp")
    time_passes(networks, sizes, device, lambda rows: save({"rows": rows}))


KINDS = {
    "machine": machine,
    "studies": studies,
    "bundles": bundles,
    "equality": equality,
    "run": whole_run,
    "train": train,
    "first": first_study,
    "passes": passes,
    "compile": compiled,
}

if __name__ == "__main__":
    sys.exit(main())
