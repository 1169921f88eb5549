"""Checkpoints or a trained bundle -> the Kaggle data set, ready to upload.

python build_dataset.py import --detector sagittal_t1=FILE ... --classifier FILE ... --out BUNDLE_DIR
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "kernel"))

from dataset import importing
from lumbar.weights import BundleError


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status, 4 for a bundle or checkpoint that is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    importing.add_arguments(
        commands.add_parser("import", help="turn the authors' published checkpoints into a bundle")
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        print(f"wrote {importing.import_bundle(args)}")
    except BundleError as error:
        print(f"build_dataset.py: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
