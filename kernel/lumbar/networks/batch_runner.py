"""Images through a network in batches that fit into the device's memory."""

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, inference_mode, nn

from lumbar.networks.captured_pass import CAPTURED_AT, CapturedPass
from lumbar.networks.device import Device, DeviceMemoryError, is_out_of_memory

logger = logging.getLogger(__name__)

# Takes a network and images (n, ...), returns results (n, ...). A named function: captured passes are found by it.
Pass = Callable[[Any, Tensor], Tensor]
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # PyTorch's own: the folder of the compiler's results


class BatchRunner:
    """One consumer of a device: it starts with the device's batch and remembers the one that fits.

    Attributes:
        device: Where the networks compute.
        batch: Slices of stage 1 in a pass. It never grows again.
        causes: Causes that have halved the batch already: each is logged once.
        captured: Passes of fixed shape, by function, network and images.
        compiled: By function, the compiled one that passes of fixed shape run instead.
    """

    def __init__(self, device: Device):
        self.device = device
        self.batch = device.batch
        self.causes: set[str] = set()
        self.captured: dict[tuple, CapturedPass] = {}
        self.compiled: dict[Pass, Pass] = {}
        self.pool = torch.cuda.graph_pool_handle() if device.torch.type == "cuda" else None

    @inference_mode()
    def run(
        self, function: Pass, network: nn.Module, images: Tensor, cause: str, images_per_slice: int = 1
    ) -> Tensor:
        """Apply a network to images batch by batch and join the results.

        Where the device wants fixed shapes, the last batch is padded. Elsewhere batches are as equal as possible:
        small ones cost more per image. After an out-of-memory error the batch is halved for this and all later calls.
        The log names each cause once.

        Args:
            function: The pass, images (n, ...) to results (n, ...), both on the device.
            network: The network that it passes them through.
            images: (N, ...), on any device, N > 0.
            cause: Name of the pass for messages.
            images_per_slice: How many of these images take the memory of one slice of stage 1.

        Returns:
            Results (N, ...) float32 on the device.

        Raises:
            DeviceMemoryError: A single image does not fit.
        """
        results: list[Tensor] = []
        start = 0
        while start < len(images):
            left, most = len(images) - start, images_per_slice * self.batch
            try:
                if self.device.fixed_shapes:
                    results.append(self.run_fixed(function, network, images[start : start + most], most))
                    start += most
                    continue
                size = math.ceil(left / math.ceil(left / most))
                batch = images[start : start + size].to(self.device.torch, non_blocking=True)
                with self.device.autocast():
                    results.append(function(network, batch).float())
                start += size
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                full = str(error)  # not the error: its traceback holds the tensors
            batch = None
            if images_per_slice > 1 and self.batch == 1:
                images_per_slice = 1
            else:
                self.halve(cause, full)
        return results[0] if len(results) == 1 else torch.cat(results)

    @inference_mode()
    def warm_up(self, function: Pass, network: nn.Module, image: Tensor, images_per_slice: int = 1) -> None:
        """Load, plan and capture a pass for all later images, by passes of an empty one.

        Where shapes are not fixed, nothing is done.

        Args:
            function: As in ``run``.
            network: As in ``run``.
            image: (1, ...) of the shape, the type and the order in memory that images will have.
            images_per_slice: As in ``run``.
        """
        if self.device.fixed_shapes:
            for _ in range(CAPTURED_AT):
                self.run_fixed(function, network, image, images_per_slice * self.batch)

    def run_fixed(self, function: Pass, network: nn.Module, images: Tensor, size: int) -> Tensor:
        """Run one pass of ``size`` images, of which some may be padding, through a network."""
        key = function, id(network), size, images.shape[1:], images.dtype
        if key not in self.captured:
            like = torch.empty((size, *images.shape[1:]), dtype=images.dtype, device="meta")
            if images.is_contiguous(memory_format=torch.channels_last):
                like = like.contiguous(memory_format=torch.channels_last)
            call = self.compiled.get(function, function)
            self.captured[key] = CapturedPass(
                lambda batch: call(network, batch), like, self.device, self.pool
            )
        return self.captured[key](images)

    def compile(self, function: Pass) -> None:
        """Let the passes of a function run through torch.compile until memory is short: for another batch size each
        would be compiled anew.

        Networks of one architecture share a compiled pass. The first pass of each compiles it, or takes it from the
        cache: the folder of ``TORCHINDUCTOR_CACHE_DIR``, else one in the user's cache folder.
        """
        os.environ.setdefault(CACHE_VARIABLE, str(cache_folder() / "lumbar" / "inductor"))
        self.forget_captured()
        # Not mode="reduce-overhead": passes are captured here, and its own way is 40% slower in torch 2.10.
        self.compiled[function] = torch.compile(function, dynamic=False)

    def forget_compiled(self) -> None:
        """Let all passes run as they are."""
        self.compiled.clear()
        self.forget_captured()

    def forget_captured(self) -> None:
        """Drop all captured passes, because weights have moved or memory is short."""
        self.captured.clear()
        if self.device.torch.type == "cuda":
            self.pool = torch.cuda.graph_pool_handle()
            torch.cuda.empty_cache()

    def halve(self, cause: str, error: str) -> None:
        """Halve the batch; DeviceMemoryError if it is a single slice already."""
        self.forget_compiled()
        if self.batch == 1:
            raise DeviceMemoryError(f"{cause}: one image does not fit on {self.device.torch}: {error}")
        self.batch //= 2
        if cause not in self.causes:
            self.causes.add(cause)
            logger.warning(
                "%s: out of memory on %s; batch halved to %d", cause, self.device.torch, self.batch
            )


def cache_folder() -> Path:
    """Return the user's folder for files that a program can make anew. Source: the XDG Base Directory Specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
