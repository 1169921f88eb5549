"""Networks on a device: weights kept in the type they compute in change no answer."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from lumbar.grading.ensemble import classify
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.member_runs import in_float32
from lumbar.grading.point_search import find_points
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device import Device, NotFiniteError
from lumbar.networks.fusion import onednn
from lumbar.networks.fusion.rewrite import fuse
from lumbar.sites import AXIAL_T2
from tests.making.random_bundle import random_classifier
from tests.networks.test_detector import grid, small_network

HALF = Device(torch.device("cpu"), torch.bfloat16, "test", batch=4)
WIDE = Device(torch.device("cpu"), None, "test", batch=4)
IN_HALF, IN_FULL = BatchRunner(HALF), BatchRunner(WIDE)


def convolution_types(network: nn.Module) -> set[torch.dtype]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d, *onednn.LAYERS.values())
    return {m.weight.dtype for m in network.modules() if isinstance(m, kinds)}


@pytest.mark.parametrize("pointer", ["lstm", "transformer"])
def test_a_detector_with_half_weights_finds_what_autocast_finds(pointer):
    network, volume = small_network(pointer, AXIAL_T2), grid(7)
    placed = copy.deepcopy(network)
    HALF.place(placed)
    assert convolution_types(placed) == {torch.bfloat16}
    kinds = {"fixed", "dynamic"}
    for kind, expected in find_points(network, volume, kinds, IN_HALF).items():
        found = find_points(placed, volume, kinds, IN_HALF)[kind]
        assert (found.points == expected.points).all() and (found.values == expected.values).all()
    WIDE.place(placed)
    assert {p.dtype for p in placed.parameters()} == {torch.float32}
    find_points(placed, volume, kinds, IN_FULL)


@pytest.mark.parametrize("backbone", ["test_byobnet", "test_convnext", "tf_efficientnetv2_b0"])
def test_a_classifier_with_half_weights_says_what_autocast_says(backbone, monkeypatch):
    torch.manual_seed(0)
    plain = random_classifier("c", backbone, "level", "shift")
    windows = torch.rand(1, 25, 5, 64, 64).numpy()

    def half() -> nn.Module:
        fused = fuse(copy.deepcopy(plain.network), HALF)
        HALF.place(fused)
        assert convolution_types(fused) == {torch.bfloat16}
        return fused

    right = pytest.approx(classify(plain, windows, IN_FULL), abs=0.05)
    assert classify(dataclasses.replace(plain, network=half()), windows, IN_HALF) == right
    # Layers joined with their activation round once less than autocast.
    monkeypatch.setattr(onednn, "available", lambda: False)
    fused = dataclasses.replace(plain, network=fuse(plain.network, HALF))
    placed = dataclasses.replace(plain, network=half())
    said = classify(placed, windows, IN_HALF)
    assert (said == classify(fused, windows, IN_HALF)).all()
    assert said == right


def test_a_weight_that_the_type_can_not_hold_stays_in_float32():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    nn.init.constant_(network[0].weight, 1e6)
    Device(torch.device("cpu"), torch.float16, "test", batch=1).place(network)
    assert [layer.weight.dtype for layer in network] == [torch.float32, torch.float16]
    assert network[0].weight.max() == 1e6


@pytest.mark.parametrize("helps", [True, False])
def test_the_second_try_has_float32_weights_and_the_next_study_half_ones_again(helps):
    network = nn.Sequential(nn.Linear(2, 2))
    HALF.place(network)
    seen = []

    def run(runner: BatchRunner) -> str:
        seen.append((runner.device.autocast_type, network[0].weight.dtype))
        if not helps:
            raise NotFiniteError("test")
        return "said"

    graded = GradedStudy("1")
    error = NotFiniteError("first")
    assert in_float32(run, [network], IN_HALF, error, "member", graded) == ("said" if helps else None)
    assert seen == [(None, torch.float32)]
    assert network[0].weight.dtype == torch.bfloat16
    assert len(graded.faults) == (0 if helps else 1)


def test_float32_is_not_rounded_to_tf32_inside_the_context_alone():
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = True
        card = Device(torch.device("cuda"), None, "test", batch=1)
        with pytest.raises(RuntimeError, match="inside"), card.autocast():
            assert [backend.allow_tf32 for backend in backends] == [False, False]
            raise RuntimeError("inside")
        assert [backend.allow_tf32 for backend in backends] == [True, True]
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed
