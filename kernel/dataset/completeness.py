"""Check that a bundle loads and can grade every site."""

from pathlib import Path

from torch import nn

from lumbar.bundle.loading import load_bundle
from lumbar.bundle.manifest import Manifest, read_manifest
from lumbar.faults import BundleError
from lumbar.sites import DESCRIPTIONS


def check_bundle(folder: Path, partial: bool) -> Manifest:
    """Load every member of a bundle, one network in memory at a time, and return its manifest.

    Args:
        partial: Accept a bundle that can't grade every site.

    Raises:
        BundleError: A member can't be built, or the bundle lacks a classifier or a description.
    """
    load_bundle(folder, prepare=forget)
    manifest = read_manifest(folder)
    refuse_incomplete(manifest.descriptions, len(manifest.classifiers), str(folder), partial)
    return manifest


def forget(network: nn.Module) -> nn.Module:
    """Drop a network's weights, which loading has checked."""
    return network.to("meta")


def refuse_incomplete(described: set[str], classifiers: int, where: str, partial: bool) -> None:
    """Refuse a bundle without a classifier or with a description that no detector reads.

    Args:
        described: Descriptions that a detector reads.
        classifiers: Number of classifiers.
        where: Folder or command, for the message.
        partial: Accept the bundle.

    Raises:
        BundleError: Some sites would get the prior.
    """
    lacking = [f"a detector of {description}" for description in DESCRIPTIONS if description not in described]
    if not classifiers:
        lacking.append("any classifier")
    if lacking and not partial:
        raise BundleError(
            f"{where}: lacks {', '.join(lacking)}, so sites would get the prior; add it, or give --partial if that is "
            "meant"
        )
