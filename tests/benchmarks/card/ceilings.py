"""The machine's limits: copies to and on the card, and Python's cost of one launch."""

import time
from collections.abc import Callable

import torch

from lumbar.networks.device import Device

VOLUME_BYTES = 32 * 2**20  # a study's volumes
LAUNCHES = 1000


def ceilings(device: Device) -> dict[str, float]:
    """Return GB/s of copies and microseconds per small operator."""
    on = device.torch
    wait = torch.cuda.synchronize if on.type == "cuda" else lambda: None
    pageable = torch.zeros(VOLUME_BYTES, dtype=torch.uint8)
    there = torch.empty(VOLUME_BYTES, dtype=torch.uint8, device=on)
    large = torch.empty(2**30 if on.type == "cuda" else 2**24, dtype=torch.uint8, device=on)
    other = torch.empty_like(large)
    small = torch.zeros(8, device=on)
    found = {
        "pageable_gb_s": rate(lambda: there.copy_(pageable), VOLUME_BYTES, wait),
        "on_device_gb_s": rate(lambda: other.copy_(large), 2 * large.numel(), wait),
    }
    if on.type == "cuda":
        pinned = pageable.pin_memory()
        found["pinned_gb_s"] = rate(lambda: there.copy_(pinned, non_blocking=True), VOLUME_BYTES, wait)
    with torch.inference_mode():
        started = time.perf_counter()
        for _ in range(LAUNCHES):
            small.add_(1)
        python = time.perf_counter() - started
        wait()
    found["launch_us"] = 1e6 * python / LAUNCHES
    return found


def rate(copy: Callable[[], object], size: int, wait: Callable[[], None]) -> float:
    """Return GB/s, the best of ten."""
    best = float("inf")
    for _ in range(11):
        wait()
        started = time.perf_counter()
        copy()
        wait()
        best = min(best, time.perf_counter() - started)
    return size / best / 1e9
