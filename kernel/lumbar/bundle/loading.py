"""``weights_manifest.json`` and safetensors -> the networks of an ensemble; ``writing.py`` is the way back.

The manifest carries every member's architecture, so nothing is guessed at loading:

* Configurations are frozen dataclasses. Only options, which not every manifest names, have defaults.
* Files are checked by SHA-256 before use, and nothing is ever unpickled.
* State dicts load strictly.
* Paths are relative to the manifest, stay inside its folder and are no links.
"""

import dataclasses
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from lumbar.bundle.manifest import check_fields, check_positive, read_manifest
from lumbar.bundle.members import SEARCH_OPTIONS, Bundle, Classifier, Detector, LeftOut
from lumbar.bundle.weights import load_strictly, read_weights
from lumbar.faults import BundleError, MemberError
from lumbar.grids import CROP_INPUT, CROP_OFFSETS, DETECTOR_GRID
from lumbar.networks.architecture import POINT_KINDS, ClassifierConfig, DetectorConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.sites import DESCRIPTIONS, SEVERITIES, SITES, class_count

logger = logging.getLogger(__name__)
N = TypeVar("N", DetectorNetwork, ClassifierNetwork)

TIMM_FIELDS = {"encoder", "pointer_encoder", "backbone"}
# timm would take "hf-hub:..." to the network and "local-dir:..." out of the bundle.
TIMM_NAME = re.compile(r"\w+(\.\w+)?", re.ASCII)


def load_bundle(
    folder: Path, prepare: Callable[[Any], Any] = lambda network: network, strict: bool = True
) -> Bundle:
    """Load and check a bundle; networks come back in float32 and evaluation mode, on the CPU.

    Args:
        folder: The bundle's folder.
        prepare: Applied to each network as soon as it is loaded, before the next one is read. Returns a network of
            the same type.
        strict: Whether one member that can't be built or read here costs the whole bundle. Otherwise such members
            are in ``left_out``, as long as a detector and, where the manifest has any, a classifier remain.

    Raises:
        BundleError: The manifest is missing or malformed. Or a file has another size or hash, a path leaves the
            folder or is a link. Or a member can't be built or read here and is not left out.
    """
    manifest = read_manifest(folder)
    loader = Loader(folder, prepare, strict)
    detectors = [loader.detector(entry) for entry in manifest.detectors]
    classifiers = [loader.classifier(entry) for entry in manifest.classifiers]
    bundle = Bundle(
        name=manifest.name,
        trained_on=manifest.trained_on,
        detectors=tuple(detector for detector in detectors if detector.networks),
        classifiers=tuple(classifier for classifier in classifiers if classifier),
        prior=manifest.prior,
        fingerprint=manifest.fingerprint,
        calibration=manifest.calibration,
        attribution=manifest.attribution,
        left_out=tuple(loader.left_out),
    )
    if not bundle.detectors or (manifest.classifiers and not bundle.classifiers):
        kind = "classifier" if bundle.detectors else "detector"
        first = next(one for one in bundle.left_out if one.member.startswith(kind))
        raise BundleError(f"{folder}: no {kind} can be used here; {first.message}")
    return bundle


