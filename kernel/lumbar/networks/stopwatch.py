"""Seconds of work that is launched on a device, measured without waiting for each piece."""

import time
from collections import deque
from collections.abc import Callable

import torch

from lumbar.networks.device import Device

LAG = 1  # pieces in flight on a card, so that it never waits for Python between two


class Stopwatch:
    """Measures pieces of work one after another; Python runs at most ``LAG`` pieces ahead of a card.

    Attributes:
        seconds: By piece, of those that have ended; after ``stop`` of all.
    """

    def __init__(self, device: Device, clock: Callable[[], float] = time.monotonic):
        self.device = device
        self.clock = clock
        self.last = clock()
        self.seconds: dict[str, float] = {}
        self.launched: deque[tuple[str, torch.cuda.Event]] = deque()

    def lap(self, name: str) -> None:
        """Note that a piece was launched, and wait until few enough are in flight."""
        event = launched_so_far(self.device)
        if event is None:
            self.end(name)
            return
        self.launched.append((name, event))
        while len(self.launched) > LAG:
            self.wait_for_oldest()

    def stop(self) -> None:
        """Wait until all pieces have ended."""
        while self.launched:
            self.wait_for_oldest()

    def wait_for_oldest(self) -> None:
        name, event = self.launched.popleft()
        event.synchronize()
        self.end(name)

    def end(self, name: str) -> None:
        now = self.clock()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now


def launched_so_far(device: Device) -> torch.cuda.Event | None:
    """Return an event behind all that was launched on a card; None on a CPU, which has ended it already."""
    if device.torch.type != "cuda":
        return None
    event = torch.cuda.Event()
    event.record()
    return event
