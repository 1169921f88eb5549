"""Arrays to a device in one copy, tensors back in one read.

Every read makes Python wait until the device has computed all that was launched before it, and a copy from ordinary
memory waits as well. One of each for many tensors costs as much as for one.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, from_numpy

ALIGNMENT = 16  # bytes of each array's place in the common buffer


def upload(arrays: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    """Copy arrays to a device at once, without waiting for it.

    On the CPU tensors share the arrays' memory, which must not change while they live.
    """
    if device.type == "cpu":
        return [from_numpy(array) for array in arrays]
    ends = np.cumsum([-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays]).tolist()
    buffer = torch.empty(ends[-1] if ends else 0, dtype=torch.uint8, pin_memory=device.type == "cuda")
    starts = [0, *ends[:-1]]
    for array, start in zip(arrays, starts, strict=True):
        buffer.numpy()[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    there = buffer.to(device, non_blocking=True)
    return [
        there[start : start + array.nbytes].view(torch_type(array.dtype)).view(array.shape)
        for array, start in zip(arrays, starts, strict=True)
    ]


def download(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Read tensors of one type from a device at once; this waits for the device."""
    if not tensors:
        return []
    joined = tensors[0] if len(tensors) == 1 else torch.cat([tensor.flatten() for tensor in tensors])
    read = joined.cpu().numpy().reshape(-1)
    ends = np.cumsum([tensor.numel() for tensor in tensors]).tolist()
    return [part.reshape(t.shape) for part, t in zip(np.split(read, ends[:-1]), tensors, strict=True)]


def torch_type(kind: np.dtype) -> torch.dtype:
    """Return the torch type of an array's type."""
    return from_numpy(np.empty(0, kind)).dtype
