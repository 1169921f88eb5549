"""The flags of ``build_dataset.py import``, read and checked before any checkpoint is."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from dataset.published.answers import Answers
from lumbar.faults import BundleError
from lumbar.networks.architecture import POINT_KINDS, SEQUENCES, Border
from lumbar.networks.families import FAMILIES, FAMILY_A, FAMILY_B, Family
from lumbar.sites import DESCRIPTION_KEYS

DETECTOR = "detector"  # the name where a flag gives none
TRAINED_ON = "not stated by whoever imported the checkpoints"


@dataclass(frozen=True)
class ImportFlags:
    """The command line of ``import``, checked.

    Attributes:
        detectors: Name, description and file of each.
        classifiers: Name, if one is given, and file of each.
        family: Family for all files, or None to recognise it file by file.
        lengths: Slices by description and detector's name, None for all detectors.
        xy: Kind of points by detector's name, None for all detectors.
    """

    out: Path
    name: str
    trained_on: str
    folder: Path | None
    skip: list[str]
    detectors: list[tuple[str, str, Path]]
    classifiers: list[tuple[str | None, Path]]
    sequences: Answers
    borders: Answers
    family: Family | None
    lengths: dict[tuple[str | None, str], int]
    xy: dict[str | None, str]
    half: bool
    partial: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``import``."""
    add = parser.add_argument
    lengths = [
        ", ".join(str(family.max_length[d]) for d in DESCRIPTION_KEYS) for family in (FAMILY_A, FAMILY_B)
    ]
    add(
        "--from",
        dest="folder",
        type=Path,
        metavar="FOLDER",
        help="import every checkpoint (.bin, .pth, .pt, .safetensors) under FOLDER. Keys, shapes and path decide the "
        "member that it becomes. A table lists the result",
    )
    add(
        "--skip",
        action="append",
        default=[],
        metavar="PATTERN",
        help="with --from: leave out the paths (relative to FOLDER) that fit, such as 'stage2_2024_*'",
    )
    add(
        "--detector",
        action="append",
        default=[],
        metavar="[NAME:]DESCRIPTION=FILE",
        help=f"a stage-1 checkpoint; DESCRIPTION is one of {', '.join(DESCRIPTION_KEYS.values())}",
    )
    add("--classifier", action="append", default=[], metavar="[NAME:]FILE", help="a stage-2 checkpoint")
    add("--out", type=Path, required=True, metavar="BUNDLE_DIR", help="the bundle to write")
    add(
        "--family",
        choices=FAMILIES,
        help="family with the values that a checkpoint does not hold; default: recognised for each file",
    )
    add(
        "--max-length",
        action="append",
        default=[],
        metavar="[NAME:]DESCRIPTION=SLICES",
        help=f"slices of a network's input (family a: {lengths[0]}; b: {lengths[1]} for sagittal T2, T1, axial)",
    )
    add(
        "--xy",
        action="append",
        default=[],
        metavar="[NAME=]KIND",
        help=f"{FAMILY_A.xy} (family a) or {FAMILY_B.xy} (family b)",
    )
    add(
        "--sequence",
        action="append",
        default=[],
        metavar="[PATTERN=]AXIS",
        help=f"sequence axis, one of {', '.join(SEQUENCES)}. Once for all classifiers without an axis in their path, "
        "or once for each --classifier. PATTERN= overrides the axis in the paths that fit",
    )
    add(
        "--border",
        action="append",
        default=[],
        metavar="[PATTERN=]RULE",
        help=f"border rule of the crops, likewise (family a: {FAMILY_A.border}, family b: {FAMILY_B.border})",
    )
    add(
        "--half",
        action="store_true",
        help="round the weights to float16: files of half the size; default: keep every weight as it is",
    )
    add("--partial", action="store_true", help="also write a bundle that can't grade every site")
    add("--name", default="imported", help="the bundle's name (default: %(default)s)")
    add(
        "--trained-on",
        default=TRAINED_ON,
        help="for the manifest and the data set's card (default: %(default)s)",
    )


def read_flags(args: argparse.Namespace) -> ImportFlags:
    """Check the flags; BundleError for one that can't be meant so."""
    if not args.detector and args.folder is None:
        raise BundleError("import: got neither --from nor --detector, expected checkpoints; give one of them")
    if args.skip and args.folder is None:
        raise BundleError("--skip: got no --from, expected a folder to skip files of; leave it out")
    xy: dict[str | None, str] = {}
    for text in args.xy:
        name, _, kind = text.rpartition("=")
        xy[name or None] = one_of(kind, POINT_KINDS, "--xy")
    return ImportFlags(
        out=args.out,
        name=args.name,
        trained_on=args.trained_on,
        folder=args.folder,
        skip=args.skip,
        detectors=[
            (name or DETECTOR, description, Path(file))
            for name, description, file in (named_description(text, "--detector") for text in args.detector)
        ],
        classifiers=[
            (name or None, Path(file)) for name, _, file in (text.rpartition(":") for text in args.classifier)
        ],
        sequences=answers(args.sequence, SEQUENCES, "--sequence", len(args.classifier), args.folder),
        borders=answers(args.border, tuple(Border), "--border", len(args.classifier), args.folder),
        family=FAMILIES.get(args.family),
        lengths={
            (name, description): number(value)
            for name, description, value in (
                named_description(text, "--max-length") for text in args.max_length
            )
        },
        xy=xy,
        half=args.half,
        partial=args.partial,
    )


def named_description(text: str, flag: str) -> tuple[str | None, str, str]:
    """Split ``[NAME:]DESCRIPTION=VALUE`` into name, description and value."""
    left, separator, value = text.partition("=")
    name, _, key = left.rpartition(":")
    descriptions = {short: description for description, short in DESCRIPTION_KEYS.items()}
    if not separator or key not in descriptions:
        raise BundleError(
            f"{flag}: got {text!r}, expected [NAME:]DESCRIPTION=VALUE with one of {sorted(descriptions)}"
        )
    return name or None, descriptions[key], value


def number(value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise BundleError(f"--max-length: got {value!r}, expected a number of slices of at least 1")
    return int(value)


def one_of(value: str, allowed: tuple[str, ...], flag: str) -> str:
    if value not in allowed:
        raise BundleError(f"{flag}: got {value!r}, expected one of {', '.join(allowed)}")
    return value


def answers(
    texts: list[str], allowed: tuple[str, ...], flag: str, given: int, folder: Path | None
) -> Answers:
    """Read ``[PATTERN=]VALUE`` flags.

    Args:
        given: Number of classifiers that flags name.
        folder: Folder of ``--from``, or None.
    """
    by_pattern, plain = [], []
    for text in texts:
        pattern, separator, value = text.rpartition("=")
        one_of(value, allowed, flag)
        if separator:
            by_pattern.append((pattern, value))
        else:
            plain.append(value)
    if len(plain) > 1 and (len(plain) != given or folder is not None):
        expected = (
            "once, or PATTERN=" if folder is not None else f"once, or once for each of {given} classifiers"
        )
        raise BundleError(f"{flag}: got it {len(plain)} times, expected it {expected}")
    return Answers(tuple(by_pattern), tuple(plain))
