"""Layers for a CPU that apply the activation behind them before the result is stored.

oneDNN, torch's library for convolutions on CPUs, computes a layer and its activation in one pass over memory. torch
offers that to its compiler only, under names that are not public. ``rewrite`` compares the results, and leaves a
network as it is where the operations are missing or differ.
"""

import torch
from timm.layers import GELU, GELUTanh
from torch import Tensor, nn

Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
NONE = ("none", [], "")
# Their names in oneDNN: name, numbers, variant.
ACTIVATIONS = {
    nn.ReLU: lambda _: ("relu", [], ""),
    nn.SiLU: lambda _: ("swish", [], ""),
    nn.GELU: lambda gelu: ("gelu", [], gelu.approximate),
    GELU: lambda _: ("gelu", [], "none"),
    GELUTanh: lambda _: ("gelu", [], "tanh"),
}
OPERATIONS = (
    "_linear_pointwise",
    "_convolution_pointwise",
    "_convolution_transpose_pointwise",
    "_reorder_linear_weight",
    "_reorder_convolution_weight",
    "_reorder_convolution_transpose_weight",
)


def available() -> bool:
    """Return whether this torch has the operations."""
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in OPERATIONS
    )


class ActivatedLayer(nn.Module):
    """A layer and an activation, on the layer's tensors. Autocast skips this operator, so it casts its input itself.

    oneDNN orders the weights in its own way. Ordering them at every call costs a twentieth of a pass over few images.

    Args:
        ordered: Keep a copy of the weights in oneDNN's order. It is made at the first call and dropped when the layer
            moves or changes its type. Writing into the weights does not drop it: no weights are loaded into a fused
            network.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: Layer, activation: nn.Module | None, ordered: bool = False):
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.activation = ACTIVATIONS[type(activation)](activation) if activation else NONE
        self.ordered = ordered
        self.copy: Tensor | None = None

    def in_order(self, shape: torch.Size) -> Tensor:
        """Return the weights in oneDNN's order for inputs of a shape; other shapes are computed as well."""
        raise NotImplementedError

    def ready(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input and the weights as they go into the operation."""
        x = x.to(self.weight.dtype)
        if self.ordered and self.copy is None:
            self.copy = self.in_order(x.shape)
        return x, self.weight if self.copy is None else self.copy

    def _apply(self, *args, **kwargs) -> nn.Module:  # where every .to() ends
        self.copy = None
        return super()._apply(*args, **kwargs)


class ActivatedLinear(ActivatedLayer):
    """A linear layer and an activation."""

    def in_order(self, shape: torch.Size) -> Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(*self.ready(x), self.bias, *self.activation)


class ActivatedConv2d(ActivatedLayer):
    """A convolution padded with zeros and an activation."""

    def __init__(self, layer: nn.Conv2d, activation: nn.Module | None, ordered: bool = False):
        super().__init__(layer, activation, ordered)
        self.geometry = layer.padding, layer.stride, layer.dilation, layer.groups

    def in_order(self, shape: torch.Size) -> Tensor:
        return torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self.geometry, shape)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(
            *self.ready(x), self.bias, *self.geometry, *self.activation
        )


class ActivatedConvTranspose2d(ActivatedLayer):
    """A transposed convolution and an activation."""

    def __init__(self, layer: nn.ConvTranspose2d, activation: nn.Module | None, ordered: bool = False):
        super().__init__(layer, activation, ordered)
        self.geometry = layer.padding, layer.output_padding, layer.stride, layer.dilation, layer.groups

    def in_order(self, shape: torch.Size) -> Tensor:
        return torch.ops.mkldnn._reorder_convolution_transpose_weight(self.weight, *self.geometry, shape)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_transpose_pointwise(
            *self.ready(x), self.bias, *self.geometry, *self.activation
        )


LAYERS = {
    nn.Linear: ActivatedLinear,
    nn.Conv2d: ActivatedConv2d,
    nn.ConvTranspose2d: ActivatedConvTranspose2d,
}
