"""``build_dataset.py import``: the authors' published checkpoints -> a bundle."""

import argparse
import logging
from pathlib import Path

import numpy as np

from dataset.published import import_classifier_network, import_detector_network
from lumbar.bundle.loading import POINT_KINDS, Bundle, Classifier, Detector, load_bundle
from lumbar.bundle.weights import BundleError
from lumbar.bundle.writing import write_bundle
from lumbar.networks.classifier import SEQUENCES, Border
from lumbar.networks.families import FAMILY_A, FAMILY_B, Family
from lumbar.sites import DESCRIPTION_KEYS

logger = logging.getLogger(__name__)

FAMILIES = {"a": FAMILY_A, "b": FAMILY_B}
# The share of each severity by site over the 1,975 training studies, weighted 1, 2, 4 as the metric does
# and scaled to sum to 1: the best constant prediction.
COMPETITION_PRIOR = (
    (0.8964, 0.0637, 0.0399),
    (0.775, 0.1322, 0.0928),
    (0.6311, 0.179, 0.1899),
    (0.498, 0.1593, 0.3427),
    (0.9145, 0.049, 0.0365),
    (0.9344, 0.0617, 0.0039),
    (0.8227, 0.1571, 0.0202),
    (0.6078, 0.3283, 0.0639),
    (0.3984, 0.4163, 0.1853),
    (0.4008, 0.3343, 0.2649),
    (0.914, 0.0609, 0.0251),
    (0.8328, 0.1561, 0.0111),
    (0.6038, 0.3307, 0.0655),
    (0.4046, 0.4213, 0.1741),
    (0.4224, 0.3271, 0.2506),
    (0.8501, 0.0936, 0.0563),
    (0.6487, 0.2128, 0.1385),
    (0.4402, 0.3019, 0.258),
    (0.2229, 0.3136, 0.4634),
    (0.5004, 0.2907, 0.209),
    (0.8417, 0.1102, 0.0481),
    (0.6696, 0.2064, 0.124),
    (0.438, 0.3009, 0.2611),
    (0.2242, 0.313, 0.4629),
    (0.4853, 0.2747, 0.24),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``import``; each may be given several times."""
    add = parser.add_argument
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
        help="whose values fill what keys can't tell; default: told from stage 1, else a",
    )
    add(
        "--max-length",
        action="append",
        default=[],
        metavar="[NAME:]DESCRIPTION=SLICES",
        help="slices of a network's input (family a: 32, 32, 64; b: 29, 38, 192 for sagittal T2, T1, axial)",
    )
    add(
        "--xy",
        action="append",
        default=[],
        metavar="[NAME=]KIND",
        help="fixed (family a) or dynamic (family b)",
    )
    add(
        "--sequence",
        action="append",
        choices=SEQUENCES,
        help="once for all classifiers, or once each (default: level)",
    )
    add(
        "--border",
        action="append",
        choices=tuple(Border),
        help="likewise (family a: stretch, family b: shift)",
    )
    add("--name", default="imported", help="the bundle's name")
    add(
        "--trained-on",
        default="RSNA 2024 lumbar spine training data, by the authors",
        help="for the manifest",
    )


def import_bundle(args: argparse.Namespace) -> Path:
    """Import the checkpoints that the flags name, write the bundle, load it back; return its manifest.

    Raises BundleError for a checkpoint or a flag that does not fit.
    """
    if not args.detector:
        raise BundleError("import: got no --detector, expected at least one")
    files: dict[str, dict[str, Path]] = {}
    for text in args.detector:
        name, description, value = named_description(text, "--detector")
        if description in files.setdefault(name, {}):
            raise BundleError(
                f"--detector: got two checkpoints of {description} for detector {name!r}, expected one; give "
                "folds different names, NAME:DESCRIPTION=FILE"
            )
        files[name][description] = Path(value)
    lengths = {}
    for text in args.max_length:
        name, description, value = named_description(text, "--max-length")
        lengths[name, description] = number(value, text)
    kinds = dict(text.rpartition("=")[::2] for text in args.xy)
    check_names(files, {name for name, _ in lengths}, "--max-length")
    check_names(files, set(kinds) - {""}, "--xy")

    detectors, families = [], []
    for name, by_description in files.items():
        networks, recognised = {}, []
        for description, file in by_description.items():
            length = lengths.get((name, description))
            told = FAMILIES.get(args.family)
            networks[description], family = import_detector_network(file, description, length, told)
            recognised.append(family)
        families.append(likeliest(recognised))
        kind = kinds.get(name) or kinds.get("") or families[-1].xy
        if kind not in POINT_KINDS:
            raise BundleError(f"--xy: got {kind!r}, expected one of {POINT_KINDS}")
        detectors.append(Detector(name, kind, networks))
        print(f"detector {name}: {kind} (x, y), {', '.join(networks)}")
    classifiers = import_classifiers(args, families)
    prior = np.array(COMPETITION_PRIOR)
    prior /= prior.sum(axis=1, keepdims=True)
    bundle = Bundle(args.name, args.trained_on, tuple(detectors), tuple(classifiers), prior, "")
    manifest = write_bundle(bundle, args.out)
    load_bundle(args.out)
    return manifest


def import_classifiers(args: argparse.Namespace, families: list[Family]) -> list[Classifier]:
    """Import the stage-2 checkpoints, each with its sequence and border rule. families: of the detectors."""
    count, usual = len(args.classifier), likeliest(families).border
    if count and not args.border and any(family.border != usual for family in families):
        raise BundleError(
            "--border: got detectors of both families, expected to be told each classifier's border; give "
            f"--border, one of {', '.join(Border)}, once for all or once each"
        )
    sequences = one_each(args.sequence or ["level"], count, "--sequence")
    borders = one_each(args.border or [usual], count, "--border")
    classifiers = []
    for text, sequence, border in zip(args.classifier, sequences, borders, strict=True):
        name, _, file = text.rpartition(":")
        name = name or f"{Path(file).stem}-{sequence}"
        network = import_classifier_network(Path(file), sequence, border)
        classifiers.append(Classifier(name, 1.0, network))
        print(f"classifier {name}: {network.config.backbone}, sequence {sequence}, border {border}")
    return classifiers


def named_description(text: str, flag: str) -> tuple[str, str, str]:
    """Split ``[NAME:]DESCRIPTION=VALUE`` into name (default ``detector``), description and value."""
    left, separator, value = text.partition("=")
    name, _, key = left.rpartition(":")
    descriptions = {short: description for description, short in DESCRIPTION_KEYS.items()}
    if not separator or key not in descriptions:
        raise BundleError(
            f"{flag}: got {text!r}, expected [NAME:]DESCRIPTION=VALUE with one of {sorted(descriptions)}"
        )
    return name or "detector", descriptions[key], value


def number(value: str, text: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise BundleError(f"--max-length: got {text!r}, expected a number of slices of at least 1")
    return int(value)


def check_names(files: dict, names: set[str], flag: str) -> None:
    if names - files.keys():
        raise BundleError(
            f"{flag}: got detectors {sorted(names - files.keys())}, expected one of {sorted(files)}"
        )


def one_each(values: list[str], count: int, flag: str) -> list[str]:
    if len(values) not in (1, count):
        raise BundleError(
            f"{flag}: got it {len(values)} times, expected once, or once for each of {count} classifiers"
        )
    return values * count if len(values) == 1 else values


def likeliest(families: list[Family]) -> Family:
    """Return family b if any network is recognised as such: its axial network alone looks like family a's."""
    return FAMILY_B if FAMILY_B in families else FAMILY_A
