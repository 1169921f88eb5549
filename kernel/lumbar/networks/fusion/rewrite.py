"""Networks rewritten to compute the same with fewer operations, for inference only.

All rewrites are exact but for rounding:

* Batch norms are folded into the convolutions before them.
* A decoder block's convolution over a freshly enlarged image is done on the small image, as a transposed one. Taps
  that meet the same small pixel are added up beforehand, which leaves 16 of 36 products.
* A block's layer scale is folded into the linear layer before it. With AMP the sum over all blocks then stays in the
  short type.
* On a CPU, activations join the layer before them, and linear layers go to the faster of torch's two libraries. A
  detector's weights are kept in that library's order (``onednn``).
* On a CPU, a pointer's early stages take a few images at a time.
"""

import copy
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import torch
from timm.models import FeatureListNet
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from lumbar.grids import CROP_INPUT, DETECTOR_GRID
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DecoderBlock, DetectorNetwork, Segmenter
from lumbar.networks.device import Device
from lumbar.networks.fusion import onednn
from lumbar.networks.fusion.blocks import FusedDecoderBlock, SmallBatches

logger = logging.getLogger(__name__)
M = TypeVar("M", bound=nn.Module)
R = TypeVar("R", bound=nn.Module)
BLOBS = 12  # along each side of the picture that outputs are compared for
LARGE = 4  # an image's side over a map's, at most, for the map to count as large
# Of the largest output. The float32 rounding of most networks stays a hundred times below it.
TOLERANCE = 1e-3
# Of a network that amplifies rounding further: this multiple of its own distance from its float64 output, but at
# most this part of the largest output.
ROUNDING, MOST_ROUNDING = 2, 0.05


def fuse(network: DetectorNetwork | ClassifierNetwork, device: Device) -> DetectorNetwork | ClassifierNetwork:
    """Return the network rewritten for a device, on its tensors where they stayed the same.

    It can't be trained or written.
    """
    fused = copy_modules(network)
    detects = isinstance(network, DetectorNetwork)
    parts = detector_parts() if detects else classifier_parts()
    # A detector is small and takes few slices at a time. Classifiers may wait in a file: their copy would not.
    suit = partial(suit_cpu, ordered=detects)
    suited = device.torch.type == "cpu" and not device.fixed_shapes and onednn.available()
    for name, fold, image, function in parts:
        part = fused.get_submodule(name)
        with torch.inference_mode():
            output = function(part)(image)
        for rewrite in (fold, suit) if suited else (fold,):
            part, output = checked(part, rewrite, image, function, output)
        fused.set_submodule(name, part)
    return fused


def detector_parts() -> list[tuple[str, Callable, Tensor, Callable]]:
    """Return the rewritten parts of a detector: name, function that folds it, an image, how it is called."""
    image = smooth_picture(3, DETECTOR_GRID)
    return [
        ("segmenter", fold_segmenter, image, lambda segmenter: segmenter),
        ("pointer.encoder", fold, image, lambda encoder: lambda x: encoder(x)[-1]),
    ]


def classifier_parts() -> list[tuple[str, Callable, Tensor, Callable]]:
    return [("backbone", fold, smooth_picture(1, CROP_INPUT), lambda backbone: backbone)]


def copy_modules(network: M) -> M:
    """Return a copy with modules that may be changed. Tensors are shared: an ensemble is never in memory twice."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared)


def smooth_picture(channels: int, size: int) -> Tensor:
    """Draw blobs and a little noise, 0..1: (1, channel, size, size), the same at every call.

    White noise would be no measure: no slice looks like it, and an EfficientNet amplifies its rounding until that is a
    third of the output.
    """
    generator = torch.Generator().manual_seed(0)
    blobs = torch.rand(1, channels, BLOBS, BLOBS, generator=generator)
    smooth = F.interpolate(blobs, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1)
    return 0.98 * smooth + 0.02 * torch.rand(1, channels, size, size, generator=generator)


def checked(
    network: nn.Module, rewrite: Callable, image: Tensor, function: Callable, output: Tensor
) -> tuple[nn.Module, Tensor]:
    """Return a rewritten copy of the network and its output, or the given ones if the outputs differ.

    A bundle may name any of timm's networks, also one with a convolution that feeds more than its batch norm and must
    not be folded. A later torch may lack the operations of ``lumbar.networks.fusion.onednn`` or change them.

    Args:
        network: A part of a network, in evaluation mode and float32.
        rewrite: Changes a network in place; called with the network, ``function(network)`` and ``image``.
        image: The picture for which outputs are compared.
        function: Network -> its rewritten part, a callable of ``image``.
        output: ``function(network)(image)``.
    """
    fused, name = copy_modules(network), type(network).__name__
    try:
        with torch.inference_mode():
            rewrite(fused, function(fused), image)
            given = function(fused)(image)
            difference = (given - output).abs().max() / output.abs().max()
            if difference <= TOLERANCE or equal_but_for_rounding(given, output, network, image, function):
                return fused, given
    except Exception as error:  # what timm and torch raise depends on the network
        logger.warning("%s: fails when fused (%s); left as it is", name, error)
        return network, output
    text = "%s: differs by %.1e of its largest output when fused; left as it is"
    logger.warning(text, name, difference)
    return network, output


def equal_but_for_rounding(
    given: Tensor, output: Tensor, network: nn.Module, image: Tensor, function: Callable
) -> bool:
    """Return whether a rewritten network is about as far from the float64 output as the network itself is."""
    exact = function(copy.deepcopy(network).double())(image.double())
    largest = exact.abs().max()
    allowed = min(ROUNDING * (output - exact).abs().max(), MOST_ROUNDING * largest)
    return bool((given - exact).abs().max() <= allowed)


def fold_segmenter(segmenter: Segmenter, function: Callable, image: Tensor) -> None:
    """Fold a segmenter, and move its decoder's first convolutions before the enlargement."""
    fold(segmenter, function, image)
    for number, block in enumerate(segmenter.decoder):
        segmenter.decoder[number] = FusedDecoderBlock(cast(DecoderBlock, block))


