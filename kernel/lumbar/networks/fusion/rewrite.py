"""Networks rewritten to compute the same with fewer operations, for inference only.

Batch norms are folded into the convolutions before them. A decoder block's convolution over an image that was
just enlarged is done on the small image, as a transposed one: taps that meet the same small pixel are added up
beforehand, which leaves 16 of 36 products. A block's layer scale is folded into the linear layer before it, so that
with AMP the sum over all blocks stays in the short type. On a CPU, activations join the layer before them, linear
layers go to the faster of torch's two libraries, and a detector's weights are kept in that library's order
(``onednn``); a pointer's early stages see a few images at a time. All are exact but for rounding.
"""

import copy
import logging
from collections.abc import Callable
from functools import partial

import torch
from timm.models import FeatureListNet
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lumbar.grids import CROP_INPUT, DETECTOR_GRID
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork, Segmenter
from lumbar.networks.device import Device
from lumbar.networks.fusion import onednn
from lumbar.networks.fusion.blocks import FusedDecoderBlock, SmallBatches

logger = logging.getLogger(__name__)
LARGE = 4  # an image's side over a map's, at most, for the map to count as large
TOLERANCE = 1e-3  # of the largest output; float32 rounding stays a hundred times below it


def fuse(network: DetectorNetwork | ClassifierNetwork, device: Device) -> DetectorNetwork | ClassifierNetwork:
    """Return the network rewritten for a device, on its tensors where they stayed the same.

    It can't be trained or written.
    """
    fused = copy_modules(network)
    detects = isinstance(network, DetectorNetwork)
    parts = detector_parts() if detects else classifier_parts()
    # A detector is small and sees few slices at a time. Classifiers may wait in a file: their copy would not.
    suit = partial(suit_cpu, ordered=detects)
    for name, fold, image, function in parts:
        part = checked(fused.get_submodule(name), fold, image, function)
        if device.torch.type == "cpu" and onednn.available():
            part = checked(part, suit, image, function)
        fused.set_submodule(name, part)
    return fused


def detector_parts() -> list[tuple[str, Callable, Tensor, Callable]]:
    """Return what of a detector is rewritten: its name, how it is folded, an image, how it is called."""
    image = noise(3, DETECTOR_GRID)
    return [
        ("segmenter", fold_segmenter, image, lambda segmenter: segmenter),
        ("pointer.encoder", fold, image, lambda encoder: lambda x: encoder(x)[-1]),
    ]


def classifier_parts() -> list[tuple[str, Callable, Tensor, Callable]]:
    return [("backbone", fold, noise(1, CROP_INPUT), lambda backbone: backbone)]


def copy_modules(network: nn.Module) -> nn.Module:
    """Return a copy whose modules may be changed; tensors are shared, so an ensemble is never there twice."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared)


def noise(channels: int, size: int) -> Tensor:
    return torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(0))


def checked(network: nn.Module, rewrite: Callable, image: Tensor, function: Callable) -> nn.Module:
    """Return a rewritten copy of the network, or the network where the copy does not give the same.

    function: network -> what of it is rewritten, a callable of ``image``. A bundle may name any of timm's
    networks: one whose convolution feeds more than its batch norm must not be folded. Nor is it sure that a torch
    to come has the operations of ``lumbar.networks.fusion.onednn`` as they are now.
    """
    fused = copy_modules(network)
    with torch.inference_mode():
        expected = function(network)(image)
        try:
            rewrite(fused, function(fused), image)
            given = function(fused)(image)
        except Exception as error:  # what timm and torch raise depends on the network
            logger.warning("%s: fails when fused (%s); left as it is", type(network).__name__, error)
            return network
    if (given - expected).abs().max() <= TOLERANCE * expected.abs().max():
        return fused
    logger.warning("%s: gives something else when fused; left as it is", type(network).__name__)
    return network


def fold_segmenter(segmenter: Segmenter, function: Callable, image: Tensor) -> None:
    """Fold it, then let the decoder's first convolutions work before the enlargement."""
    fold(segmenter, function, image)
    for number, block in enumerate(segmenter.decoder):
        segmenter.decoder[number] = FusedDecoderBlock(block)


def fold(network: nn.Module, function: Callable, image: Tensor) -> None:
    fold_batch_norms(network, function, image)
    fold_layer_scales(network)


def fold_batch_norms(network: nn.Module, function: Callable, image: Tensor) -> None:
    """Fold each batch norm that reads the very tensor a convolution gave into that convolution, in place.

    The activations that timm keeps inside its batch norms stay in their place.
    """
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    names = {module: name for name, module in network.named_modules()}
    for convolution, norm in direct_readers(convolutions, norms, lambda: function(image)):
        folded = fuse_conv_bn_eval(convolution, norm)
        convolution.weight, convolution.bias = folded.weight, folded.bias
        network.set_submodule(names[norm], getattr(norm, "act", nn.Identity()))


def direct_readers(
    makers: list[nn.Module], readers: list[nn.Module], run: Callable[[], object]
) -> list[tuple[nn.Module, nn.Module]]:
    """Return which reader reads the very tensor that which maker gave, while ``run`` runs them.

    A reader that reads something else as well is left out.
    """
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # by the tensor's identity; held, so that it stays unique
    read: dict[nn.Module, list[nn.Module | None]] = {}

    def saw_maker(module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        made[id(output)] = (module, output)

    def saw_reader(module: nn.Module, inputs: tuple) -> None:
        read.setdefault(module, []).append(made.get(id(inputs[0]), (None,))[0])

    hooks = [maker.register_forward_hook(saw_maker) for maker in makers]
    hooks += [reader.register_forward_pre_hook(saw_reader) for reader in readers]
    run()
    for hook in hooks:
        hook.remove()
    return [(maker, reader) for reader, seen in read.items() if None not in seen for maker in seen]


def fold_layer_scales(network: nn.Module) -> None:
    """Fold convnext's factor a channel at a block's end into the layer before it, in place."""
    for block in network.modules():
        if isinstance(block, ConvNeXtBlock) and block.gamma is not None:
            last, scale = block.mlp.fc2, block.gamma.detach()
            last.weight = nn.Parameter(last.weight * scale.view(-1, *[1] * (last.weight.ndim - 1)))
            last.bias = nn.Parameter(last.bias * scale)
            block.gamma = None


def suit_cpu(network: nn.Module, function: Callable, image: Tensor, ordered: bool) -> None:
    """Join what oneDNN does in one pass over memory, and let an encoder's early stages see few images at once."""
    join_activations(network, function, image, ordered)
    for module in list(network.modules()):
        if isinstance(module, FeatureListNet):
            batch_early_stages(module)


def join_activations(network: nn.Module, function: Callable, image: Tensor, ordered: bool = False) -> None:
    """Join each activation to the layer whose very result it reads, and replace all linear layers, in place.

    ordered: replace all others too, and let them keep their weights in oneDNN's order.
    Only layers that are called as such: an attention reads its output layer's weights itself.
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
    """Let the stages whose maps are large see a few images at a time, if nobody else reads what they give."""
    reduction = {info["module"].replace(".", "_"): info["reduction"] for info in encoder.feature_info.info}
    large = [number for number, name in enumerate(encoder) if reduction.get(name, LARGE + 1) <= LARGE]
    early = list(encoder)[: large[-1] + 1] if large else []
    if early and not set(early) & encoder.return_layers.keys():
        encoder[early[0]] = SmallBatches(*(encoder[name] for name in early))
        for name in early[1:]:
            encoder[name] = nn.Identity()
