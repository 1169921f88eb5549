"""One training, epoch after epoch: step, evaluate, keep the best, survive being killed.

A training's parts come in as a ``Task``. Its folder holds checkpoint.pt, with everything for the next epoch,
best.safetensors, epochs.csv, curves.png, and at the end result.json.
"""

import csv
import io
import json
import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lumbar.atomic_files import atomic_path, write_atomically
from lumbar.networks.device import Device
from training.errors import TrainingError
from training.fitting.ranks import Step, from_first, gathered, rank, rank_count, training_step
from training.fitting.weight_average import WeightAverage
from training.json_files import known_only, write_strict_json
from training.plots import draw_curves
from training.recipes.schema import Schedule

log = logging.getLogger(__name__)

CHECKPOINT, BEST, RESULT, EPOCHS = "checkpoint.pt", "best.safetensors", "result.json", "epochs.csv"
OTHER_RANKS = "other_ranks"  # of a checkpoint: their random states, from rank 1 on
RANK_SEED = 1_000_003  # between the seeds of two ranks


@dataclass(frozen=True)
class Task:
    """A network, its batches and losses, and how it is judged.

    Attributes:
        network: The network, on its device.
        batches: Epoch, from 0 -> an iterable of this rank's batches, the same ones at every call.
        steps: Batches per epoch.
        losses: Batch -> named losses; ``"loss"`` is minimised.
        evaluate: Returns named figures of the validation studies.
        selection: The figure that chooses the best epoch; lower is better.
        train_mode: Puts the network into training mode; frozen parts stay in evaluation mode.
        keep_epoch: Epoch, from 1, with weights that are kept as ``epoch_N.safetensors``; None for none.
    """

    network: nn.Module
    batches: Callable[[int], Iterable]
    steps: int
    losses: Callable[[object], dict[str, Tensor]]
    evaluate: Callable[[], dict[str, float]]
    selection: str
    train_mode: Callable[[], object]
    keep_epoch: int | None = None


def fit(task: Task, schedule: Schedule, folder: Path, device: Device, seed: int, title: str) -> dict:
    """Train to the end, from the folder's checkpoint if there is one, and return result.json's content.

    A folder with a result is returned as it is. The best epoch's weights are loaded into the network
    before returning. On the CPU a killed and resumed training ends with the weights of an unbroken one, also on
    several ranks. Of these rank 0 alone evaluates and writes.

    Raises:
        TrainingError: The loss is not finite. There is nothing to train on. The checkpoint is of another number of
            ranks.
    """
    if from_first((folder / RESULT).is_file):
        load_tensors(task.network, folder / BEST)
        return json.loads((folder / RESULT).read_text())
    if not task.steps:
        raise TrainingError(
            f"{title}: got no labelled study for each rank, expected at least {rank_count()}; check the labels"
        )
    torch.manual_seed(seed + RANK_SEED * rank())
    parameters = [p for p in task.network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=schedule.weight_decay)
    total = schedule.epochs * task.steps
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: rate(s, total, schedule.warmup))
    scaler = torch.amp.GradScaler(device.torch.type, enabled=device.autocast_type == torch.float16)
    parts = {"network": task.network, "optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
    if schedule.clip_grad_norm is not None:
        optimizer.register_step_pre_hook(partial(clip_gradient, schedule.clip_grad_norm))
    evaluated = nullcontext
    if schedule.ema_decay is not None:
        parts["average"] = average = WeightAverage(task.network, schedule.ema_decay)
        optimizer.register_step_post_hook(lambda *_: average.update())
        evaluated = average.applied
    history = restore(folder / CHECKPOINT, parts, device, title)
    step = training_step(task.network, task.losses)
    for epoch in range(len(history), schedule.epochs):
        start = time.monotonic()
        row = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"]}
        row |= train_one_epoch(
            task, step, optimizer, scheduler, scaler, device, epoch, f"{title} {epoch + 1}"
        )
        row["train_seconds"] = time.monotonic() - start
        with evaluated():
            if (epoch + 1) % schedule.evaluate_every == 0 or epoch + 1 == schedule.epochs:
                task.network.eval()
                row |= from_first(task.evaluate)
                row["seconds"] = time.monotonic() - start
            history.append(row)
            if rank() == 0:
                write_weights(task, folder, history)
        if rank() == 0:
            log.info("%s: %s", title, ", ".join(f"{k} {v:.4g}" for k, v in row.items()))
        save_checkpoint(folder / CHECKPOINT, parts, device, history)
        if rank() == 0:
            write_epochs(folder / EPOCHS, history)
            draw_curves(folder / "curves.png", history, title)
    result = from_first(partial(finish, task, folder, history))
    load_tensors(task.network, folder / BEST)
    return result


def train_one_epoch(
    task, step: Step, optimizer, scheduler, scaler, device: Device, epoch: int, title: str
) -> dict:
    """Run one epoch and return the mean of each named loss."""
    task.train_mode()
    sums: dict[str, float] = {}
    steps = {"total": task.steps, "desc": title, "leave": False, "mininterval": 2.0, "disable": rank() > 0}
    bar = tqdm(task.batches(epoch), **steps)
    for batch in bar:
        with device.autocast():
            loss, losses, learns = step(batch)
        if not torch.isfinite(losses["loss"]):
            raise TrainingError(
                f"{title}: got loss {losses['loss'].item()}, expected a finite one; lower the learning rate"
            )
        optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad:
            scaler.scale(loss).backward()
        if learns:  # a batch without any label has no loss, and moves nothing
            scaler.step(optimizer)
            scaler.update()
        scheduler.step()
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        bar.set_postfix(loss=f"{losses['loss'].item():.4f}", refresh=False)
    return {name: value / task.steps for name, value in sums.items()}


def write_weights(task: Task, folder: Path, history: list[dict]) -> None:
    """Write the network's weights where the last epoch is the best one so far, or one to keep."""
    row = history[-1]
    if task.selection in row and best_epoch(history, task.selection) == row["epoch"]:
        save_tensors(task.network, folder / BEST)
    if row["epoch"] == task.keep_epoch:
        save_tensors(task.network, folder / f"epoch_{row['epoch']}.safetensors")


def finish(task: Task, folder: Path, history: list[dict]) -> dict:
    """Write result.json instead of the checkpoint, and return its content."""
    best = history[best_epoch(history, task.selection) - 1]
    seconds = sum(row.get("seconds", row["train_seconds"]) for row in history)
    result = {"best": best, "last": history[-1], "epochs": len(history), "seconds": seconds}
    training_seconds = sum(row["train_seconds"] for row in history)
    result |= {"steps": task.steps, "step_seconds": training_seconds / (len(history) * task.steps)}
    write_strict_json(folder / RESULT, result)
    (folder / CHECKPOINT).unlink()
    return known_only(result)


def clip_gradient(largest: float, optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Scale an optimizer's gradient down to the largest norm, before its step; GradScaler has unscaled it by then."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, largest)


def rate(step: int, total: int, warmup: float) -> float:
    """Return the learning rate's factor at a step: linear warm-up, then cosine to 0."""
    rising = warmup * total
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, total - rising))))


