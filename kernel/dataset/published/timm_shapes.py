"""Keys and shapes of timm's networks, without memory for their weights.

A checkpoint is compared with dozens of architectures. The largest would take 2.6 GB.
"""

import timm
import torch
from torch.overrides import TorchFunctionMode

ALLOCATE = (torch.empty, torch.zeros, torch.ones)  # the functions that make a module's parameters and buffers


class WeightsOnMeta(TorchFunctionMode):
    """Allocates tensors on the meta device inside a ``with`` block; computed ones stay on the CPU.

    ``torch.device("meta")`` moves all of them. timm 1.0.20 then fails to read the stochastic depth rates that it
    computes, and torch 2.10 fails to compute a RegNet's widths.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in ALLOCATE and kwargs.get("device") is None:
            kwargs = kwargs | {"device": "meta"}
        return function(*args, **kwargs)


def state_shapes(name: str, **options: object) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in a timm network's state dict, by key.

    Args:
        name: Name of the network.
        options: Of ``timm.create_model``.
    """
    with WeightsOnMeta():
        network = timm.create_model(name, pretrained=False, **options)
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
