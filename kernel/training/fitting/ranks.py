"""One training on several ranks: each learns from its part of every batch, and all take the same steps.

``torchrun`` starts the ranks, and DistributedDataParallel averages their gradients. Rank 0 alone evaluates, writes and
prints. In a process that ``torchrun`` did not start, every function here leaves the training as it is.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Sampler

Value = TypeVar("Value")
LONGEST_WAIT = timedelta(
    hours=12
)  # of the other ranks, while rank 0 decodes the data, evaluates or finds points


class FirstRankError(Exception):
    """Rank 0 has raised an error, and reports it."""


def rank() -> int:
    """Return this process's number, from 0; 0 without ``torchrun``."""
    return int(os.environ.get("RANK", "0"))


def rank_count() -> int:
    """Return the number of ranks that train together; 1 without ``torchrun``."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_card() -> str | None:
    """Return the card of this rank, such as ``"cuda:1"``; None without ``torchrun``."""
    number = os.environ.get("LOCAL_RANK")
    return None if number is None else f"cuda:{number}"


@contextmanager
def joined(cards: bool) -> Iterator[None]:
    """Train together with the other ranks inside a ``with`` block.

    Args:
        cards: Whether the ranks may compute on cards. Their gradients then travel by NCCL, all else by Gloo.
    """
    if rank_count() == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if cards and torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=LONGEST_WAIT)
    yield
    dist.destroy_process_group()  # not after an error: it would wait for ranks that go on


def from_first(function: Callable[[], Value]) -> Value:
    """Return the value of a function that rank 0 alone calls.

    Raises:
        FirstRankError: On the other ranks, where the function has raised an error on rank 0.
    """
    if rank_count() == 1:
        return function()
    try:
        outcome = (True, function()) if rank() == 0 else None
    except Exception:
        dist.broadcast_object_list([(False, None)], src=0)
        raise
    shared = [outcome]
    dist.broadcast_object_list(shared, src=0)
    worked, value = shared[0]
    if not worked:
        raise FirstRankError
    return value


def gathered(value: Value) -> list[Value]:
    """Return the values of all ranks, by rank."""
    values = [value] * rank_count()
    if rank_count() > 1:
        dist.all_gather_object(values, value)
    return values


def sum_over_ranks(value: Tensor) -> Tensor:
    """Return the sum of the ranks' values, which have no gradient."""
    if rank_count() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def batch_share(studies: int) -> float:
    """Return the weight of this rank's part of a batch: its studies by the ranks' mean number of them."""
    if rank_count() == 1:
        return 1.0
    return studies * rank_count() / sum_over_ranks(torch.tensor(float(studies))).item()


def shared_draw() -> Tensor:
    """Draw a number 0..1, the same one on every rank."""
    draw = torch.rand(())
    if rank_count() > 1:
        dist.broadcast(draw, src=0)
    return draw


class RankLosses(nn.Module):
    """A network and its losses as one module.

    DistributedDataParallel averages the gradients of its own ``forward`` alone. The losses call parts of a network and
    never the network itself, so a wrapped network would average nothing, without an error.
    """

    def __init__(self, network: nn.Module, losses: Callable[[object], dict[str, Tensor]]):
        super().__init__()
        self.network, self.losses = network, losses

    def forward(self, batch: object) -> tuple[dict[str, Tensor], bool]:
        """Return the losses of this rank's part of a batch, and whether any label is in it.

        A part without one has zero as the gradient of the first parameter, so that the other ranks need not wait. The
        rest counts as unused: parameters that no rank uses then get no gradient, as in one process.
        """
        losses = self.losses(batch)
        if losses["loss"].requires_grad:
            return losses, True
        first = next(p for p in self.network.parameters() if p.requires_grad)
        return losses | {"loss": losses["loss"] + 0 * first.sum()}, False


Step = Callable[[object], tuple[Tensor, dict[str, Tensor], bool]]


def training_step(network: nn.Module, losses: Callable[[object], dict[str, Tensor]]) -> Step:
    """Return batch -> the loss of this rank's part, the losses of the whole batch, whether the ranks step.

    The mean of the ranks' gradients is the whole batch's. Frozen parameters have to be frozen before.
    """
    if rank_count() == 1:

        def alone(batch: object) -> tuple[Tensor, dict[str, Tensor], bool]:
            found = losses(batch)
            return found["loss"], found, found["loss"].requires_grad

        return alone
    together = DistributedDataParallel(RankLosses(network, losses), find_unused_parameters=True)

    def step(batch: object) -> tuple[Tensor, dict[str, Tensor], bool]:
        found, learns = together(batch)
        values = torch.stack(
            [*(value.detach().float().cpu() for value in found.values()), torch.tensor(float(learns))]
        )
        *means, learning = sum_over_ranks(values) / rank_count()
        return found["loss"], dict(zip(found, means, strict=True)), bool(learning > 0)

    return step


def step_count(samples: int, batch: int) -> int:
    """Return the number of an epoch's steps; a last batch with fewer samples than ranks is left out."""
    return samples // batch + (samples % batch >= rank_count())


class RankBatches(Sampler[list[int]]):
    """This rank's part of each batch of an epoch. The batches are those of one process, in its order.

    Args:
        samples: Samples of the data set.
        batch: Samples per step, of all ranks together.
        generator: Generator of the epoch's order.
    """

    def __init__(self, samples: int, batch: int, generator: torch.Generator):
        self.samples, self.batch, self.generator = samples, batch, generator

    def __len__(self) -> int:
        return step_count(self.samples, self.batch)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.samples, generator=self.generator).tolist()
        for step in range(len(self)):
            yield order[step * self.batch : (step + 1) * self.batch][rank() :: rank_count()]
