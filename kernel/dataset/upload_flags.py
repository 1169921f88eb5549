"""The flags of ``build_dataset.py calibrate``, ``build`` and ``verify``; no library is imported."""

import argparse
from pathlib import Path

from dataset.metadata import LICENCE, UNTOLD_LICENCE

SUBTITLE = "Detectors and classifiers of lumbar spine MR, with the kernel that runs them"


def add_calibrate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``calibrate``."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder with weights_manifest.json")
    add = parser.add_argument
    add(
        "--with",
        dest="fit",
        type=Path,
        required=True,
        metavar="FIT.json",
        help="the file of evaluate.py --json",
    )
    add(
        "--fitted-on", required=True, metavar="TEXT", help="the studies of the fit in words, for the manifest"
    )
    add(
        "--holds-for-partial",
        action="store_true",
        help="also apply it where fewer members graded than the bundle has (default: only where all did)",
    )


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``build``."""
    add = parser.add_argument
    add("--owner", required=True, help="your Kaggle user name")
    add("--slug", required=True, help="the data set's name in its address: 6 to 50 of a-z, 0-9 and dashes")
    add(
        "--bundle", type=Path, metavar="DIR", help="folder with weights_manifest.json; default: this checkout"
    )
    add(
        "--out",
        type=Path,
        default=Path("dist"),
        metavar="DIR",
        help="the folder to make (default: %(default)s)",
    )
    add("--partial", action="store_true", help="also build with a bundle that can't grade every site")
    add("--title", help="of the data set, 6 to 50 characters; default: made of the slug")
    add("--subtitle", default=SUBTITLE, help="20 to 80 characters (default: %(default)s)")
    add(
        "--licence",
        help=f"of the data set, one of Kaggle's list; default: {LICENCE} for this checkout's own "
        f"weights, {UNTOLD_LICENCE} for those of --bundle, which are their makers' to licence",
    )
    add(
        "--docker-image",
        metavar="IMAGE",
        help="Kaggle's image by digest, from `kaggle kernels pull -m`; default: the current one at the first push, "
        "which later versions of the notebook keep",
    )
    wheels = parser.add_mutually_exclusive_group()
    wheels.add_argument(
        "--wheels", type=Path, metavar="DIR", help="take the wheels from here; default: with pip"
    )
    wheels.add_argument("--no-wheels", action="store_true", help="without: reading takes longer on Kaggle")


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``verify``."""
    parser.add_argument("folder", type=Path, nargs="+", help="dist/dataset, dist/notebook, or both")
    parser.add_argument(
        "--no-trial",
        action="store_true",
        help="leave out the trial run, which grades three phantoms with the data set, offline and read-only",
    )
    parser.add_argument("--partial", action="store_true", help="accept a bundle that can't grade every site")
