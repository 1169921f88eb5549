"""The networks of an ensemble -> ``weights_manifest.json`` and safetensors, as ``lumbar.bundle.loading`` reads them."""

import dataclasses
import hashlib
import json
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from lumbar.atomic_files import write_atomically
from lumbar.bundle.loading import Bundle, Classifier, Detector
from lumbar.bundle.manifest import FORMAT, MANIFEST, read_manifest
from lumbar.bundle.weights import BundleError, leaves_folder
from lumbar.sites import DESCRIPTION_KEYS

INTENDED_USE = "research; not for clinical use"


def write_bundle(bundle: Bundle, folder: Path, weights: str = "weights", figures: dict | None = None) -> Path:
    """Write a bundle: float16 safetensors under ``folder/weights``, then the manifest; return its path.

    A network that several detectors share is written once. figures: what is known of each member by name
    (cross-validation scores, provenance), kept in the manifest for people. Floats become float16, which
    inference reads back into float32; the bundle's own fingerprint is not used. Where a bundle lies there
    already, the weights of its members that are gone are removed. Raises BundleError for weights beyond
    float16 and for a ``weights`` folder outside the bundle.
    """
    if leaves_folder(Path(weights)):
        raise BundleError(
            f"weights: got the folder {weights}, expected one inside {folder}; give a path relative to it"
        )
    figures = figures or {}
    files = NetworkFiles(folder, Path(weights))
    manifest = {
        "format": FORMAT,
        "name": bundle.name,
        "trained_on": bundle.trained_on,
        "intended_use": INTENDED_USE,
        "detectors": [
            {"name": detector.name, "xy": detector.xy, "networks": files.write_detector(detector)}
            | known(figures, detector)
            for detector in bundle.detectors
        ],
        "classifiers": [
            {"name": member.name, "weight": member.weight}
            | files.write(member.network, member.name)
            | known(figures, member)
            for member in bundle.classifiers
        ],
        "prior": bundle.prior.round(4).tolist(),
    }
    older = older_files(folder)
    path = write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    for file in older - {entry["file"] for entry in files.entries.values()}:
        (folder / file).unlink(missing_ok=True)
    return path


class NetworkFiles:
    """A bundle's weights: one file a network, however many members it serves. entries: by the network's identity."""

    def __init__(self, folder: Path, weights: Path):
        self.folder, self.weights = folder, weights
        self.entries: dict[int, dict] = {}

    def write_detector(self, detector: Detector) -> dict[str, dict]:
        """Write a detector's networks and return their manifest entries by description."""
        return {
            description: self.write(network, f"{detector.name}-{DESCRIPTION_KEYS[description]}")
            for description, network in detector.networks.items()
        }

    def write(self, network: nn.Module, name: str) -> dict:
        """Write a network, unless it is written, and return its manifest entry."""
        if id(network) in self.entries:
            return self.entries[id(network)]
        half = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
        if not all(torch.isfinite(tensor).all() for tensor in half.values()):
            raise BundleError(f"{name}: a weight is NaN, infinite or beyond float16's 65504; train it again")
        raw = safetensors.torch.save({k: v.contiguous().cpu() for k, v in half.items()})
        file = self.weights / f"{name}.safetensors"
        write_atomically(self.folder / file, raw)
        self.entries[id(network)] = {
            "file": file.as_posix(),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "bytes": len(raw),
            "config": dataclasses.asdict(network.config),
        }
        return self.entries[id(network)]


def older_files(folder: Path) -> set[str]:
    """Return the weights that a manifest which lies there already names, links and paths that leave it apart."""
    try:
        named = read_manifest(folder).files
    except (BundleError, KeyError, TypeError, AttributeError):  # none, or none that anything can be told of
        return set()
    return {
        file
        for file in named
        if isinstance(file, str)
        and file.endswith(".safetensors")
        and not leaves_folder(Path(file))
        and not (folder / file).is_symlink()
        and (folder / file).resolve().is_relative_to(folder.resolve())
    }


def known(figures: dict, member: Detector | Classifier) -> dict:
    return {"figures": figures[member.name]} if member.name in figures else {}
