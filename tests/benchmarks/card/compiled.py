"""Compiled classifiers against those that run as they are: the compiler's seconds, a pass's, and equality."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, inference_mode

from lumbar.bundle.manifest import read_manifest
from lumbar.bundle.members import Bundle, Classifier
from lumbar.grading.ensemble import CROPS_A_SLICE, crop_features
from lumbar.grading.study_grading import StudyGrader
from lumbar.grids import WINDOW
from lumbar.networks.batch_runner import CACHE_VARIABLE
from lumbar.networks.device import Device
from lumbar.networks.device_choice import choose_device
from lumbar.run.compiler_process import fill_cache, untrained

REPEATS = 7


def compare_compiled(bundle: Path, device_name: str, cache: Path, save: Callable[[dict], None]) -> None:
    """Save the seconds to fill an empty cache and to take from it, and each backbone's passes both ways.

    Args:
        bundle: Folder of a bundle; the compiler is given each of its backbones.
        device_name: Of ``choose_device``.
        cache: An empty folder for the compiler's results.
        save: Called with the figures so far.
    """
    os.environ[CACHE_VARIABLE] = str(cache)
    device = replace(choose_device(device_name), fixed_shapes=True)  # also on the CPU of a rehearsal
    backbones = list(dict.fromkeys(one["config"]["backbone"] for one in read_manifest(bundle).classifiers))
    found: dict = {"fill_s": seconds_to_fill(device, backbones)}
    members = tuple(Classifier(name, 1.0, untrained(name, device)) for name in backbones)
    grader = StudyGrader(Bundle("untrained", "nothing", (), members, np.empty(0), ""), device)
    windows = torch.rand(CROPS_A_SLICE * device.batch, 1, WINDOW, WINDOW, device=device.torch)
    before = [timed_pass(grader, member, windows) for member in members]
    started = time.perf_counter()
    grader.use_compiled()
    found["take_s"] = time.perf_counter() - started
    rows = found["backbones"] = []
    for member, (seconds, features) in zip(members, before, strict=True):
        compiled_seconds, compiled = timed_pass(grader, member, windows)
        apart = float((compiled - features).abs().max() / features.abs().max())
        ms = {"pass_ms": 1e3 * seconds, "compiled_ms": 1e3 * compiled_seconds}
        rows.append({"backbone": member.name, "difference": apart} | ms)
        save(found)


def seconds_to_fill(device: Device, backbones: Sequence[str]) -> float:
    """Return the seconds that the compiler's process takes, from its start on; RuntimeError if it fails."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    started = time.perf_counter()
    process = context.Process(target=fill_cache, args=(theirs, device, backbones), daemon=True)
    process.start()
    theirs.close()
    if error := ours.recv():
        raise RuntimeError(error)
    return time.perf_counter() - started


@inference_mode()
def timed_pass(grader: StudyGrader, member: Classifier, windows: Tensor) -> tuple[float, Tensor]:
    """Return the median seconds of a pass, and its features."""
    wait = torch.cuda.synchronize if windows.is_cuda else lambda: None
    seconds, features = [], windows
    for _ in range(REPEATS + 2):  # the first two load and capture
        wait()
        started = time.perf_counter()
        features = grader.runner.run(crop_features, member.network, windows, member.name, CROPS_A_SLICE)
        wait()
        seconds.append(time.perf_counter() - started)
    return median(seconds[2:]), features
