"""Where and how precisely the networks run: the device that really works, the autocast type, the batches."""

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import Conv2dSame
from torch import Tensor, dtype, inference_mode, nn

from lumbar.networks.fusion.onednn import LAYERS

BATCH_CPU = 8  # float32 slices per pass, twice as many short ones; more gain at most 5% and take 0.4 GB
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
# Weights of these layers are kept in the autocast type. Exactly these: subclasses may cast for themselves.
CAST = (nn.Conv2d, Conv2dSame, nn.ConvTranspose2d, nn.Linear, *LAYERS.values())


class DeviceMemoryError(Exception):
    """Not even one image fits into the device's memory."""


class NotFiniteError(ArithmeticError):
    """A network gave NaN or Inf."""


@dataclass(frozen=True)
class Device:
    """A torch device and how networks compute on it.

    Attributes:
        torch: The device.
        autocast_type: Type of AMP; None for float32.
        reason: Why it was chosen, for the log and run.json.
        batch: Slices of stage 1 in a pass to start with; a ``BatchRunner`` learns what fits.
        studies: How many waiting studies share passes.
        fixed_shapes: Whether passes are padded to the whole batch, and replayed as captured graphs on a card.
    """

    torch: torch.device
    autocast_type: dtype | None
    reason: str
    batch: int
    studies: int = 1
    fixed_shapes: bool = False

    @property
    def precision(self) -> str:
        return "fp32" if self.autocast_type is None else str(self.autocast_type).removeprefix("torch.")

    @contextlib.contextmanager
    def autocast(self, cache: bool = True) -> Iterator[None]:
        """Compute in the autocast type, or in float32 without TF32, inside a ``with`` block.

        The process's settings are as before when it ends.

        Args:
            cache: Cast each weight once within the outermost block, and keep the cast one until it ends.
        """
        with contextlib.ExitStack() as stack:
            if self.torch.type == "cuda":
                stack.enter_context(without_tf32())
            if self.autocast_type is not None:
                stack.enter_context(
                    torch.autocast(self.torch.type, dtype=self.autocast_type, cache_enabled=cache)
                )
            yield

    @inference_mode()
    def place(self, network: nn.Module) -> None:
        """Move a network here, its convolutions and linear layers in the type they compute in.

        They are most of the weights: half the memory, and nothing to cast at every study. The results are
        autocast's own. Back in float32 they keep the rounded values. A weight beyond float16's range stays float32.
        """
        network.to(self.torch)
        kind = self.autocast_type or torch.float32
        modules: list[Any] = list(network.modules())
        encoders = [m for m in modules if isinstance(m, nn.TransformerEncoderLayer)]
        # PyTorch's fast path needs one dtype in the layer.
        one_type = {m for encoder in encoders for m in encoder.modules()}
        for module in modules:
            if type(module) not in CAST or module in one_type or module.weight.dtype == kind:
                continue
            if module.weight.abs().max() <= torch.finfo(kind).max:
                module.to(kind)


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Keep float32 exact on cards inside a ``with`` block: their convolutions round it to TF32 by default."""
    backends: tuple[Any, ...] = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def keep_freed_memory() -> None:
    """Let this process keep the memory that tensors free for the next ones.

    glibc gives large blocks back to the system at once. Getting them again costs a page fault for every 4 kB: a tenth
    of a convolution's time, a third of a training step's. As not every block fits where one was freed, the process
    takes more memory, in training up to half as much again. Other C libraries are left as they are.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def give_back_freed_memory() -> None:
    """Give back to the system, once, the free memory between the blocks that this process holds."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, the device's or the host's."""
    if isinstance(error, MemoryError | DeviceMemoryError | torch.cuda.OutOfMemoryError):
        return True
    # The CPU allocator, cuDNN and cuBLAS raise plain RuntimeErrors.
    texts = ("out of memory", "allocate memory", "enough memory", "ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)


def nan_unless_finite(result: Tensor, source: Tensor) -> Tensor:
    """Return the result, with NaN in each row (result[i], source[i]) where the source holds NaN or Inf.

    So a device need not be read for a check of its results: NaN shows once they are read.
    """
    # x - x is 0 where x is finite, else NaN.
    mark = (source - source).flatten(1).sum(dim=1)
    return result + mark.view(-1, *[1] * (result.ndim - 1))
