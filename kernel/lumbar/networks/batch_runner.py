"""Images through a network in batches that fit into the device's memory."""

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from lumbar.networks.device import Device, DeviceMemoryError, finite, is_out_of_memory

logger = logging.getLogger(__name__)


class BatchRunner:
    """One consumer of a device: it starts with the device's batch and remembers the one that fits.

    Attributes:
        device: Where the networks compute.
        batch: Slices of stage 1 in a pass. It never grows again.
        causes: Causes that have halved the batch already: each is logged once.
    """

    def __init__(self, device: Device):
        self.device = device
        self.batch = device.batch
        self.causes: set[str] = set()

    def run(
        self,
        function: Callable[[Tensor], Tensor],
        images: Tensor,
        cause: str,
        images_per_slice: int = 1,
    ) -> Tensor:
        """Apply a network to images batch by batch and join the results.

        Batches are as equal as possible: small ones cost more per image. After an out-of-memory error the batch
        is halved for this and all later calls. The log names each cause once.

        Args:
            function: Network pass, images (n, ...) to results (n, ...), both on the device.
            images: (N, ...), on any device.
            cause: Name of the pass for messages.
            images_per_slice: How many of these images take the memory of one slice of stage 1.

        Returns:
            Results (N, ...) float32 on the device.

        Raises:
            DeviceMemoryError: A single image does not fit.
            NotFiniteError: The results hold NaN or Inf.
        """
        results, start = [], 0
        while start < len(images):
            try:
                left = len(images) - start
                size = math.ceil(left / math.ceil(left / (images_per_slice * self.batch)))
                batch = images[start : start + size].to(self.device.torch, non_blocking=True)
                with torch.inference_mode(), self.device.autocast():
                    results.append(function(batch).float())
                start += len(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                full = str(error)  # not the error: its traceback holds the network's allocations
            else:
                continue
            batch = None
            if images_per_slice > 1 and self.batch == 1:
                images_per_slice = 1
            else:
                self.halve(cause, full)
        return finite(torch.cat(results), cause)

    def halve(self, cause: str, error: str) -> None:
        """Halve the batch; DeviceMemoryError if it is a single slice already."""
        if self.device.torch.type == "cuda":
            torch.cuda.empty_cache()
        if self.batch == 1:
            raise DeviceMemoryError(f"{cause}: one image does not fit on {self.device.torch}: {error}")
        self.batch //= 2
        if cause not in self.causes:
            self.causes.add(cause)
            logger.warning(
                "%s: out of memory on %s; batch halved to %d", cause, self.device.torch, self.batch
            )