def best_epoch(history: list[dict], selection: str) -> int:
    """Return the number, from 1, of the epoch with the lowest selection figure; the later of equals.

    Where the figure is NaN throughout (no label to judge by), the last evaluated epoch.
    """
    judged = [(row[selection], row["epoch"]) for row in history if selection in row]
    finite = [(value, -epoch) for value, epoch in judged if math.isfinite(value)]
    return -min(finite)[1] if finite else max((epoch for _, epoch in judged), default=0)


def restore(file: Path, parts: dict, device: Device, title: str) -> list[dict]:
    """Load a checkpoint into the parts and return its history; an empty one if there is none.

    Raises:
        TrainingError: Another number of ranks wrote it. Each of them has a random state of its own.
    """
    if not from_first(file.is_file):
        return []
    state = torch.load(file, map_location=device.torch, weights_only=True)
    states = [state, *state.get(OTHER_RANKS, [])]
    if len(states) != rank_count():
        raise TrainingError(
            f"{file}: got a training of {len(states)} ranks, expected {rank_count()}, as it is run now. Go on with "
            f"torchrun --nproc-per-node {len(states)}, or delete the file to begin the member again."
        )
    for name, part in parts.items():
        part.load_state_dict(state[name])
    own = states[rank()]
    torch.set_rng_state(own["random"].cpu())
    if device.torch.type == "cuda":
        torch.cuda.set_rng_state(own["random_cuda"].cpu())
    log.info("%s: goes on after epoch %d", title, len(state["history"]))
    return state["history"]


def save_checkpoint(file: Path, parts: dict, device: Device, history: list[dict]) -> None:
    """Write everything the next epoch needs, atomically; the random states are those of all ranks."""
    own = {"random": torch.get_rng_state()}
    if device.torch.type == "cuda":
        own["random_cuda"] = torch.cuda.get_rng_state()
    first, *others = gathered(own)
    if rank() > 0:
        return
    state = {name: part.state_dict() for name, part in parts.items()} | first | {"history": history}
    if others:
        state[OTHER_RANKS] = others
    with atomic_path(file) as beside:
        torch.save(state, beside)


def save_tensors(network: nn.Module, file: Path) -> None:
    """Write a network's float32 weights, atomically."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(file) as beside:
        safetensors.torch.save_file(tensors, beside)


def load_tensors(network: nn.Module, file: Path) -> None:
    """Load weights that ``save_tensors`` wrote, strictly."""
    network.load_state_dict(safetensors.torch.load_file(file))


def write_epochs(file: Path, history: list[dict]) -> None:
    """Write one line an epoch; figures an epoch does not have stay empty."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(file, text.getvalue())
