"""Steps on the ranks that torchrun started: ``torchrun -m tests.training.rank_steps OUT``, for ``test_ranks.py``.

It writes each rank's gradients of single steps. The tests take the same steps in one process. Nothing in them is
random: batch norms and dropout are in evaluation mode, and every slice is segmented. Then it trains a small network
twice: unbroken, and with an interruption.
"""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lumbar.networks.architecture import ClassifierConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.device_choice import choose_device
from lumbar.sites import AXIAL_T2, SAGITTAL_T1
from tests.making.labelled_competition import SCHEDULE, tiny_detector
from tests.training.test_loop import small_network, small_task
from training.data.classifier_dataset import ClassifierBatch
from training.data.detector_dataset import DetectorBatch
from training.fitting.classifier_step import METRIC, classifier_losses, study_logits
from training.fitting.detector_step import detector_losses
from training.fitting.loop import CHECKPOINT, Task, fit
from training.fitting.losses import weight_means
from training.fitting.ranks import joined, rank, rank_count, training_step

SIDE = 64  # of the small grids that the fully convolutional detectors work on
TRAP = (
    "network_wrapped"  # the gradients that a wrapped network gives: they are no rank's business but its own
)


def volumes(description: str, labelled: list[int]) -> DetectorBatch:
    """Return a volume of four slices for each entry, with labels of its first so many classes."""
    random = np.random.default_rng(5)
    count, classes = len(labelled), 10
    mask = np.arange(classes) < np.array(labelled)[:, None]
    amplitude = mask[:, :, None] * random.random((count, classes, 4))
    arrays = random.random((count, 4, SIDE, SIDE)), random.random((count, classes, SIDE, SIDE)), amplitude
    grid, planes, amplitude = (torch.tensor(array, dtype=torch.float32) for array in arrays)
    return DetectorBatch(grid, planes, amplitude, torch.tensor(mask), torch.zeros(count, 4))


def studies(count: int) -> ClassifierBatch:
    """Return studies of random crops (32 x 32), a fifth of their labels missing."""
    random = np.random.default_rng(6)
    labels = torch.tensor(random.integers(-1, 3, (count, 25)))
    crops = torch.tensor(random.random((count, 25, 5, 32, 32)), dtype=torch.float32)
    return ClassifierBatch(crops, labels, labels.roll(1, 0), 0.7)


def detector(description: str, xy_target: str, pointer_share: float, labelled: list[int]):
    torch.manual_seed(0)
    network = DetectorNetwork(tiny_detector(description)).eval()
    losses = partial(
        detector_losses,
        network,
        xy_target=xy_target,
        slices_per_step=None,
        pointer_share=pointer_share,
    )
    return network, losses, volumes(description, labelled)


def classifier(count: int):
    torch.manual_seed(0)
    config = ClassifierConfig("test_convnext", "level", "shift", (0.0, 0.0, 0.0))
    network, batch = ClassifierNetwork(config).eval(), studies(count)
    means = weight_means(batch.labels)
    return (
        network,
        lambda part: classifier_losses(study_logits(network, part.crops), part, METRIC, means),
        batch,
    )


STEPS: dict[str, Callable] = {
    "own_targets": lambda: detector(SAGITTAL_T1, "own", 1.0, [10, 3, 10, 1]),
    "union_of_levels": lambda: detector(AXIAL_T2, "union_of_levels", 1.0, [10, 3, 0, 1]),
    "a_rank_without_labels": lambda: detector(SAGITTAL_T1, "own", 0.0, [10, 0, 4, 0]),
    "no_label_at_all": lambda: detector(SAGITTAL_T1, "own", 0.0, [0, 0, 0, 0]),
    "studies": lambda: classifier(4),
    "a_last_batch_that_the_ranks_do_not_divide": lambda: classifier(3),
}


def part_of(batch, number: int, count: int):
    """Return every ``count``-th row of a batch, from row ``number`` on."""
    rows = {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return replace(batch, **{name: value[number::count] for name, value in rows.items()})


def gradients(network: nn.Module, step: Callable, batch) -> tuple[dict[str, Tensor], dict]:
    """Take one step back; return the gradients of the parameters that have one, and the figures."""
    loss, figures, learns = step(part_of(batch, rank(), rank_count()))
    if loss.requires_grad:
        loss.backward()
    found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return found, {name: value.item() for name, value in figures.items()} | {"learns": learns}


def wrapped_network_step(network: nn.Module, losses: Callable) -> Callable:
    """Return a step that falls into the trap: it wraps the network, and the losses call its parts."""
    together = DistributedDataParallel(network, find_unused_parameters=True)
    inner = losses.keywords | {"network": together.module}

    def step(batch):
        found = detector_losses(batch=batch, **inner)
        return found["loss"], found, True

    return step


def ranked_task(fail_at: int | None = None) -> Task:
    """Return the small training of ``test_loop.py``, with this rank's rows of each batch."""
    task = small_task(small_network(), fail_at)
    return replace(
        task, batches=lambda epoch: [batch[rank() :: rank_count()] for batch in task.batches(epoch)]
    )


def train_twice(out: Path) -> None:
    """Train in OUT/unbroken, and in OUT/resumed with an interruption; OUT/interrupted.pt is its checkpoint."""
    schedule, device = replace(SCHEDULE, epochs=5, lr=1e-2), choose_device("cpu", "fp32")
    fit(ranked_task(), schedule, out / "unbroken", device, 1, "unbroken")
    try:
        fit(ranked_task(fail_at=7), schedule, out / "resumed", device, 1, "interrupted")
    except KeyboardInterrupt:
        torch.manual_seed(99)  # a new process has another state
    if rank() == 0:
        shutil.copy(out / "resumed" / CHECKPOINT, out / "interrupted.pt")
    fit(ranked_task(), schedule, out / "resumed", device, 1, "resumed")


def main(out: Path) -> None:
    """Write OUT/STEP-RANK.safetensors and .json of every step, and the two trainings."""
    torch.set_num_threads(1)
    with joined(cards=False):
        for name in (*STEPS, TRAP):
            network, losses, batch = STEPS["own_targets" if name == TRAP else name]()
            wrap = wrapped_network_step if name == TRAP else training_step
            found, figures = gradients(network, wrap(network, losses), batch)
            safetensors.torch.save_file(
                {key: value.contiguous() for key, value in found.items()},
                out / f"{name}-{rank()}.safetensors",
            )
            (out / f"{name}-{rank()}.json").write_text(json.dumps(figures))
        train_twice(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
