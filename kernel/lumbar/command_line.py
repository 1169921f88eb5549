"""The flags, logging and signals of the entry scripts, and the console scripts that an installation adds."""

import argparse
import importlib
import io
import logging
import signal
import sys
from pathlib import Path

from lumbar import __version__
from lumbar.run.options import CHECKOUT

LOG_LEVELS = ("debug", "info", "warning", "error")
EXIT_NO_CHECKOUT = 2  # as for a wrong command line
EXIT_SIGNAL = 128  # and the signal's number: 130 for Ctrl-C, 143 for SIGTERM
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM came.

    Attributes:
        status: The exit status for it.
    """

    def __init__(self, number: int):
        super().__init__("terminated" if number == signal.SIGTERM else "interrupted")
        self.status = EXIT_SIGNAL + number


def raise_interrupted() -> None:
    """Let Ctrl-C and SIGTERM raise ``Interrupted``, once: a second one must not break into the last write."""

    def interrupt(number: int, *_: object) -> None:
        for again in SIGNALS:
            signal.signal(again, signal.SIG_IGN)
        raise Interrupted(number)

    for number in SIGNALS:
        signal.signal(number, interrupt)


def add_shared_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--version`` and ``--log-level``."""
    parser.add_argument("--version", action="version", version=f"lumbar {__version__}")
    parser.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="least severe messages that are logged (default: %(default)s)",
    )


def start_logging(level: str, line: str, time_of_day: str | None = None) -> None:
    """Log to stderr from a level on.

    Args:
        level: One of ``LOG_LEVELS``.
        line: Format of a line, as in ``logging.basicConfig``.
        time_of_day: Format of ``%(asctime)s``.
    """
    logging.basicConfig(level=level.upper(), format=line, datefmt=time_of_day)


def write_any_text() -> None:
    """Write escapes for characters that the encoding of stdout or stderr lacks: "ö" on an ASCII terminal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def infer() -> int:
    """Run ``kernel/infer.py``."""
    return run_script(CHECKOUT / "kernel/infer.py")


def train() -> int:
    """Run ``kernel/train.py``."""
    return run_script(CHECKOUT / "kernel/train.py")


def evaluate() -> int:
    """Run ``kernel/evaluate.py``."""
    return run_script(CHECKOUT / "kernel/evaluate.py")


def dataset() -> int:
    """Run ``build_dataset.py``."""
    return run_script(CHECKOUT / "build_dataset.py")


def run_script(script: Path) -> int:
    """Run an entry script of the checkout with this process's arguments; return its exit status.

    Only ``lumbar`` is installed: the scripts, training, phantoms and packaging stay in the checkout, where an
    editable installation finds them.
    """
    if not script.is_file():
        message = f"{script}: no such file. This command runs a script of the source checkout."
        remedy = "Install from the checkout: pip install -e FOLDER"
        print(f"{message} {remedy}", file=sys.stderr)
        return EXIT_NO_CHECKOUT
    sys.path.insert(0, str(script.parent))
    return importlib.import_module(script.stem).main()
