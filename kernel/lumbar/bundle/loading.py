"""``weights_manifest.json`` and safetensors -> the networks of an ensemble; ``bundle_writing`` is the way back.

The manifest carries every member's architecture, so nothing is guessed at loading: configurations are
frozen dataclasses without defaults, files are checked by SHA-256 before use, state dicts load strictly,
and nothing is ever unpickled. Paths are relative to the manifest, stay inside its folder and are no links.
"""

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lumbar.bundle.manifest import check_fields, read_manifest
from lumbar.bundle.weights import BundleError, load_strictly, read_weights
from lumbar.grids import CROP_INPUT, CROP_OFFSETS, DETECTOR_GRID
from lumbar.networks.classifier import ClassifierConfig, ClassifierNetwork
from lumbar.networks.detector import DetectorConfig, DetectorNetwork
from lumbar.networks.parked_weights import Scratch
from lumbar.sites import DESCRIPTIONS, SEVERITIES, SITES, class_count

POINT_KINDS = ("fixed", "dynamic")
TIMM_FIELDS = {"encoder", "pointer_encoder", "backbone"}
# timm would take "hf-hub:..." to the network and "local-dir:..." out of the bundle.
TIMM_NAME = re.compile(r"\w+(\.\w+)?", re.ASCII)


@dataclass(frozen=True)
class Detector:
    """One member of stage 1: up to three networks, and how its heatmaps become points."""

    name: str
    xy: str
    networks: dict[str, DetectorNetwork]


@dataclass(frozen=True)
class Classifier:
    """One member of stage 2 and its weight in the mean."""

    name: str
    weight: float
    network: ClassifierNetwork


@dataclass(frozen=True)
class Bundle:
    """An ensemble that is ready to run; members are in the manifest's order, most valuable first.

    prior: (25, 3) float64, rows sum to 1: what is submitted for a study that can't be read.
    fingerprint: SHA-256 of the manifest, which itself holds every file's hash. scratch: where classifiers wait.
    """

    name: str
    trained_on: str
    detectors: tuple[Detector, ...]
    classifiers: tuple[Classifier, ...]
    prior: np.ndarray
    fingerprint: str
    scratch: Scratch = dataclasses.field(default_factory=lambda: Scratch(resident_bytes=0))


def load_bundle(folder: Path, prepare: Callable[[nn.Module], nn.Module] = lambda network: network) -> Bundle:
    """Load and check a bundle; networks come back in float32 and evaluation mode, on the CPU.

    prepare: what becomes of each network as soon as it is there, before the next one is read.
    Raises BundleError for a missing or malformed manifest, a missing file, a wrong hash, an unknown or
    missing field, tensors that do not fit the architecture, and a path that leaves the folder.
    """
    manifest = read_manifest(folder)
    networks: dict[str, nn.Module] = {}  # by manifest entry: detectors may share one
    return Bundle(
        name=manifest.name,
        trained_on=manifest.trained_on,
        detectors=tuple(load_detector(folder, entry, networks, prepare) for entry in manifest.detectors),
        classifiers=tuple(load_classifier(folder, entry, prepare) for entry in manifest.classifiers),
        prior=manifest.prior,
        fingerprint=manifest.fingerprint,
    )


def load_detector(folder: Path, entry: dict, shared: dict[str, nn.Module], prepare: Callable) -> Detector:
    check_fields(entry, ("name", "xy", "networks"), "manifest, detectors", optional=("figures",))
    where = f"manifest, detector {entry['name']!r}"
    if entry["xy"] not in POINT_KINDS:
        raise BundleError(f"{where}: got xy {entry['xy']!r}, expected one of {POINT_KINDS}")
    if not isinstance(entry["networks"], dict) or not entry["networks"]:
        raise BundleError(
            f"{where}: got networks {entry['networks']!r}, expected one a description; correct it"
        )
    networks = {}
    for description, member in entry["networks"].items():
        key = json.dumps(member, sort_keys=True)
        if key not in shared:
            shared[key] = prepare(
                load_network(folder, member, DetectorConfig, DetectorNetwork, f"{where}, {description!r}")
            )
        network = shared[key]
        if description not in DESCRIPTIONS or network.config.description != description:
            raise BundleError(
                f"{where}: got a network of {network.config.description!r} under {description!r}, "
                f"expected it under its own description, one of {DESCRIPTIONS}"
            )
        networks[description] = network
    return Detector(entry["name"], entry["xy"], networks)


def load_classifier(folder: Path, entry: dict, prepare: Callable) -> Classifier:
    where = f"manifest, classifier {entry['name']!r}"
    member = {key: value for key, value in entry.items() if key not in ("name", "weight")}
    network = load_network(folder, member, ClassifierConfig, ClassifierNetwork, where)
    check_fields(entry, ("name", "weight", *member), where)
    if not (isinstance(entry["weight"], int | float) and 0 < entry["weight"] < float("inf")):
        raise BundleError(f"{where}: got weight {entry['weight']!r}, expected a number above 0")
    return Classifier(entry["name"], float(entry["weight"]), prepare(network))


def load_network(
    folder: Path, member: dict, config_type: type, network_type: Callable, where: str
) -> nn.Module:
    """Build one network as its manifest entry says and load its weights strictly."""
    check_fields(member, ("file", "sha256", "bytes", "config"), where, optional=("figures", "provenance"))
    check_fields(member["config"], [f.name for f in dataclasses.fields(config_type)], f"{where}, config")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in member["config"].items()}
    for field in sorted(TIMM_FIELDS & values.keys()):
        if not isinstance(values[field], str) or not TIMM_NAME.fullmatch(values[field]):
            raise BundleError(
                f"{where}, config: got {field} {values[field]!r}, expected a timm name; correct it"
            )
    try:
        network = network_type(config_type(**values))
    except Exception as error:  # what timm and torch raise depends on the values
        cause = f"{type(error).__name__}: {error}"
        raise BundleError(f"{where}, config: can't be built ({cause}); correct the manifest") from error
    load_strictly(network, read_weights(folder, member, where), where)
    try_out(network.eval(), where)
    return network


def try_out(network: nn.Module, where: str) -> None:
    """Pass one empty slice through a network: what does not compute says so now, not at every study."""
    try:
        with torch.inference_mode():
            if isinstance(network, DetectorNetwork):
                logits = network(torch.zeros(1, 1, DETECTOR_GRID, DETECTOR_GRID))[0]
                expected = (1, class_count(network.config.description), 1, DETECTOR_GRID, DETECTOR_GRID)
            else:
                features = network.features(torch.zeros(1, 1, CROP_INPUT, CROP_INPUT))
                logits = network.grade(features.expand(1, len(SITES), len(CROP_OFFSETS), -1))
                expected = (1, len(SITES), len(SEVERITIES))
    except Exception as error:  # what timm and torch raise depends on the values
        cause = f"{type(error).__name__}: {error}"
        raise BundleError(f"{where}: does not compute ({cause}); correct its config") from error
    if logits.shape != expected:
        raise BundleError(f"{where}: gives {tuple(logits.shape)}, expected {expected}; correct its config")
