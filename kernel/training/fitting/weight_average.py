"""The exponential moving average of a network's weights over its training steps, to evaluate and to export."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage:
    """The exponential moving average (EMA) of a network's weights and of its batch norms' statistics.

    In the first steps the decay is lower, (1 + step) / (10 + step), so that the random start is soon forgotten.
    Source: TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``; score, training.

    Args:
        network: The network in training, on its device.
        decay: Share of the average that a step keeps, 0..1.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.network, self.decay, self.steps = network, decay, 0
        self.average = {name: tensor.clone() for name, tensor in self.own().items()}

    def own(self) -> dict[str, torch.Tensor]:
        """Return the network's own tensors that have an average: those of floating point."""
        return {name: t for name, t in self.network.state_dict().items() if t.is_floating_point()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the network's weights, after a step of the optimizer."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, tensor in self.own().items():
            self.average[name].lerp_(tensor, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the network the average inside a ``with`` block, and its own weights back afterwards."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        for name, tensor in self.own().items():
            kept = tensor.clone()
            tensor.copy_(self.average[name])
            self.average[name].copy_(kept)

    def state_dict(self) -> dict:
        """Return everything that a checkpoint needs."""
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state: dict) -> None:
        """Take over the content of a checkpoint."""
        self.steps, self.average = state["steps"], state["average"]
