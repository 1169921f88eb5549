"""A published checkpoint -> its stage, family and architecture, by keys and shapes; nothing is unpickled.

Both families of notebooks are known (5th-place write-up; their public data sets).
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import safetensors.torch
import timm
import torch
from torch import Tensor

from dataset.published.timm_shapes import state_shapes
from lumbar.faults import BundleError
from lumbar.networks.families import FAMILY_A, FAMILY_B, Family
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, class_count

MAX_CHECKPOINT_BYTES = 4 << 30  # the largest published one is below 1 GiB

BACKBONE_FAMILIES = {
    "convnext_tiny": FAMILY_A,
    "caformer_s18": FAMILY_A,
    "pvt_v2_b3": FAMILY_A,
    "convnext_small": FAMILY_B,
}

# timm names to try, by a key that the architecture alone has; the first that fits is taken. The b0-b7 of
# both spellings fit alike: the published ones are the "tf_" (padding and batch-norm epsilon differ).
CANDIDATES = (
    (r"^s1\.b1\.conv1\.conv\.weight$", ("regnety_*", "regnetx_*")),
    (r"^conv_stem\.weight$", ("tf_efficientnet_*", "efficientnet_*", "mobilenetv*")),
    (r"^stages\.0\.blocks\.0\.conv_dw\.weight$", ("convnext_*",)),
    (r"^stages\.\d\.blocks\.0\.token_mixer\.", ("caformer_*", "convformer_*", "poolformer*")),
    (r"^stages\.0\.blocks\.0\.attn\.q\.weight$", ("pvt_v2_*",)),
    (r"^layer1\.0\.conv1\.weight$", ("resnet*",)),
)
# Of architectures with equal tensors timm lists several (other activations, other input sizes): these are meant.
PREFERRED = ("regnety_002", "regnetx_002", "tf_efficientnet_b5", *BACKBONE_FAMILIES)


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors``, or from a pickle with ``weights_only=True``.

    Raises:
        BundleError: The file is missing or too large, or holds code or anything but tensors.
    """
    if not file.is_file():
        raise BundleError(f"{file}: no such file; check the path")
    if file.stat().st_size > MAX_CHECKPOINT_BYTES:
        raise BundleError(
            f"{file}: {file.stat().st_size} bytes, expected at most {MAX_CHECKPOINT_BYTES}; refused"
        )
    try:
        if file.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(file)
        else:
            tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # every way in which a foreign file can be wrong ends here, by name
        raise BundleError(f"{file}: not a state dict that loads safely ({error}); refused") from error
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise BundleError(f"{file}: got {type(tensors).__name__}, expected a flat state dict of tensors")
    return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}


@dataclass(frozen=True)
class CheckpointShape:
    """The stage, family and description that a checkpoint's keys and shapes imply.

    Attributes:
        backbone: timm's name of a classifier's backbone; None for a detector.
        family: Family with such networks; None where there is none.
        description: Of a detector's network with the class count, pointer or decoder of one description alone.
        reason: Why it is this description, for messages.
    """

    backbone: str | None
    family: Family | None
    description: str | None = None
    reason: str = ""


def shape_of(tensors: dict[str, Tensor], file: Path) -> CheckpointShape:
    """Return the facts that a state dict's keys and shapes imply.

    Raises:
        BundleError: The checkpoint is of neither stage.
    """
    if backbone := strip(tensors, "cnn.backbone."):
        name = recognise(backbone, file, num_classes=0, in_chans=1)
        return CheckpointShape(name, BACKBONE_FAMILIES.get(name))
    blocks = {key.split(".")[3] for key in tensors if key.startswith("segmenter.decoder.blocks.")}
    if not blocks or "segmenter.head.0.bias" not in tensors:
        raise BundleError(
            f"{file}: got keys such as {sorted(tensors)[:2]}, expected a stage-1 or stage-2 checkpoint of family A or "
            "B; refused (with --from, --skip leaves it out)"
        )
    lstm, classes = "pointer.rnn.weight_hh_l0" in tensors, len(tensors["segmenter.head.0.bias"])
    family = FAMILY_A if lstm and len(blocks) == 5 else FAMILY_B
    if classes == class_count(SAGITTAL_T2):
        return CheckpointShape(None, family, SAGITTAL_T2, f"it has {classes} classes")
    if not lstm:
        return CheckpointShape(None, family, AXIAL_T2, "its pointer is a transformer")
    if family is FAMILY_B:
        return CheckpointShape(
            None, family, SAGITTAL_T1, f"its encoder has {len(blocks)} feature levels and an LSTM"
        )
    return CheckpointShape(None, family)


def strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}


def recognise(tensors: dict[str, Tensor], file: Path, **options: object) -> str:
    """Return the timm name of the network with exactly these keys and shapes.

    Args:
        options: Of ``timm.create_model``.

    Raises:
        BundleError: No architecture of this kind fits.
    """
    shapes = tuple(sorted((key, tuple(tensor.shape)) for key, tensor in tensors.items()))
    name, tried = fitting_architecture(shapes, tuple(options.items()))
    if name is None:
        raise BundleError(
            f"{file}: {len(shapes)} tensors such as {[key for key, _ in shapes[:2]]} fit none of {tried} timm "
            "architectures of their kind; refused"
        )
    return name


@cache  # the files of an ensemble have few architectures
def fitting_architecture(shapes: tuple, options: tuple) -> tuple[str | None, int]:
    """Return the first timm name that fits, or None, and how many were tried."""
    patterns = next((names for key, names in CANDIDATES if any(re.match(key, k) for k, _ in shapes)), ())
    names = [name for pattern in patterns for name in timm.list_models(pattern)]
    for name in sorted(names, key=lambda name: name not in PREFERRED):
        if tuple(sorted(state_shapes(name, **dict(options)).items())) == shapes:
            return name, len(names)
    return None, len(names)
