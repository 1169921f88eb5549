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
from pathlib import Path

from tests.benchmarks.card.stage import REPOSITORY, bundle_folders, run_stage, write_result

REHEARSAL = 8  # times the seconds of each stage, on a busy CPU
STUDIES = 16  # distinct phantoms
COPIES = 60  # studies of a whole run


def main() -> None:
    args = arguments()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if args.stage:
        stages(args)[args.stage.partition(":")[0]](args)
        return
    args.work.mkdir(parents=True, exist_ok=True)
    environment = {"LUMBAR_BENCHMARK_CACHE": str(args.work / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(REPOSITORY), str(REPOSITORY / "kernel"), *unpacked(args.wheels, args.work)]
    )
    ends, results = time.monotonic() + 60 * args.minutes, {}
    options = ["--device", args.device, *(["--tiny"] if args.tiny else [])]
    for name, seconds, more in plan(args):
        left = min(seconds * (REHEARSAL if args.tiny else 1), ends - time.monotonic())
        if left < 5:
            results[name] = {"status": "no time left", "stage_seconds": 0.0}
        else:
            results[name] = run_stage(name, args.work, left, options, environment | more)
        print(f"{name}: {results[name]['status']}, {results[name]['stage_seconds']:.1f} s", flush=True)
        if results[name]["status"] not in (0, "no time left"):
            print((args.work / f"{name}.log").read_text(errors="replace")[-1500:], flush=True)
    (args.work / "card.json").write_text(json.dumps(results, indent=1))
    print("\n".join(lines(results)))


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


def plan(args: argparse.Namespace) -> list[tuple[str, float, dict]]:
    """Return the stages in order: name, seconds at most, environment besides."""
    many = "ab_x_6" if not args.tiny else "tiny"
    return [
        ("machine", 40, {}),
        ("studies", 60, {}),
        ("bundles", 90, {}),
        ("first:shipped", 60, {}),
        ("first:shipped:profiler", 60, {}),
        ("first:shipped:layers", 60, {}),
        ("first:shipped:fp32", 45, {}),
        ("first:shipped:eager", 45, {"CUDA_MODULE_LOADING": "EAGER"}),
        ("first:shipped:benchmark", 45, {}),
        (f"first:{many}", 60, {}),
        ("run:shipped", 90, {}),
        ("passes", 100, {}),
    ]


def stages(args: argparse.Namespace) -> dict:
    """Return the stages by the first part of their names."""
    return {
        "machine": machine,
        "studies": studies,
        "bundles": bundles,
        "first": first_study,
        "passes": passes,
        "run": whole_run,
    }


def machine(args: argparse.Namespace) -> None:
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
    write_result(args.stage, args.work, result | ceilings(device))


def studies(args: argparse.Namespace) -> None:
    from tests.benchmarks.card.inputs import make_studies

    write_result(args.stage, args.work, make_studies(args.work, 2 if args.tiny else STUDIES))


def bundles(args: argparse.Namespace) -> None:
    from tests.benchmarks.card.inputs import make_bundles

    write_result(args.stage, args.work, make_bundles(args.work, args.tiny))


def first_study(args: argparse.Namespace) -> None:
    """Profile the first studies of a process: ``first:BUNDLE[:fp32|layers|benchmark|profiler]``."""
    from tests.benchmarks.card.first_study import profile_start

    _, name, *how = args.stage.split(":")
    options = dict.fromkeys(how, True) | {"device": args.device, "studies": 2 if args.tiny else 4}
    options["precision"] = "fp32" if "fp32" in how else "amp"
    folder = bundle_folders(args.work, args.tiny)[name]
    profile_start(args.work, folder, options, lambda found: write_result(args.stage, args.work, found))


def passes(args: argparse.Namespace) -> None:
    """Time every network at several batch sizes."""
    from lumbar.bundle.loading import load_bundle
    from lumbar.networks.device_choice import choose_device
    from tests.benchmarks.card.passes import time_passes

    folder = bundle_folders(args.work, args.tiny)
    small, large = load_bundle(folder["shipped"]), load_bundle(folder["tiny" if args.tiny else "ab_x_6"])
    networks = {f"shipped {d}": n for d, n in list(small.detectors[0].networks.items())[1:2]}
    networks |= {f"large {d}": n for d, n in list(large.detectors[0].networks.items())[1:2]}
    networks |= {f"{m.name}": m.network for m in (*small.classifiers, *large.classifiers[:4])}
    if not args.tiny:
        networks |= {f"b5 {d}": n for d, n in list(large.detectors[1].networks.items())[1:2]}
    sizes = {"pointer": (1, 32, 128, 256), "segmenter": (1, 8, 32, 128), "backbone": (125, 256, 1000)}
    if args.tiny:
        sizes = {part: few[:1] for part, few in sizes.items()}
    device = choose_device(args.device, "amp")
    time_passes(networks, sizes, device, lambda rows: write_result(args.stage, args.work, {"rows": rows}))


def whole_run(args: argparse.Namespace) -> None:
    """Run the command on copies of the phantoms: ``run:BUNDLE``."""
    from tests.benchmarks.card.whole_run import grade_copies

    folder = bundle_folders(args.work, args.tiny)[args.stage.split(":")[1]]
    copies = 4 if args.tiny else COPIES
    write_result(args.stage, args.work, grade_copies(args.work, folder, args.device, copies))


def lines(results: dict[str, dict]) -> list[str]:
    """Return the short table."""
    told = [f"machine: {json.dumps({k: v for k, v in results['machine'].items() if k != 'versions'})}"]
    for name, found in results.items():
        if name.startswith("first") and "studies" in found:
            start = ", ".join(f"{part} {seconds:.1f}" for part, seconds in found["start"].items())
            told.append(f"{name}: {start}")
            told += [
                "  study: " + ", ".join(f"{stage} {seconds:.3f}" for stage, seconds in study.items())
                for study in found["studies"]
            ]
            told += [
                f"  {row['kind']:42} {row['layers']:4} layers {row['shapes']:4} shapes, first {row['first_s']:7.3f} s,"
                f" later {1e3 * row['later_mean_s']:7.3f} ms"
                for row in found["layers"][:12]
            ]
        if name.startswith("run") and "seconds" in found:
            told.append(
                f"{name}: {found['seconds_a_study']:.3f} s per study, {found['after_start_s_a_study']:.3f} after the"
                f" start of {found['run_seconds'].get('start', 0):.1f} s, card busy {found['busy_percent']} %"
            )
    for row in results.get("passes", {}).get("rows", []):
        if "error" in row:
            told.append(
                f"{row['network'][:22]:22} {row['part']:9} {row['way']:8} {row['batch']:4} {row['error']}"
            )
            continue
        told.append(
            f"{row['network'][:22]:22} {row['part']:9} {row['way']:8} {row['batch']:4} first {row['first_s']:6.2f} s,"
            f" pass {row['pass_ms']:8.2f} ms, Python {row['python_ms']:7.2f} ms, image {row['image_us']:8.1f} us,"
            f" {row['operators']:4} operators"
        )
    return told


if __name__ == "__main__":
    sys.exit(main())
