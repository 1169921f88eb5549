"""Weights that wait in a mapped file: the same answers, and memory only for those at work."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lumbar.bundle import placement
from lumbar.bundle.placement import ready_bundle
from lumbar.grading.ensemble import classify
from lumbar.grading.study_grading import StudyGrader
from lumbar.grading.time_limit import Plan
from lumbar.networks import parked_weights as scratch
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device_choice import choose_device
from lumbar.networks.parked_weights import ALIGNMENT, Scratch
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from tests.making.random_bundle import random_classifier
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import write_tiny_bundle

WINDOWS = np.random.default_rng(0).random((1, 25, 5, 64, 64), dtype=np.float32)
pytestmark = pytest.mark.skipif(not scratch.MAPPABLE, reason="weights are mapped on Linux alone")


def resident_kb(network: torch.nn.Module) -> list[int]:
    """Return, of each mapped file that a network's weights lie in, how much is in this process's memory."""
    addresses = {tensor.data_ptr() for tensor in network.parameters()}
    found = []
    for block in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        start, end = (int(number, 16) for number in block.split(" ")[0].split("-"))
        if "(deleted)" in block.splitlines()[0] and any(start <= a < end for a in addresses):
            found.append(int(re.search(r"Rss:\s+(\d+) kB", block)[1]))
    return found


@pytest.mark.parametrize("precision", ["fp32", "amp"])
def test_a_classifier_in_the_scratch_file_says_the_same(tmp_path, monkeypatch, precision):
    """With convolutions, linear layers, LSTMs, buffers; in the memory format that it had."""
    device, folder = choose_device("cpu", precision), write_tiny_bundle(tmp_path)
    (kept,) = ready_bundle(folder, device).classifiers
    monkeypatch.setattr(placement, "RESIDENT_BYTES", 0)
    bundle = ready_bundle(folder, device)
    (waiting,) = bundle.classifiers
    assert list(bundle.scratch.maps) == [id(waiting.network)]
    for one, other in zip(kept.network.parameters(), waiting.network.parameters(), strict=True):
        assert one.stride() == other.stride() and one.data_ptr() % ALIGNMENT == 0
    expected = classify(kept, WINDOWS, BatchRunner(device))
    for _ in range(2):  # again after its memory is gone
        np.testing.assert_array_equal(classify(waiting, WINDOWS, BatchRunner(device)), expected)
        bundle.scratch.release(waiting.network)


def test_only_a_network_at_work_is_in_memory():
    device, waiting = choose_device("cpu", "fp32"), random_classifier("a", "test_convnext", "level", "shift")
    store = Scratch(resident_bytes=0)
    store.keep(waiting.network)
    assert resident_kb(waiting.network) == [0]
    classify(waiting, WINDOWS, BatchRunner(device))
    (used,) = resident_kb(waiting.network)
    assert used > 100
    store.release(waiting.network)
    assert resident_kb(waiting.network) == [0]


def test_a_graded_study_leaves_no_waiting_network_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(placement, "RESIDENT_BYTES", 0)
    device = choose_device("cpu", "fp32")
    bundle = ready_bundle(write_tiny_bundle(tmp_path / "bundle"), device)
    (ref, *_) = find_dataset(write_studies(tmp_path / "data")).studies
    (graded,) = StudyGrader(bundle, device).grade([read_study(ref)], Plan(1, 1))
    assert len(graded.members) == 1
    assert resident_kb(bundle.classifiers[0].network) == [0]


def test_the_first_networks_stay_in_memory():
    members = [random_classifier(name, "test_convnext", "level", "shift") for name in "abc"]
    size = sum(scratch.aligned(t) for t in members[0].network.state_dict().values())
    store = Scratch(resident_bytes=2 * size)
    for member in members:
        store.keep(member.network)
    assert list(store.maps) == [id(members[2].network)]


def test_without_a_file_the_weights_stay_in_memory(monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scratch.os, "posix_fallocate", full)
    member = random_classifier("a", "test_convnext", "level", "shift")
    store = Scratch(resident_bytes=0)
    store.keep(member.network)
    assert not store.maps and "No space left on device" in caplog.text
    store.release(member.network)
    classify(member, WINDOWS, BatchRunner(choose_device("cpu", "fp32")))
