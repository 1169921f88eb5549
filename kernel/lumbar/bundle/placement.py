"""A bundle's networks on a device: each rewritten, placed there, and parked where memory is small."""

from dataclasses import replace
from pathlib import Path

from lumbar.bundle.loading import load_bundle
from lumbar.bundle.members import Bundle
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.device import Device
from lumbar.networks.fusion.rewrite import fuse
from lumbar.networks.parked_weights import Scratch

RESIDENT_BYTES = 2**28  # bytes of classifiers' weights that stay in memory: two convnext_small in bfloat16


def ready_bundle(folder: Path, device: Device, strict: bool = True) -> Bundle:
    """Load a bundle's networks, each rewritten and placed before the next: in float32 there is never more than one.

    On a CPU only the first classifiers' weights stay in memory, ``RESIDENT_BYTES`` bytes. The arguments and errors
    are those of ``load_bundle``.
    """
    scratch = Scratch(RESIDENT_BYTES)

    def ready(network: DetectorNetwork | ClassifierNetwork) -> DetectorNetwork | ClassifierNetwork:
        network = rewritten(network, device)
        if device.torch.type == "cpu" and isinstance(network, ClassifierNetwork):
            scratch.keep(network)
        return network

    return replace(load_bundle(folder, ready, strict), scratch=scratch)


def rewritten(
    network: DetectorNetwork | ClassifierNetwork, device: Device
) -> DetectorNetwork | ClassifierNetwork:
    """Return a network rewritten for a device, and placed there."""
    network = fuse(network, device)
    device.place(network)
    return network


def place(bundle: Bundle, device: Device) -> None:
    """Move all networks of the bundle to a device."""
    for detector in bundle.detectors:
        for network in detector.networks.values():
            device.place(network)
    for member in bundle.classifiers:
        device.place(member.network)
