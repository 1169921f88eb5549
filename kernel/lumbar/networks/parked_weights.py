"""Weights of waiting networks lie in a mapped file, so that only those of working networks are in memory."""

import logging
import math
import mmap
import os
import tempfile

import torch
from torch import Tensor, nn

from lumbar.networks.device import give_back_freed_memory

logger = logging.getLogger(__name__)

ALIGNMENT = 64  # bytes, of every tensor in the file: a cache line, on which vector instructions are fastest
# Linux has both; elsewhere all weights stay in memory.
MAPPABLE = hasattr(os, "posix_fallocate") and hasattr(mmap.mmap, "madvise")


class Scratch:
    """Networks on the CPU with their weights in unnamed temporary files, one per network.

    The classifiers of a large ensemble take turns. A turn is much longer than reading the weights, from the system's
    cache of files where memory is free, else from the disk. A file goes with the process, however it ends.

    Args:
        resident_bytes: Weights of the first networks that are kept stay in memory, up to so many bytes.
    """

    def __init__(self, resident_bytes: int):
        self.resident_bytes = resident_bytes  # that are left
        self.maps: dict[int, mmap.mmap] = {}  # by the network's identity

    @torch.inference_mode()
    def keep(self, network: nn.Module) -> None:
        """Move a network's weights into a file, unless they may stay in memory or no file can be made."""
        parameters = network.named_parameters(
            remove_duplicate=False
        )  # ``_apply`` moves one as often as it is named
        buffers = network.named_buffers(remove_duplicate=False)
        size = sum(aligned(tensor) for _, tensor in (*parameters, *buffers))
        if size <= self.resident_bytes or not MAPPABLE:
            self.resident_bytes -= size
            return
        try:
            with tempfile.TemporaryFile() as file:
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk fails here, not later with SIGBUS
                mapped = mmap.mmap(file.fileno(), size)
        except OSError as error:
            logger.warning("no scratch file for %d MB of weights (%s): kept in memory", size >> 20, error)
            return
        offset = 0

        def moved(tensor: Tensor) -> Tensor:
            nonlocal offset
            if not tensor.numel():
                return tensor
            flat = torch.frombuffer(mapped, dtype=tensor.dtype, count=tensor.numel(), offset=offset)
            offset += aligned(tensor)
            return flat.as_strided(tensor.shape, tensor.stride()).copy_(tensor)

        network._apply(moved)  # ``to`` consists of this call
        self.maps[id(network)] = mapped
        self.release(network)
        give_back_freed_memory()  # small blocks of this network lie between the large ones: holes that few fit

    def release(self, network: nn.Module) -> None:
        """Let the memory of a network's weights go until they are read again."""
        if id(network) in self.maps:
            self.maps[id(network)].madvise(mmap.MADV_DONTNEED)  # shared: the file has all that was written


def aligned(tensor: Tensor) -> int:
    """Return the bytes of a tensor, rounded up to ``ALIGNMENT``."""
    return math.ceil(tensor.numel() * tensor.element_size() / ALIGNMENT) * ALIGNMENT