def fold(network: nn.Module, function: Callable, image: Tensor) -> None:
    fold_batch_norms(network, function, image)
    fold_layer_scales(network)


def fold_batch_norms(network: nn.Module, function: Callable, image: Tensor) -> None:
    """Fold each batch norm that reads a convolution's own output tensor into that convolution, in place.

    The activations that timm keeps inside its batch norms stay in their place.
    """
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    names = {module: name for name, module in network.named_modules()}
    for convolution, norm in direct_readers(convolutions, norms, lambda: function(image)):
        folded = fuse_conv_bn_eval(convolution, norm)
        convolution.weight, convolution.bias = folded.weight, folded.bias
        network.set_submodule(names[norm], getattr(norm, "act", nn.Identity()))


def direct_readers(makers: list[M], readers: list[R], run: Callable[[], object]) -> list[tuple[M, R]]:
    """Return the pairs of a maker and a reader of its own output tensor, while ``run`` runs them.

    A reader of further tensors is left out.
    """
    made: dict[int, tuple[M, Tensor]] = {}  # by the tensor's identity; held, so that it stays unique
    read: dict[R, list[M | None]] = {}

    def saw_maker(module: M, _inputs: tuple, output: Tensor) -> None:
        made[id(output)] = (module, output)

    def saw_reader(module: R, inputs: tuple) -> None:
        read.setdefault(module, []).append(made.get(id(inputs[0]), (None,))[0])

    hooks = [maker.register_forward_hook(saw_maker) for maker in makers]
    hooks += [reader.register_forward_pre_hook(saw_reader) for reader in readers]
    run()
    for hook in hooks:
        hook.remove()
    return [
        (maker, reader)
        for reader, seen in read.items()
        if None not in seen
        for maker in seen
        if maker is not None
    ]


def fold_layer_scales(network: nn.Module) -> None:
    """Fold convnext's factor per channel at a block's end into the layer before it, in place."""
    for block in network.modules():
        if isinstance(block, ConvNeXtBlock) and block.gamma is not None:
            last: Any = block.mlp.fc2
            scale = block.gamma.detach()
            last.weight = nn.Parameter(last.weight * scale.view(-1, *[1] * (last.weight.ndim - 1)))
            last.bias = nn.Parameter(last.bias * scale)
            block.gamma = None


def suit_cpu(network: nn.Module, function: Callable, image: Tensor, ordered: bool) -> None:
    """Join layers that oneDNN computes in one pass over memory, and pass few images at once through early stages."""
    join_activations(network, function, image, ordered)
    for module in list(network.modules()):
        if isinstance(module, FeatureListNet):
            batch_early_stages(module)


def join_activations(network: nn.Module, function: Callable, image: Tensor, ordered: bool = False) -> None:
    """Join each activation to the layer before it, and replace all linear layers, in place.

    Only layers that are called are replaced: an attention reads its output layer's weights itself.

    Args:
        ordered: Replace all other layers too, and keep their weights in oneDNN's order.
    """
    names = {module: name for name, module in network.named_modules()}
    layers = [module for module in names if type(module) in onednn.LAYERS]
    activations = [module for module in names if type(module) in onednn.ACTIVATIONS]
    joined = dict(direct_readers(layers, activations, lambda: function(image)))
    for layer in layers:
        if layer in joined or type(layer) is nn.Linear or ordered:
            replacement = onednn.LAYERS[type(layer)](layer, joined.get(layer), ordered)
            network.set_submodule(names[layer], replacement)
    for activation in joined.values():
        network.set_submodule(names[activation], nn.Identity())


def batch_early_stages(encoder: FeatureListNet) -> None:
    """Pass a few images at a time through stages with large maps, if no later stage reads their results."""
    reduction = {info["module"].replace(".", "_"): info["reduction"] for info in encoder.feature_info.info}
    large = [number for number, name in enumerate(encoder) if reduction.get(name, LARGE + 1) <= LARGE]
    early = list(encoder)[: large[-1] + 1] if large else []
    if early and not set(early) & encoder.return_layers.keys():
        encoder[early[0]] = SmallBatches(*(encoder[name] for name in early))
        for name in early[1:]:
            encoder[name] = nn.Identity()
