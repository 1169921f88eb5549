"""Studies in, ``submission.csv`` out: the one command of a Kaggle notebook.

    python kernel/infer.py                          on Kaggle: finds the competition and its own bundle
    python kernel/infer.py --data DIR --dump DIR    at home, with what the run saw
    python kernel/infer.py --demo                   three phantom studies, offline, beside their truth

Exit status: 0 all well; 3 too many fallbacks (the file is written); 4 the bundle is wrong; 5 data not
found or not usable; 130 and 143 after Ctrl-C and SIGTERM (what was done is written). Anything else is a bug.
"""

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path

STARTED = time.monotonic()  # the time limit counts from the start of the process
KAGGLE_LIMIT = "8.5h"  # of the 9 h that a notebook of this competition may run
EXIT_BUNDLE, EXIT_DATA, EXIT_INTERRUPT, EXIT_TERMINATED = 4, 5, 130, 143


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    on_kaggle = "KAGGLE_KERNEL_RUN_TYPE" in os.environ
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder in the competition's layout; default: found under /kaggle/input")
    add("--split", choices=("test", "train"), help="which of its image folders; default: test if it is there")
    add("--bundle", type=Path, help="folder with weights_manifest.json; default: the one this file lies in")
    add("--out", type=Path, default=Path("submission.csv"), help="the file to write (default: %(default)s)")
    add("--dump", type=Path, help="folder for points.csv, members.csv and run.json: what the run saw")
    add("--device", choices=("auto", "cuda", "cpu"), default="auto", help="default: the GPU if it works")
    add(
        "--precision",
        choices=("auto", "amp", "fp32"),
        default="auto",
        help="auto is amp where there is hardware",
    )
    add(
        "--time-limit",
        default=KAGGLE_LIMIT if on_kaggle else None,
        help="such as 8.5h, 90m; default: 8.5h on Kaggle",
    )
    add(
        "--max-fallback-share",
        type=float,
        default=0.2,
        help="of studies, before the exit status is 3 (%(default)s)",
    )
    add("--workers", type=int, help="reader processes; default: one less than the cores, at most 4")
    add(
        "--demo", action="store_true", help="make three phantom studies, grade them and show the truth beside"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the kernel; return the exit status."""
    args = arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # Imported here, not above: reader processes import this file's head, and need no torch.
    from lumbar.budget import parse_duration
    from lumbar.journal import JournalError
    from lumbar.pipeline import RunOptions, run
    from lumbar.studies import DataNotFoundError
    from lumbar.submission import SubmissionError
    from lumbar.weights import BundleError

    signal.signal(signal.SIGTERM, terminate)
    try:
        options = RunOptions(
            data=args.data,
            split=args.split,
            bundle=args.bundle or Path(__file__).resolve().parent.parent,
            out=args.out,
            device=args.device,
            precision=args.precision,
            dump=args.dump,
            time_limit=parse_duration(args.time_limit) if args.time_limit else None,
            max_fallback_share=args.max_fallback_share,
            workers=args.workers or max(1, min(4, (os.cpu_count() or 1) - 1)),
            started=STARTED,
        )
        summary = run(options)
    except BundleError as error:
        return fail(error, EXIT_BUNDLE)
    except (DataNotFoundError, SubmissionError, JournalError) as error:
        return fail(error, EXIT_DATA)
    except Terminated:
        return fail(
            "terminated; what was done is written, the same command goes on from there", EXIT_TERMINATED
        )
    except KeyboardInterrupt:
        return fail(
            "interrupted; what was done is written, the same command goes on from there", EXIT_INTERRUPT
        )
    print(summary.text())
    return summary.exit_status


class Terminated(BaseException):
    """SIGTERM came."""


def terminate(*_: object) -> None:
    raise Terminated


def fail(error: object, status: int) -> int:
    print(f"infer.py: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
