"""One file of weights: its path, size and hash checked before use, its tensors loaded strictly.

Weights are safetensors; nothing is ever unpickled here.
"""

import hashlib
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from lumbar.faults import BundleError, MemberError


def read_weights(folder: Path, member: dict, where: str) -> dict[str, Tensor]:
    """Read a member's safetensors after checking its path, size and SHA-256."""
    if not isinstance(member["file"], str) or "\0" in member["file"]:
        raise BundleError(
            f"{where}: got file {member['file']!r}, expected a path inside the bundle; correct it"
        )
    relative = Path(member["file"])
    path = folder / relative
    inside = not leaves_folder(relative) and path.resolve().is_relative_to(folder.resolve())
    steps = [folder.joinpath(*relative.parts[: i + 1]) for i in range(len(relative.parts))]
    if not inside or any(step.is_symlink() for step in steps):
        raise BundleError(
            f"{where}: got file {member['file']!r}, expected a path inside the bundle that is no link; refused"
        )
    if not path.is_file():
        raise MemberError(f"{where}: {path} is missing; copy the bundle again, sub-folders included")
    advice = "the file is damaged or of another version, copy it again"
    try:
        size = path.stat().st_size
        raw = path.read_bytes() if size == member["bytes"] else b""  # of another size: it may be of any
    except OSError as error:
        raise MemberError(f"{where}: {path} can't be read ({error}); copy the bundle again") from error
    if size != member["bytes"]:
        raise BundleError(f"{where}: {path} has {size} bytes, expected {member['bytes']}; {advice}")
    digest = hashlib.sha256(raw).hexdigest()
    if digest != member["sha256"]:
        expected = f"{str(member['sha256'])[:12]}..."
        raise BundleError(f"{where}: {path} has SHA-256 {digest[:12]}..., expected {expected}; {advice}")
    try:
        return safetensors.torch.load(raw)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise MemberError(f"{where}: {path} is not a safetensors file ({error}); export it again") from error


def leaves_folder(relative: Path) -> bool:
    """Return whether a path that should be relative to a folder is absolute or has a step up."""
    return relative.is_absolute() or ".." in relative.parts


def load_strictly(network: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Load a state dict that must fit to the key and the shape; MemberError names what does not."""
    expected = network.state_dict()
    missing, surplus = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or surplus:
        raise MemberError(
            f"{where}: the weights do not fit the architecture. Missing keys: {missing[:3]} ({len(missing)}), "
            f"keys too many: {surplus[:3]} ({len(surplus)}). The manifest's config is not the trained one."
        )
    for key, tensor in tensors.items():
        if tensor.shape != expected[key].shape:
            raise MemberError(
                f"{where}: {key}: got shape {tuple(tensor.shape)}, expected {tuple(expected[key].shape)}; "
                "the manifest's config is not the one trained"
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise MemberError(f"{where}: {key}: got NaN or Inf, expected finite weights; export it again")
    network.load_state_dict(tensors)
