"""``build_dataset.py import``: the authors' published checkpoints -> a bundle."""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset import import_report
from dataset.competition_prior import COMPETITION_PRIOR
from dataset.completeness import check_bundle, refuse_incomplete
from dataset.import_flags import ImportFlags, read_flags
from dataset.published import choice, files, order
from dataset.published.files import ClassifierFile
from dataset.published.networks import import_classifier_network, import_detector_network
from dataset.published.order import DetectorGroup
from lumbar.bundle.members import Bundle, Classifier, Detector
from lumbar.bundle.writing import write_bundle
from lumbar.faults import BundleError
from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.families import Family
from lumbar.networks.parked_weights import Scratch


def import_bundle(args: argparse.Namespace) -> str:
    """Import the checkpoints that the flags name, write the bundle and load it back; return the report.

    Raises:
        BundleError: A checkpoint or a flag does not fit, both leave a question open, ``--half`` can't round a weight,
            or the bundle can't grade every site and ``--partial`` is not given.
    """
    flags = read_flags(args)
    groups, taken, left_out = find_members(flags)
    described = {description for group in groups for description in group.files}
    refuse_incomplete(described, len(taken), "import", flags.partial)
    check_names(groups, flags)
    borders = borders_of(taken, {group.family for group in groups}, flags.family)
    names = order.classifier_names(taken)
    parked = Scratch(resident_bytes=0)  # an ensemble's weights in float32 may be larger than the memory
    detectors = import_detectors(groups, flags, parked)
    classifiers = []
    for file, name, border in tqdm(
        list(zip(taken, names, borders, strict=True)), "classifiers", unit="file", disable=None
    ):
        network = import_classifier_network(file.file, file.sequence, border)
        parked.keep(network)
        classifiers.append(Classifier(name, 1.0, network))
    prior = np.array(COMPETITION_PRIOR)
    prior /= prior.sum(axis=1, keepdims=True)
    bundle = Bundle(flags.name, flags.trained_on, tuple(detectors), tuple(classifiers), prior, "")
    figures = import_report.sources(groups, dict(zip(names, taken, strict=True)))
    manifest = write_bundle(bundle, flags.out, figures=figures, half=flags.half)
    check_bundle(flags.out, flags.partial)
    table = import_report.table(groups, taken, bundle, left_out)
    return "\n".join([table, "", import_report.size_line(bundle, flags.half), f"wrote {manifest}"])


def find_members(flags: ImportFlags) -> tuple[list[DetectorGroup], list[ClassifierFile], dict[str, str]]:
    """Return the files of every detector and classifier in the manifest's order, and the reason by path left out.

    Files that flags name come first, in the order given. Those of ``--from`` follow, most valuable first, see
    ``dataset.published.order``.
    """
    given = [files.take_detector(file, d, name, flags.family) for name, d, file in flags.detectors]
    groups = order.given_detectors(given)
    classifiers = [
        files.take_classifier(file, name, number, flags.sequences, flags.borders)
        for number, (name, file) in enumerate(flags.classifiers)
    ]
    if flags.folder is None:
        return groups, classifiers, {}
    known = {one.file.resolve() for one in (*given, *classifiers)}
    found = [f for f in files.find_checkpoints(flags.folder, flags.skip) if f.resolve() not in known]
    networks, more = files.take_folder(flags.folder, found, flags.sequences, flags.borders, flags.family)
    networks, earlier_epochs = choice.choose_detectors(networks)
    more, earlier = choice.choose_classifiers(more)
    groups = order.joined(groups, order.folds_of_detectors(networks))
    return groups, classifiers + order.kinds_of_classifiers(more), earlier_epochs | earlier


def check_names(groups: list[DetectorGroup], flags: ImportFlags) -> None:
    """Refuse a flag that names a detector which is not there."""
    names = {group.name for group in groups}
    for flag, named in (("--max-length", {name for name, _ in flags.lengths}), ("--xy", set(flags.xy))):
        unknown = sorted(named - names - {None})
        if unknown:
            raise BundleError(f"{flag}: got detectors {unknown}, expected one of {sorted(names)}")


def import_detectors(groups: list[DetectorGroup], flags: ImportFlags, parked: Scratch) -> list[Detector]:
    """Import each file once, however many detectors it serves."""
    networks: dict[tuple[Path, int | None], DetectorNetwork] = {}
    detectors = []
    for group in tqdm(groups, "detectors", unit="detector", disable=None):
        own = {}
        for description, file in group.files.items():
            length = flags.lengths.get((group.name, description)) or flags.lengths.get((None, description))
            if (file.file, length) not in networks:
                network, _ = import_detector_network(file.file, description, length, file.family)
                parked.keep(network)
                networks[file.file, length] = network
            own[description] = networks[file.file, length]
        kind = flags.xy.get(group.name) or flags.xy.get(None) or group.family.xy
        detectors.append(Detector(group.name, kind, own))
    return detectors


def borders_of(taken: list[ClassifierFile], detectors: set[Family], family: Family | None) -> list[str]:
    """Return each classifier's border rule: a flag's, or that of its family.

    A family that published the backbone overrides that of the detectors.

    Args:
        detectors: Families of the detectors.
        family: As ``--family`` gives it.

    Raises:
        BundleError: Nothing decides the rule of the files that it lists.
    """
    usual = family or (next(iter(detectors)) if len(detectors) == 1 else None)
    families = [family or file.shape.family or usual for file in taken]
    unknown = [file for file, own in zip(taken, families, strict=True) if file.border is None and own is None]
    if unknown:
        raise BundleError(
            "\n".join(
                f"{file.file}: {file.shape.backbone} is of neither family and the detectors are of both. Its border "
                f"rule is not known; give --border RULE for all such files, or --border '{file.shown}=RULE'"
                for file in unknown
            )
        )
    return [file.border or own.border for file, own in zip(taken, families, strict=True)]
