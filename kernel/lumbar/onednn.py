"""Layers for a CPU that apply the activation behind them before the result is stored.

oneDNN, torch's library for convolutions on CPUs, computes a layer and its activation in one pass over memory. torch
offers that to its compiler only, under names that are not public: ``lumbar.fusion`` compares what they give and
leaves a network as it is where they are missing or differ.
"""

import torch
from timm.layers import GELU, GELUTanh
from torch import Tensor, nn

NONE = ("none", [], "")
# What oneDNN calls them: name, numbers, variant.
ACTIVATIONS = {
    nn.ReLU: lambda _: ("relu", [], ""),
    nn.SiLU: lambda _: ("swish", [], ""),
    nn.GELU: lambda gelu: ("gelu", [], gelu.approximate),
    GELU: lambda _: ("gelu", [], "none"),
    GELUTanh: lambda _: ("gelu", [], "tanh"),
}


def available() -> bool:
    """Tell whether this torch has the operations."""
    operations = torch.ops.mkldnn
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(operations, "_linear_pointwise")
        and hasattr(operations, "_convolution_pointwise")
    )


class ActivatedLinear(nn.Module):
    """A linear layer and an activation, on the layer's tensors. Autocast does not see it: it casts for itself."""

    def __init__(self, linear: nn.Linear, activation: nn.Module | None):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.activation = ACTIVATIONS[type(activation)](activation) if activation else NONE

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, *self.activation)


class ActivatedConv2d(nn.Module):
    """The same of a convolution padded with zeros."""

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module | None):
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self.geometry = convolution.padding, convolution.stride, convolution.dilation, convolution.groups
        self.activation = ACTIVATIONS[type(activation)](activation) if activation else NONE

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, *self.geometry, *self.activation
        )


LAYERS = {nn.Linear: ActivatedLinear, nn.Conv2d: ActivatedConv2d}