class Loader:
    """Loads the members of one bundle.

    Attributes:
        left_out: Members that can't be built or read here; always empty if the loader is strict.
    """

    def __init__(self, folder: Path, prepare: Callable[[Any], Any], strict: bool):
        self.folder, self.prepare, self.strict = folder, prepare, strict
        self.left_out: list[LeftOut] = []
        self.networks: dict[str, DetectorNetwork] = {}  # by manifest entry: detectors may share one

    def detector(self, entry: dict) -> Detector:
        """Return a detector with the networks that can be used."""
        options = ("figures", *SEARCH_OPTIONS)
        check_fields(entry, ("name", "xy", "networks"), "manifest, detectors", optional=options)
        where = f"detector {entry['name']!r}"
        if entry["xy"] not in POINT_KINDS:
            raise BundleError(f"manifest, {where}: got xy {entry['xy']!r}, expected one of {POINT_KINDS}")
        width = entry.get("sagittal_prior_mm")
        if width is not None:
            check_positive(width, f"manifest, {where}: got sagittal_prior_mm")
        joint = entry.get("joint_levels", False)
        if not isinstance(joint, bool):
            raise BundleError(
                f"manifest, {where}: got joint_levels {joint!r}, expected true or false; correct it"
            )
        if not isinstance(entry["networks"], dict) or not entry["networks"]:
            raise BundleError(
                f"manifest, {where}: got networks {entry['networks']!r}, expected one per description; correct it"
            )
        networks = {}
        for description, member in entry["networks"].items():
            with self.tolerated(f"{where}, {description}"):
                networks[description] = self.detector_network(description, member, f"manifest, {where}")
        return Detector(entry["name"], entry["xy"], networks, width, joint)

    def detector_network(self, description: str, member: dict, where: str) -> DetectorNetwork:
        """Return the network of one description; one that detectors share is loaded once."""
        key = json.dumps(member, sort_keys=True)
        if key not in self.networks:
            self.networks[key] = self.prepare(
                load_network(
                    self.folder, member, DetectorConfig, DetectorNetwork, f"{where}, {description!r}"
                )
            )
        network = self.networks[key]
        if description not in DESCRIPTIONS or network.config.description != description:
            raise BundleError(
                f"{where}: got a network of {network.config.description!r} under {description!r}, "
                f"expected it under its own description, one of {DESCRIPTIONS}"
            )
        return network

    def classifier(self, entry: dict) -> Classifier | None:
        """Return a classifier, or None if it can't be used."""
        where = f"manifest, classifier {entry['name']!r}"
        member = {key: value for key, value in entry.items() if key not in ("name", "weight")}
        check_fields(entry, ("name", "weight", *member), where)
        check_positive(entry["weight"], f"{where}: got weight")
        with self.tolerated(f"classifier {entry['name']!r}"):
            network = load_network(self.folder, member, ClassifierConfig, ClassifierNetwork, where)
            return Classifier(entry["name"], float(entry["weight"]), self.prepare(network))
        return None

    @contextmanager
    def tolerated(self, member: str) -> Iterator[None]:
        """Leave a member out that can't be built or read here; if the loader is strict, raise its MemberError."""
        try:
            yield
        except MemberError as error:
            if self.strict:
                raise
            logger.error("%s is left out: %s", member, error)
            self.left_out.append(LeftOut(member, str(error)))


def load_network(folder: Path, member: dict, config_type: type, network_type: type[N], where: str) -> N:
    """Build one network by its manifest entry and load its weights strictly."""
    check_fields(member, ("file", "sha256", "bytes", "config"), where, optional=("figures", "provenance"))
    fields = dataclasses.fields(config_type)
    options = tuple(f.name for f in fields if f.default is not dataclasses.MISSING)
    required = [f.name for f in fields if f.name not in options]
    check_fields(member["config"], required, f"{where}, config", optional=options)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in member["config"].items()}
    for field in sorted(TIMM_FIELDS & values.keys()):
        name = values[field]
        if not isinstance(name, str) or not TIMM_NAME.fullmatch(name):
            raise BundleError(f"{where}, config: got {field} {name!r}, expected a timm name; correct it")
    tensors = read_weights(folder, member, where)  # first: a wrong hash or path costs more than one member
    try:
        network = network_type(config_type(**values))
    except Exception as error:  # timm and torch raise anything
        cause = f"{type(error).__name__}: {error}"
        raise MemberError(
            f"{where}, config: can't be built ({cause}); correct the manifest, or install the timm it needs"
        ) from error
    load_strictly(network, tensors, where)
    try_out(network.eval(), where)
    return network


def try_out(network: DetectorNetwork | ClassifierNetwork, where: str) -> None:
    """Pass one empty slice through a network: one that does not compute fails now, not at every study."""
    try:
        with torch.inference_mode():
            if isinstance(network, DetectorNetwork):
                logits = network(torch.zeros(1, 1, DETECTOR_GRID, DETECTOR_GRID))[0]
                expected = (1, class_count(network.config.description), 1, DETECTOR_GRID, DETECTOR_GRID)
            else:
                features = network.features(torch.zeros(1, 1, CROP_INPUT, CROP_INPUT))
                slices = len(CROP_OFFSETS) + 2 * network.config.canal_margin
                logits = network.grade(features.expand(1, len(SITES), slices, -1))
                expected = (1, len(SITES), len(SEVERITIES))
    except Exception as error:  # timm and torch raise anything
        cause = f"{type(error).__name__}: {error}"
        raise MemberError(f"{where}: does not compute ({cause}); correct its config") from error
    if logits.shape != expected:
        raise MemberError(f"{where}: gives {tuple(logits.shape)}, expected {expected}; correct its config")
