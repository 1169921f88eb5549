"""Parts of networks written anew for inference, with the same results as the parts that they replace."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lumbar.networks.detector import DecoderBlock


class FusedDecoderBlock(nn.Module):
    """A decoder block with folded batch norms and its first convolution before the enlargement.

    Enlarging by repetition and then convolving 3 x 3 is one transposed convolution 4 x 4 with stride 2: each
    pixel of the large image depends on 2 x 2 small ones.
    """

    def __init__(self, block: DecoderBlock):
        super().__init__()
        first = cast(nn.Conv2d, block.conv1[0])
        enlarged, width = first.in_channels - block.skip_channels, first.out_channels
        # Made without weights, which would only be drawn to be replaced.
        self.before = nn.ConvTranspose2d(enlarged, width, 4, stride=2, padding=1, device="meta")
        set_weight(self.before, enlarging_kernel(first.weight[:, :enlarged]))
        self.before.bias = first.bias
        if block.skip_channels:
            self.skip = nn.Conv2d(block.skip_channels, width, 3, padding=1, bias=False, device="meta")
            set_weight(self.skip, first.weight[:, enlarged:])
        self.relu, self.conv2 = nn.ReLU(inplace=True), block.conv2

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        y = self.before(x)
        if skip is not None:
            # A tensor of its own: were it added in place, the activation would seem to read a layer's very result.
            y = y + self.skip(skip)
        return self.conv2(self.relu(y))


def enlarging_kernel(weight: Tensor) -> Tensor:
    """Add up the taps of 3 x 3 kernels that meet the same small pixel: (out, in, 3, 3) -> (in, out, 4, 4).

    A small pixel is two large ones, so the kernels are spread by a 2 x 2 one; a transposed convolution reads
    them from the other end.
    """
    spread = F.pad(weight, (1, 1, 1, 1)).unfold(2, 2, 1).unfold(3, 2, 1).sum(dim=(4, 5))
    return spread.flip(2, 3).transpose(0, 1)


def set_weight(convolution: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor) -> None:
    weight = weight.detach().clone(memory_format=torch.channels_last)
    convolution.weight = nn.Parameter(weight)


class SmallBatches(nn.Sequential):
    """Modules that take a few images at a time, so that the result of one is still in the cache for the next."""

    IMAGES = 4  # 2 MB each in float32 behind a regnet's first convolution

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(SmallBatches, self).forward(some) for some in x.split(self.IMAGES)])
