"""Checkpoints or a trained bundle -> the Kaggle data set, ready to upload.

    python build_dataset.py import --from FOLDER --out BUNDLE_DIR
    python build_dataset.py calibrate BUNDLE_DIR --with FIT.json --fitted-on TEXT
    python build_dataset.py build --owner NAME --slug SLUG [--bundle BUNDLE_DIR] --out dist
    python build_dataset.py verify dist/dataset dist/notebook

Exit status:

    0     all well
    2     a wrong command line
    4     a wrong bundle, checkpoint, wheel or metadata, named in the message
    5     a folder that can't be read or written
    130   after Ctrl-C
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "kernel"))

from dataset import import_flags, upload_flags
from lumbar.command_line import add_shared_flags, start_logging, write_any_text
from lumbar.faults import BundleError

EXIT_BUNDLE, EXIT_DISK, EXIT_INTERRUPTED = 4, 5, 130  # as infer.py's


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; the module's text describes the commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_shared_flags(parser)
    commands = parser.add_subparsers(dest="command", required=True)
    import_flags.add_arguments(
        commands.add_parser("import", help="turn the authors' published checkpoints into a bundle")
    )
    upload_flags.add_calibrate_arguments(
        commands.add_parser("calibrate", help="write a fit of evaluate.py into a bundle")
    )
    upload_flags.add_build_arguments(
        commands.add_parser("build", help="make the Kaggle data set and its notebook, ready to upload")
    )
    upload_flags.add_verify_arguments(
        commands.add_parser("verify", help="check that a built folder is fit for upload")
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    write_any_text()
    args = parse(argv)
    start_logging(args.log_level, "%(message)s")
    try:
        print(run(args))
    except BundleError as error:
        return fail(error, EXIT_BUNDLE)
    except OSError as error:
        return fail(f"{error}; make room, or correct the path, and run the same command again", EXIT_DISK)
    except KeyboardInterrupt:
        return fail("interrupted; run the same command again", EXIT_INTERRUPTED)
    return 0


def run(args: argparse.Namespace) -> str:
    """Run the command; its libraries, torch among them, are imported here, and not for ``--help``."""
    if args.command == "import":
        from dataset.importing import import_bundle as command
    elif args.command == "calibrate":
        from lumbar.bundle.calibrating import calibrate

        return calibrate(args.bundle, args.fit, args.fitted_on, args.holds_for_partial)
    elif args.command == "build":
        from dataset.building import build as command
    else:
        from dataset.verifying import verify as command
    return command(args)


def fail(message: object, status: int) -> int:
    print(f"build_dataset.py: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
