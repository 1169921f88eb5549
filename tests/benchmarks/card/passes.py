"""One network, one batch: how long a pass takes on the card and in Python, eager and as a captured graph."""

import copy
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from lumbar.grids import CROP_INPUT, DETECTOR_GRID
from lumbar.networks.device import Device
from lumbar.networks.fusion.rewrite import fuse
from tests.benchmarks.flop_floor import COUNTED
from tests.making.operator_count import OperatorCount

REPEATS = 7
WAYS = ("autocast", "half", "graph", "fp32")


def time_passes(networks: dict, sizes: dict, device: Device, save: Callable[[list], None]) -> None:
    """Time each part of each network at each batch size, in each way of computing; save rows as they come.

    Args:
        networks: Network by name, in float32 on the CPU.
        sizes: Batch sizes by part: ``"segmenter"``, ``"pointer"``, ``"backbone"``.
        device: Where, with the autocast type of AMP.
        save: Called with all rows so far.
    """
    rows: list[dict] = []
    for name, network in networks.items():
        fused = fuse(network, COUNTED)  # as for a card, wherever this runs
        for part, function, channels, side in parts_of(fused):
            for way in WAYS[: None if device.torch.type == "cuda" else 2]:
                for size in sizes[part]:
                    row = {"network": name, "part": part, "way": way, "batch": size}
                    try:
                        row |= time_pass(fused, function, (size, channels, side, side), way, device)
                    except Exception as error:
                        row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
                    rows.append(row)
                    save(rows)


def parts_of(network: nn.Module) -> list[tuple[str, Callable, int, int]]:
    """Return a network's parts: name, call, channels and side of an image."""
    if hasattr(network, "segmenter"):
        return [
            ("pointer", lambda n, x: n.pointer.encode(x), 3, DETECTOR_GRID),
            ("segmenter", lambda n, x: n.segmenter(x), 3, DETECTOR_GRID),
        ]
    return [("backbone", lambda n, x: n.features(x), 1, CROP_INPUT)]


@torch.inference_mode()
def time_pass(network: nn.Module, function: Callable, shape: tuple, way: str, device: Device) -> dict:
    """Return seconds of the first pass, of a later one on the card and in Python, operators and memory."""
    network = copy.deepcopy(network)
    kind = torch.float32 if way == "fp32" else device.autocast_type or torch.float32
    if way == "autocast":
        device.place(network)
    else:
        network.to(device.torch, kind)
    images = torch.rand(shape, device=device.torch, dtype=kind)
    wait = torch.cuda.synchronize if device.torch.type == "cuda" else lambda: None

    def once() -> Tensor:
        with device.autocast() if way == "autocast" else torch.autocast(device.torch.type, enabled=False):
            return function(network, images)

    wait()
    started = time.perf_counter()
    once()
    wait()
    first = time.perf_counter() - started
    with OperatorCount() as counted:
        once()
    call = captured(once) if way == "graph" else once
    call()
    wait()
    python, card = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        python.append(time.perf_counter() - started)
        wait()
        card.append(time.perf_counter() - started)
    row = {"first_s": first, "pass_ms": 1e3 * median(card), "python_ms": 1e3 * median(python)}
    row["image_us"] = 1e3 * row["pass_ms"] / shape[0]
    row["operators"] = counted.operators
    if device.torch.type == "cuda":
        row["memory_mb"] = torch.cuda.max_memory_allocated() >> 20
        torch.cuda.reset_peak_memory_stats()
        del call
        torch.cuda.empty_cache()
    return row


def captured(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Return a call that replays a pass as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = function()

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay
