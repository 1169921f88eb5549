"""Networks rewritten to compute the same with fewer operations, for inference only.

Batch norms are folded into the convolutions before them. A decoder block's convolution over an image that was
just enlarged is done on the small image: taps that meet the same small pixel are added up beforehand, which
leaves 16 of 36 products. Both are exact but for rounding.
"""

import copy
import dataclasses
import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lumbar.bundle import Bundle
from lumbar.classifier import ClassifierNetwork
from lumbar.crops import CROP_SIZE
from lumbar.detector import GRID, DecoderBlock, DetectorNetwork, Segmenter

logger = logging.getLogger(__name__)
TOLERANCE = 1e-3  # of the largest output; float32 rounding stays a hundred times below it


def fuse(bundle: Bundle) -> Bundle:
    """Return the bundle with rewritten networks, which can't be trained or written; what was shared stays so."""
    made: dict[int, nn.Module] = {}

    def once(network: nn.Module, rewrite: Callable[[nn.Module], nn.Module]) -> nn.Module:
        if id(network) not in made:
            made[id(network)] = rewrite(network)
        return made[id(network)]

    detectors = tuple(
        dataclasses.replace(
            detector, networks={d: once(network, fuse_detector) for d, network in detector.networks.items()}
        )
        for detector in bundle.detectors
    )
    classifiers = tuple(
        dataclasses.replace(member, network=once(member.network, fuse_classifier))
        for member in bundle.classifiers
    )
    return dataclasses.replace(bundle, detectors=detectors, classifiers=classifiers)


def fuse_detector(network: DetectorNetwork) -> DetectorNetwork:
    """Return the network with both branches rewritten."""
    fused = copy_modules(network)
    image = noise(3, GRID)
    fused.segmenter = checked(network.segmenter, fuse_segmenter, image, lambda branch: branch)
    fused.pointer = checked(network.pointer, fold_batch_norms, image, lambda branch: branch.encode)
    return fused


def fuse_classifier(network: ClassifierNetwork) -> ClassifierNetwork:
    """Return the network with its backbone rewritten."""
    image = noise(1, CROP_SIZE)
    return checked(network, fold_batch_norms, image, lambda whole: whole.features)


def copy_modules(network: nn.Module) -> nn.Module:
    """Return a copy whose modules may be changed; tensors are shared, so an ensemble is never there twice."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared)


def noise(channels: int, size: int) -> Tensor:
    return torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(0))


def checked(network: nn.Module, rewrite: Callable, image: Tensor, function: Callable) -> nn.Module:
    """Return a rewritten copy of the network, or the network where the copy does not give the same.

    function: network -> what of it is rewritten, a callable of ``image``. A bundle may name any of timm's
    networks: one whose convolution feeds more than its batch norm must not be folded.
    """
    fused = copy_modules(network)
    with torch.inference_mode():
        expected = function(network)(image)
        rewrite(fused, function(fused), image)
        given = function(fused)(image)
    if (given - expected).abs().max() <= TOLERANCE * expected.abs().max():
        return fused
    logger.warning("%s: gives something else when fused; left as it is", type(network).__name__)
    return network


def fuse_segmenter(segmenter: Segmenter, function: Callable, image: Tensor) -> None:
    """Fold the batch norms, then let the decoder's first convolutions work before the enlargement."""
    fold_batch_norms(segmenter, function, image)
    for number, block in enumerate(segmenter.decoder):
        segmenter.decoder[number] = FusedDecoderBlock(block)


def fold_batch_norms(network: nn.Module, function: Callable, image: Tensor) -> None:
    """Fold each batch norm that reads the very tensor a convolution gave into that convolution, in place.

    function: runs the network on ``image``, which shows what reads what. The activations that timm keeps
    inside its batch norms stay in their place.
    """
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by the tensor's identity; held, so that it stays unique
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def saw_convolution(module: nn.Conv2d, _inputs: tuple, output: Tensor) -> None:
        made[id(output)] = (module, output)

    def saw_batch_norm(module: nn.BatchNorm2d, inputs: tuple) -> None:
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    hooks = [m.register_forward_hook(saw_convolution) for m in network.modules() if isinstance(m, nn.Conv2d)]
    norms = {m: name for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    hooks += [norm.register_forward_pre_hook(saw_batch_norm) for norm in norms]
    function(image)
    for hook in hooks:
        hook.remove()
    for convolution, norm in pairs:
        folded = fuse_conv_bn_eval(convolution, norm)
        convolution.weight, convolution.bias = folded.weight, folded.bias
        network.set_submodule(norms[norm], getattr(norm, "act", nn.Identity()))


class FusedDecoderBlock(nn.Module):
    """A decoder block whose batch norms are folded, with its first convolution before the enlargement.

    Enlarged by repetition, pixel (2i + a, 2j + b) of the large image sees 2 x 2 small pixels, from (i + a - 1,
    j + b - 1) on. So one 2 x 2 convolution with four times the channels gives all four (a, b), each read
    off at its own shift.
    """

    def __init__(self, block: DecoderBlock):
        super().__init__()
        first = block.conv1[0]
        skip_channels = block.skip_channels
        enlarged = first.weight[:, : first.in_channels - skip_channels]
        kernels = [phase_kernel(enlarged, a, b) for a in (0, 1) for b in (0, 1)]
        self.before = parameter(torch.cat(kernels))
        self.skip = parameter(first.weight[:, first.in_channels - skip_channels :])
        self.bias = parameter(first.bias)
        self.conv2 = block.conv2

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        phases = F.conv2d(x, self.before, padding=1).chunk(4, dim=1)
        height, width = x.shape[-2:]
        shape = (len(x), len(self.bias), 2 * height, 2 * width)
        if skip is None:
            y = torch.empty(shape, dtype=phases[0].dtype, device=x.device, memory_format=torch.channels_last)
            y[:] = self.bias[:, None, None]
        else:
            y = F.conv2d(skip, self.skip, self.bias, padding=1)
        for number, phase in enumerate(phases):
            a, b = divmod(number, 2)
            y[:, :, a::2, b::2] += phase[:, :, a : a + height, b : b + width]
        return self.conv2(y.relu_())


# Rows (and columns) of a 3 x 3 kernel that meet the first and the second small pixel, by a (and b).
MET = (((0,), (1, 2)), ((0, 1), (2,)))


def phase_kernel(weight: Tensor, a: int, b: int) -> Tensor:
    """Add up the taps of 3 x 3 kernels that meet the same small pixel: (out, in, 3, 3) -> (out, in, 2, 2)."""
    rows = torch.stack([weight[:, :, met].sum(dim=2) for met in MET[a]], dim=2)
    return torch.stack([rows[..., met].sum(dim=3) for met in MET[b]], dim=3)


def parameter(tensor: Tensor) -> nn.Parameter:
    layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    return nn.Parameter(tensor.detach().clone(memory_format=layout), requires_grad=False)
