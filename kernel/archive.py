"""Archives of 10^5 and more studies: index them, grade them on many cards or machines, merge the tables.

    python kernel/archive.py index --data DIR --out ARCHIVE      list the studies; prints what grading takes
    python kernel/archive.py grade ARCHIVE --bundle BUNDLE       a worker per card of this machine
    python kernel/archive.py grade ARCHIVE --bundle BUNDLE --engine ray --address auto      a Ray cluster
    python kernel/archive.py status ARCHIVE                      done, failed, rate, expected end
    python kernel/archive.py merge ARCHIVE --csv                 sites, points and studies, one table each
    python kernel/archive.py verify ARCHIVE                      whether all parts are whole
    python kernel/archive.py push ARCHIVE --to dicomweb+https://HOST/ROOT     structured reports, each once

Every command can be stopped at any moment; the same one goes on from there. Needs kernel/requirements-archive.txt.

Exit status; any other is a bug:

    0          all well
    1          verify has found something, or push has not stored a report
    2          a wrong command line, a device that does not work, or a package that is not installed
    4          a wrong bundle
    5          data or archive not usable, or a disk that can't be written; committed parts stay
    130, 143   after Ctrl-C and SIGTERM; graded studies are committed
"""

import argparse
import os
import sys
from pathlib import Path

from archiving.archive_folder import ArchiveError
from archiving.commands import COMMANDS, existing_archive
from lumbar.command_line import (
    Interrupted,
    add_shared_flags,
    raise_interrupted,
    start_logging,
    write_any_text,
)
from lumbar.faults import BundleError, DataNotFoundError, DeviceError, MissingPackageError
from lumbar.grading.time_limit import parse_duration
from lumbar.run.options import CHECKOUT, count

EXIT_USAGE, EXIT_BUNDLE, EXIT_DATA = 2, 4, 5


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    index = commands.add_parser("index", help="list the studies; prints studies, bytes and expected hours")
    index.add_argument("--data", required=True, help="folder, .zip, s3://..., or dicomweb+https://HOST/ROOT")
    index.add_argument("--split", choices=("test", "train"), help="of the competition's folder")
    index.add_argument("--out", required=True, type=Path, metavar="ARCHIVE", help="the archive's folder")
    cores = os.cpu_count() or 1
    index.add_argument(
        "--workers", type=count, default=cores, help="processes that list (default: all cores)"
    )
    index.add_argument("--bundle", type=Path, help="measure grading, too (default: reading alone)")
    index.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="with --bundle")
    add_grading_flags(index)
    grade = commands.add_parser("grade", help="grade all studies that are not committed yet")
    add_archive(grade)
    grade.add_argument("--bundle", type=Path, default=CHECKOUT, help="folder with weights_manifest.json")
    grade.add_argument("--engine", choices=("local", "ray"), default="local", help="(default: %(default)s)")
    grade.add_argument(
        "--workers", type=count, help="default: one per card, or all that fit into the cluster"
    )
    grade.add_argument("--device", default="auto", help="--engine local: as infer.py's --devices")
    grade.add_argument(
        "--address", help="--engine ray: auto, or HOST:PORT; default: a cluster of this machine"
    )
    grade.add_argument("--gpus-per-worker", type=float, default=1.0, help="--engine ray: 0 is the CPU")
    grade.add_argument("--chunk", type=count, default=16, help="studies given out at a time")
    grade.add_argument(
        "--tries", type=count, default=3, help="deaths of workers until a study gets the prior"
    )
    limit = "a worker without a result for so long is replaced, such as 30m"
    grade.add_argument("--study-limit", type=parse_duration, default=parse_duration("30m"), help=limit)
    grade.add_argument("--missing", choices=("prior", "zero"), default="prior", help="as infer.py's")
    grade.add_argument("--no-calibration", dest="calibration", action="store_false", help="as infer.py's")
    add_grading_flags(grade)
    add_archive(commands.add_parser("status", help="done, failed, rate, expected end"))
    merge = commands.add_parser("merge", help="write merged/: one table of sites, points and studies")
    add_archive(merge)
    merge.add_argument("--csv", action="store_true", help="also sites.csv, points.csv and submission.csv")
    add_archive(commands.add_parser("verify", help="check every part, and that no study is there twice"))
    push = commands.add_parser("push", help="store the structured reports in a DICOMweb service, each once")
    add_archive(push)
    push.add_argument("--to", required=True, metavar="URL", help="dicomweb+https://HOST/ROOT")
    for command in commands.choices.values():
        add_shared_flags(command)
    add_shared_flags(parser)
    return parser.parse_args(argv)


def add_archive(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "archive", type=existing_archive, metavar="ARCHIVE", help="the folder that index made"
    )


def add_grading_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--readers", type=count, default=4, help="reader processes per worker")
    parser.add_argument("--precision", choices=("auto", "amp", "fp32"), default="auto", help="as infer.py's")


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand; return the exit status."""
    write_any_text()
    args = parse(argv)
    start_logging(args.log_level, "%(asctime)s %(levelname)s %(name)s: %(message)s", "%d %H:%M:%S")
    raise_interrupted()
    try:
        return COMMANDS[args.command](args)
    except (DeviceError, MissingPackageError) as error:
        return fail(error, EXIT_USAGE)
    except BundleError as error:
        return fail(error, EXIT_BUNDLE)
    except (ArchiveError, DataNotFoundError) as error:
        return fail(error, EXIT_DATA)
    except OSError as error:
        return fail(f"{error}; make room, or correct the path, and run the same command again", EXIT_DATA)
    except Interrupted as interrupted:
        message = "graded studies are committed. The same command goes on from there."
        return fail(f"{interrupted}: {message}", interrupted.status)


def fail(error: object, status: int) -> int:
    print(f"archive.py: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
