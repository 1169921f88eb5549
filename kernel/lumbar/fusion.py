"""Networks rewritten to compute the same with fewer operations, for inference only.

Batch norms are folded into the convolutions before them. A decoder block's convolution over an image that was
just enlarged is done on the small image, as a transposed one: taps that meet the same small pixel are added up
beforehand, which leaves 16 of 36 products. In float32 on a CPU, linear layers of a backbone become 1 x 1
convolutions, which torch gives to a faster library. All are exact but for rounding.
"""

import copy
import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

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
    if isinstance(network, DetectorNetwork):
        return fuse_detector(network)
    float32_on_cpu = device.torch.type == "cpu" and device.autocast_type is None
    return fuse_classifier(network, pointwise=float32_on_cpu and torch.backends.mkldnn.is_available())


def fuse_detector(network: DetectorNetwork) -> DetectorNetwork:
    """Return the network with both branches rewritten."""
    fused = copy_modules(network)
    image = noise(3, GRID)
    fused.segmenter = checked(network.segmenter, fuse_segmenter, image, lambda branch: branch)
    fused.pointer = checked(network.pointer, fold_batch_norms, image, lambda branch: branch.encode)
    return fused


def fuse_classifier(network: ClassifierNetwork, pointwise: bool) -> ClassifierNetwork:
    """Return the network with its backbone rewritten; pointwise: its linear layers too."""

    def rewrite(fused: ClassifierNetwork, function: Callable, image: Tensor) -> None:
        fold_batch_norms(fused, function, image)
        if pointwise:
            linear_to_pointwise(fused.backbone)

    return checked(network, rewrite, noise(1, CROP_SIZE), lambda whole: whole.features)


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


class PointwiseLinear(nn.Module):
    """A linear layer computed as a 1 x 1 convolution over all rows.

    torch multiplies float32 matrices with MKL and convolves with oneDNN, which is a tenth faster on an AMD EPYC
    (190 and 216 GFLOP/s) and adds the bias without another pass.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)  # (1, feature, row, 1), channels last
        y = F.conv2d(rows, self.weight[..., None, None], self.bias)
        return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def linear_to_pointwise(network: nn.Module) -> None:
    """Replace the linear layers that are called as such; an attention reads its output layer's weights itself."""
    for name, module in list(network.named_modules()):
        if type(module) is nn.Linear:
            network.set_submodule(name, PointwiseLinear(module))


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
