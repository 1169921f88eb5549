"""Studies in, ``submission.csv`` out: the one command of a Kaggle notebook.

    python kernel/infer.py                          on Kaggle: finds the competition and its own bundle
    python kernel/infer.py --data DIR --dump DIR    at home, with points, members' grades and findings
    python kernel/infer.py --demo                   three phantom studies, offline, beside their truth

Exit status; any other is a bug:

    0          all well
    2          a wrong command line, a device that does not work, or a package that is not installed
    3          too many fallbacks, or a member can't be used here; the file is written
    4          a wrong bundle
    5          data not found or not usable, or a disk that can't be written; the last valid file stays
    130, 143   after Ctrl-C and SIGTERM; all finished studies are written
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

from lumbar.command_line import (
    SIGNALS,
    Interrupted,
    add_shared_flags,
    raise_interrupted,
    start_logging,
    write_any_text,
)
from lumbar.faults import BundleError, DataNotFoundError, DeviceError, MissingPackageError
from lumbar.reading.references import refuse_absent
from lumbar.run.options import add_flags, read_options, wrong_path

STARTED = time.monotonic()  # the time limit counts from the start of the process
KAGGLE_LIMIT = "8.5h"  # of the 9 h that a notebook of this competition may run
DEMO = Path("demo")
EXIT_USAGE, EXIT_BUNDLE, EXIT_DATA = 2, 4, 5


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_flags(parser)
    parser.add_argument(
        "--demo",
        action="store_true",
        help=f"make three phantom studies under {DEMO}/, grade them, show the truth",
    )
    add_shared_flags(parser)
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        parser.set_defaults(time_limit=KAGGLE_LIMIT)
    args = parser.parse_args(argv)
    if args.structured_reports and not (args.dump or args.demo):
        parser.error("--sr needs --dump DIR: the reports lie in DIR/findings")
    if (args.secondary_capture or args.pdf) and not (args.dump or args.demo):
        parser.error("--secondary-capture and --pdf need --dump DIR: the objects lie in DIR/findings")
    if message := wrong_path(args):
        parser.error(message)
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the kernel; return the exit status."""
    write_any_text()
    args = arguments(argv)
    try:  # before the imports, which take seconds
        if isinstance(args.data, str):
            from lumbar.reading.sources.remote import open_remote  # imports pydicom

            open_remote(args.data, args.split)
        elif args.data and not args.demo:
            refuse_absent(args.data)
    except MissingPackageError as error:
        return fail(error, EXIT_USAGE)
    except DataNotFoundError as error:
        return fail(error, EXIT_DATA)
    signal.pthread_sigmask(
        signal.SIG_BLOCK, SIGNALS
    )  # until the imports are done, which an interrupt would break
    raise_interrupted()
    try:
        return grade(args)
    except Interrupted as interrupted:
        message = "all finished studies are written. The same command goes on from there."
        return fail(f"{interrupted}: {message}", interrupted.status)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def grade(args: argparse.Namespace) -> int:
    """Import the libraries, run the pipeline and print its summary."""
    start_logging(args.log_level, "%(levelname)s %(name)s: %(message)s")
    # Imported here, not above: reader processes import this file's head, and need no torch.
    from lumbar.outputs import structured_report
    from lumbar.outputs.submission import SubmissionError
    from lumbar.run.journal import JournalError
    from lumbar.run.pipeline import run
    from phantom import demo

    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if args.structured_reports and not structured_report.is_installed():
        return fail(structured_report.MISSING, EXIT_USAGE)
    try:
        if args.demo:
            args.data, args.split = demo.make_studies(DEMO), "train"
            args.out, args.dump, args.report = DEMO / "submission.csv", DEMO, DEMO / "report"
        summary = run(read_options(args, STARTED))
    except (DeviceError, MissingPackageError) as error:
        return fail(error, EXIT_USAGE)
    except BundleError as error:
        return fail(error, EXIT_BUNDLE)
    except (DataNotFoundError, SubmissionError, JournalError) as error:
        return fail(error, EXIT_DATA)
    except OSError as error:
        return fail(f"{error}; make room, or correct the path, and run the same command again", EXIT_DATA)
    if args.demo:
        say(demo.compare(args.data, args.out), sys.stdout)
    say(summary.text(), sys.stdout)
    return summary.exit_status


def fail(error: object, status: int) -> int:
    say(f"infer.py: {error}", sys.stderr)
    return status


def say(text: str, stream: TextIO | None) -> None:
    """Print, if the stream can still be written: a closed pipe must not change the exit status."""
    try:
        print(text, file=stream, flush=True)
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
