"""The networks of an ensemble -> ``weights_manifest.json`` and safetensors, as ``lumbar.bundle.loading`` reads them."""

import hashlib
import json
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from lumbar.atomic_files import write_atomically
from lumbar.bundle.manifest import FORMAT, MANIFEST, read_manifest
from lumbar.bundle.members import SEARCH_OPTIONS, Bundle, Classifier, Detector
from lumbar.bundle.weights import leaves_folder
from lumbar.faults import BundleError
from lumbar.networks.architecture import stored_fields
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.sites import DESCRIPTION_KEYS

INTENDED_USE = "research; not for clinical use"
MOST_HALF = torch.finfo(torch.float16).max  # 65504


def write_bundle(
    bundle: Bundle, folder: Path, weights: str = "weights", figures: dict | None = None, half: bool = False
) -> Path:
    """Write a bundle: safetensors under ``folder/weights``, then the manifest.

    A network that several detectors share is written once. Where a bundle lies there already, the weights of its
    members that are gone are removed.

    Args:
        bundle: Members in the order of the manifest; the fingerprint is not used.
        folder: Where the manifest lies.
        weights: Folder of the weights, relative to the manifest.
        figures: Facts about each member by name (cross-validation scores, provenance), for people.
        half: Round every weight to float16. Without it no weight changes: a tensor is stored in float16 where
            that is exact, otherwise as it is. Inference reads either into float32.

    Returns:
        The manifest's path.

    Raises:
        BundleError: A weight is not finite or, with ``half``, beyond float16; ``weights`` leaves the bundle.
    """
    if leaves_folder(Path(weights)):
        raise BundleError(
            f"weights: got the folder {weights}, expected one inside {folder}; give a path relative to it"
        )
    figures = figures or {}
    files = NetworkFiles(folder, Path(weights), half)
    manifest = {
        "format": FORMAT,
        "name": bundle.name,
        "trained_on": bundle.trained_on,
        "intended_use": INTENDED_USE,
        "detectors": [
            {"name": detector.name, "xy": detector.xy, "networks": files.write_detector(detector)}
            | search_options(detector)
            | known(figures, detector)
            for detector in bundle.detectors
        ],
        "classifiers": [
            {"name": member.name, "weight": member.weight}
            | files.write(member.network, member.name)
            | known(figures, member)
            for member in bundle.classifiers
        ],
        "prior": bundle.prior.round(6).tolist(),
    }
    if bundle.attribution:
        manifest["attribution"] = list(bundle.attribution)
    if bundle.calibration:
        manifest["calibration"] = bundle.calibration.to_json()
    older = older_files(folder)
    path = write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    for file in older - {entry["file"] for entry in files.entries.values()}:
        (folder / file).unlink(missing_ok=True)
    return path


class NetworkFiles:
    """A bundle's weights: one file per network, however many members it serves.

    Attributes:
        entries: Manifest entries by the network's identity.
    """

    def __init__(self, folder: Path, weights: Path, half: bool):
        self.folder, self.weights, self.half = folder, weights, half
        self.entries: dict[int, dict] = {}

    def write_detector(self, detector: Detector) -> dict[str, dict]:
        """Write a detector's networks and return their manifest entries by description."""
        return {
            description: self.write(network, f"{detector.name}-{DESCRIPTION_KEYS[description]}")
            for description, network in detector.networks.items()
        }

    def write(self, network: DetectorNetwork | ClassifierNetwork, name: str) -> dict:
        """Write a network, unless it is written, and return its manifest entry."""
        if id(network) in self.entries:
            return self.entries[id(network)]
        raw = safetensors.torch.save(stored(network, name, self.half))
        file = self.weights / f"{name}.safetensors"
        write_atomically(self.folder / file, raw)
        self.entries[id(network)] = {
            "file": file.as_posix(),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "bytes": len(raw),
            "config": stored_fields(network.config),
        }
        return self.entries[id(network)]


def stored(network: nn.Module, name: str, half: bool) -> dict[str, Tensor]:
    """Return a network's tensors as they are written, see ``write_bundle``.

    Args:
        name: The member's name, for messages.
    """
    tensors = {}
    for key, tensor in network.state_dict().items():
        kept = tensor.detach().cpu().contiguous()
        if kept.is_floating_point():
            if not torch.isfinite(kept).all():
                raise BundleError(
                    f"{name}: {key}: got NaN or an infinite weight, expected finite ones; train it again"
                )
            if half and (kept.abs() > MOST_HALF).any():
                raise BundleError(
                    f"{name}: {key}: got a weight of {kept.abs().max():g}, expected at most {MOST_HALF:g}, the largest "
                    "float16 holds; keep float32 (import without --half)"
                )
        tensors[key] = kept.to(stored_type(kept, half))
    return tensors


def stored_type(tensor: Tensor, half: bool) -> torch.dtype:
    """Return the type that a tensor is written in: float16 if it is exact or ``half`` rounds, otherwise its own."""
    if not tensor.is_floating_point():
        return tensor.dtype
    exact = half or torch.equal(tensor.half().to(tensor.dtype), tensor)
    return torch.float16 if exact else tensor.dtype


def stored_bytes(network: nn.Module, half: bool) -> int:
    """Return the bytes of a network's tensors as they are written; the file has a header of some kB besides."""
    tensors = network.state_dict().values()
    return sum(tensor.numel() * stored_type(tensor, half).itemsize for tensor in tensors)


def older_files(folder: Path) -> set[str]:
    """Return the weights that a manifest which lies there already names, links and paths that leave it apart."""
    try:
        named = read_manifest(folder).files
    except (BundleError, KeyError, TypeError, AttributeError):  # none, or none that can be read
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


def search_options(detector: Detector) -> dict:
    """Return the options of a detector's search that are on."""
    return {name: value for name in SEARCH_OPTIONS if (value := getattr(detector, name))}


def known(figures: dict, member: Detector | Classifier) -> dict:
    return {"figures": figures[member.name]} if member.name in figures else {}
