"""Checkpoints or a trained bundle -> the Kaggle data set, ready to upload.

    python build_dataset.py import --detector sagittal_t1=FILE ... --classifier FILE ... --out BUNDLE_DIR
    python build_dataset.py build --owner NAME --slug SLUG [--bundle BUNDLE_DIR] --out dist
    python build_dataset.py verify dist/dataset dist/notebook

Exit status: 0 all well; 4 for a bundle, checkpoint, wheel or metadata that is wrong: the message says which.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "kernel"))

from dataset import building, importing, verifying
from lumbar.bundle.weights import BundleError


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; see the module's text for what the commands do."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    importing.add_arguments(
        commands.add_parser("import", help="turn the authors' published checkpoints into a bundle")
    )
    building.add_arguments(
        commands.add_parser("build", help="make the Kaggle data set and its notebook, ready to upload")
    )
    verifying.add_arguments(commands.add_parser("verify", help="check that a built folder is fit for upload"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status, 4 for a bundle or checkpoint that is wrong."""
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run = {"import": import_checkpoints, "build": building.build, "verify": verifying.verify}[args.command]
    try:
        print(run(args))
    except BundleError as error:
        print(f"build_dataset.py: {error}", file=sys.stderr)
        return 4
    return 0


def import_checkpoints(args: argparse.Namespace) -> str:
    return f"wrote {importing.import_bundle(args)}"


if __name__ == "__main__":
    sys.exit(main())
