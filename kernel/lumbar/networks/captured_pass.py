"""A network pass of one shape, replayed on a card as one captured graph.

Python takes 10 to 25 microseconds to launch an operator, and a network is 60 to 500 of them: small networks leave a
card waiting. A graph is launched as one. It needs the same shape and the same memory at every replay, so batches are
padded. Few shapes have a second use: cuDNN searches its engines anew for each, over a second per batch size for a
network with depthwise convolutions.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, inference_mode

from lumbar.networks.device import Device, is_out_of_memory

logger = logging.getLogger(__name__)

CAPTURED_AT = 2  # the number of the call; the first loads and plans, which can't be captured


class CapturedPass:
    """A pass of fixed shape. The first call runs it as it is, the second captures it, all later ones replay it.

    On a CPU every call runs it as it is. Not for use by several threads at once.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], like: Tensor, device: Device, pool: Any = None):
        """Prepare a pass.

        Args:
            function: (n, ...) to (n, ...), both on the device; it must not wait for the device.
            like: Images of the type, the shape and the order in memory, with the number that every pass has. Their
                values are not read.
            device: Where the pass runs.
            pool: Memory that graphs which never run side by side may share, of ``torch.cuda.graph_pool_handle``.
        """
        self.function = function
        self.device = device
        self.pool = pool
        self.images = torch.zeros_like(like, device=device.torch)
        self.captures = device.torch.type == "cuda"
        self.calls = 0
        self.replay: Callable[[], Tensor] | None = None

    @inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the results (n, ...) float32 of at most as many images as the shape has; they are the caller's."""
        self.images[: len(images)].copy_(images, non_blocking=True)
        self.calls += 1
        if self.calls == CAPTURED_AT and self.captures:
            self.replay = self.capture()
        if self.replay is None:
            return self.run()[: len(images)]
        return self.replay()[: len(images)].clone()

    def run(self) -> Tensor:
        """Run the pass as it is."""
        # A graph must not use a cast weight that ends with the autocast block: each pass casts its own.
        with self.device.autocast(cache=False):
            return self.function(self.images).float()

    def capture(self) -> Callable[[], Tensor] | None:
        """Return a call that replays the pass into the same memory each time; None if it can't be captured."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.pool):
                output = self.run()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            logger.warning("%s: a pass can't be captured (%s); it goes on without", self.device.torch, error)
            return None

        def replay() -> Tensor:
            graph.replay()
            return output

        return replay
