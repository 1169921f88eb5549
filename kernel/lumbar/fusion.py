"""Networks rewritten to compute the same with fewer operations, for inference only.

Batch norms are folded into the convolutions before them. A decoder block's convolution over an image that was
just enlarged is done on the small image, as a transposed one: taps that meet the same small pixel are added up
beforehand, which leaves 16 of 36 products. A block's layer scale is folded into the linear layer before it, so that
with AMP the sum over all blocks stays in the short type. On a CPU, activations join the layer before them, and linear
layers go to the faster of torch's two libraries (``lumbar.onednn``). All are exact but for rounding.
"""

import copy
import logging
from collections.abc import Callable

import torch
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lumbar import onednn
from lumbar.classifier import ClassifierNetwork
from lumbar.crops import CROP_SIZE
from lumbar.detector import GRID, DecoderBlock, DetectorNetwork, Segmenter
from lumbar.device import Device

logger = logging.getLogger(__name__)
TOLERANCE = 1e-3  # of the largest output; float32 rounding stays a hundred times below it


def fuse(network: DetectorNetwork | ClassifierNetwork, device: Device) -> DetectorNetwork | ClassifierNetwork:
    """Return the network rewritten for a device, on its tensors where they stayed the same.

    It can't be trained or written.
    """
    fused = copy_modules(network)
    parts = detector_parts() if isinstance(network, DetectorNetwork) else classifier_parts()
    for name, fold, image, function in parts:
        part = checked(fused.get_submodule(name), fold, image, function)
        if device.torch.type == "cpu" and onednn.available():
            part = checked(part, join_activations, image, function)
        fused.set_submodule(name, part)
    return fused


def detector_parts() -> list[tuple[str, Callable, Tensor, Callable]]:
    """Return what of a detector is rewritten: its name, how it is folded, an image, how it is called."""
    image = noise(3, GRID)
    return [
        ("segmenter", fold_segmenter, image, lambda segmenter: segmenter),
        ("pointer.encoder", fold_batch_norms, image, lambda encoder: lambda x: encoder(x)[-1]),
    ]


def classifier_parts() -> list[tuple[str, Callable, Tensor, Callable]]:
    return [("backbone", fold_backbone, noise(1, CROP_SIZE), lambda backbone: backbone)]


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
    to come has the operations of ``lumbar.onednn`` as they are now.
    """
    fused = copy_modules(network)
    with torch.inference_mode():
        expected = function(network)(image)
        try:
            rewrite(fused, function(fused), image)
            given = function(fused)(image)
        except RuntimeError as error:
            logger.warning("%s: fails when fused (%s); left as it is", type(network).__name__, error)
            return network
    if (given - expected).abs().max() <= TOLERANCE * expected.abs().max():
        return fused
    logger.warning("%s: gives something else when fused; left as it is", type(network).__name__)
    return network


def fold_segmenter(segmenter: Segmenter, function: Callable, image: Tensor) -> None:
    """Fold the batch norms, then let the decoder's first convolutions work before the enlargement."""
    fold_batch_norms(segmenter, function, image)
    for number, block in enumerate(segmenter.decoder):
        segmenter.decoder[number] = FusedDecoderBlock(block)


def fold_backbone(backbone: nn.Module, function: Callable, image: Tensor) -> None:
    fold_batch_norms(backbone, function, image)
    fold_layer_scales(backbone)


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


def join_activations(network: nn.Module, function: Callable, image: Tensor) -> None:
    """Join each activation to the layer whose very result it reads, and replace all linear layers, in place.

    Only layers that are called as such: an attention reads its output layer's weights itself.
    """
    names = {module: name for name, module in network.named_modules()}
    layers = [module for module in names if type(module) in onednn.LAYERS]
    activations = [module for module in names if type(module) in onednn.ACTIVATIONS]
    joined = dict(direct_readers(layers, activations, lambda: function(image)))
    for layer in layers:
        if layer in joined or type(layer) is nn.Linear:
            network.set_submodule(names[layer], onednn.LAYERS[type(layer)](layer, joined.get(layer)))
    for activation in joined.values():
        network.set_submodule(names[activation], nn.Identity())


class FusedDecoderBlock(nn.Module):
    """A decoder block whose batch norms are folded, with its first convolution before the enlargement.

    Enlarging by repetition and then convolving 3 x 3 is one transposed convolution 4 x 4 with stride 2: each
    pixel of the large image sees 2 x 2 small ones.
    """

    def __init__(self, block: DecoderBlock):
        super().__init__()
        first = block.conv1[0]
        enlarged, width = first.in_channels - block.skip_channels, first.out_channels
        # Made without weights, which would only be drawn to be replaced.
        self.before = nn.ConvTranspose2d(enlarged, width, 4, stride=2, padding=1, device="meta")
        set_weight(self.before, enlarging_kernel(first.weight[:, :enlarged]))
        self.before.bias = first.bias
        if block.skip_channels:
            self.skip = nn.Conv2d(block.skip_channels, width, 3, padding=1, bias=False, device="meta")
            set_weight(self.skip, first.weight[:, enlarged:])
        self.conv2 = block.conv2

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        y = self.before(x)
        if skip is not None:
            y += self.skip(skip)
        return self.conv2(y.relu_())


def enlarging_kernel(weight: Tensor) -> Tensor:
    """Add up the taps of 3 x 3 kernels that meet the same small pixel: (out, in, 3, 3) -> (in, out, 4, 4).

    A small pixel is two large ones, so the kernels are spread by a 2 x 2 one; a transposed convolution reads
    them from the other end.
    """
    spread = F.pad(weight, (1, 1, 1, 1)).unfold(2, 2, 1).unfold(3, 2, 1).sum(dim=(4, 5))
    return spread.flip(2, 3).transpose(0, 1)


def set_weight(convolution: nn.Module, weight: Tensor) -> None:
    weight = weight.detach().clone(memory_format=torch.channels_last)
    convolution.weight = nn.Parameter(weight)
