"""The options of a run. Each field with a help text is also a flag of the command line."""

import argparse
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

from lumbar.grading.time_limit import parse_duration
from lumbar.networks.device_names import device_names
from lumbar.reading.sources.locations import data_location

CHECKOUT = Path(__file__).resolve().parents[3]


def share(text: str) -> float:
    """Return a number from 0 to 1; ValueError for any other text."""
    if not 0 <= float(text) <= 1:
        raise ValueError(text)
    return float(text)


def count(text: str) -> int:
    """Return a whole number of at least 1; ValueError for any other text."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def flag(help_text: str, **settings: object) -> dict[str, object]:
    """Return the metadata of a field that is also a flag.

    Args:
        help_text: The line of ``--help``.
        settings: What ``add_argument`` takes besides; ``name`` where the flag is spelled otherwise than the field.
    """
    return {"help": help_text} | settings


@dataclass(frozen=True)
class RunOptions:
    """The options of a run; times in seconds, ``started`` on the clock of ``time.monotonic``."""

    data: Path | str | None = field(
        default=None,
        metadata=flag(
            "folder in the competition's layout, any folder or .zip of DICOM, or a URL: dicomweb+https://HOST/ROOT, "
            "s3://BUCKET/PREFIX; default: found under /kaggle/input",
            type=data_location,
        ),
    )
    split: str | None = field(
        default=None,
        metadata=flag("which image folder to read; default: test if it is there", choices=("test", "train")),
    )
    series: Path | None = field(
        default=None,
        metadata=flag(
            "study_id,series_id,series_description: overrides the data's table or descriptions inferred from headers",
            type=Path,
            metavar="MAP.csv",
        ),
    )
    bundle: Path = field(
        default=CHECKOUT,
        metadata=flag(
            "folder with weights_manifest.json; default: the one that this program lies in", type=Path
        ),
    )
    out: Path = field(
        default=Path("submission.csv"),
        metadata=flag("the file to write (default: %(default)s)", type=Path),
    )
    missing: str = field(
        default="prior",
        metadata=flag(
            "sites of a study without their series get the prior, or are graded from zero crops as in the authors' "
            "notebooks (default: %(default)s)",
            choices=("prior", "zero"),
        ),
    )
    calibration: bool = field(
        default=True,
        metadata=flag(
            "leave the ensemble's mean as it is, although the bundle has a calibration",
            name="--no-calibration",
            action="store_false",
        ),
    )
    dump: Path | None = field(
        default=None,
        metadata=flag(
            "folder for points.csv, members.csv, findings/ and run.json: points and members' grades",
            type=Path,
        ),
    )
    structured_reports: bool = field(
        default=False,
        metadata=flag(
            "DICOM Structured Reports beside --dump's findings; needs highdicom (pip install highdicom)",
            name="--sr",
            action="store_true",
        ),
    )
    secondary_capture: bool = field(
        default=False,
        metadata=flag(
            "key slices with their marks as DICOM Secondary Capture, in --dump's findings/<study>",
            action="store_true",
        ),
    )
    pdf: bool = field(
        default=False,
        metadata=flag(
            "a one-page summary as DICOM Encapsulated PDF, in --dump's findings/<study>", action="store_true"
        ),
    )
    report: Path | None = field(
        default=None,
        metadata=flag("folder for pages to look at: an index and one page per study", type=Path),
    )
    report_size: str = field(
        default="full",
        metadata=flag(
            "full has slices to scroll, at most 8 MB per study; small leaves them out, at most 2 MB "
            "(default: %(default)s)",
            choices=("full", "small"),
        ),
    )
    devices: str = field(
        default="auto",
        metadata=flag(
            "auto (every card that works, else the CPU), cuda (every card), cpu, or a list such as cuda:0,cuda:1",
            type=device_names,
            metavar="LIST",
        ),
    )
    precision: str = field(
        default="auto",
        metadata=flag("auto is amp where there is hardware for it", choices=("auto", "amp", "fp32")),
    )
    compile: str = field(
        default="auto",
        metadata=flag(
            "auto: on cards with ten minutes of classifiers ahead, a process beside the run compiles them; off: never "
            "(default: %(default)s)",
            choices=("auto", "off"),
        ),
    )
    time_limit: float | None = field(
        default=None,
        metadata=flag(
            "such as 8.5h, 90m: members are dropped to keep it; default: 8.5h on Kaggle, else none",
            type=parse_duration,
        ),
    )
    max_fallback_share: float = field(
        default=0.2,
        metadata=flag(
            "share of studies with a fallback above which the exit status is 3 (default: %(default)s)",
            type=share,
        ),
    )
    workers: int | None = field(
        default=None,
        metadata=flag(
            "reader processes; default: beside cards all cores but one per card, beside a CPU at most 4",
            type=count,
        ),
    )
    started: float = field(default_factory=time.monotonic)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field of ``RunOptions`` that has a help text."""
    for option in fields(RunOptions):
        settings = dict(option.metadata)
        if settings:
            name = settings.pop("name", "--" + option.name.replace("_", "-"))
            parser.add_argument(name, dest=option.name, default=option.default, **settings)


def wrong_path(arguments: argparse.Namespace) -> str | None:
    """Return the message about a path that the run could not write to in the end; None if there is none."""
    out, folders = arguments.out, (("--dump", arguments.dump), ("--report", arguments.report))
    try:
        if out.is_dir():
            example = out / RunOptions.out
            return f"--out: {out} is a folder, expected a file to write; give a name in it, such as {example}"
        for name, folder in folders:
            if folder and folder.exists() and not folder.is_dir():
                return f"{name}: {folder} is a file, expected a folder; give another name"
    except OSError as error:
        return f"{error}; give a path that can be written"
    return None


def read_options(arguments: argparse.Namespace, started: float) -> RunOptions:
    """Return the options of parsed flags."""
    named = {option.name: getattr(arguments, option.name) for option in fields(RunOptions) if option.metadata}
    return RunOptions(**named, started=started)
