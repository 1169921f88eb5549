"""Stage 1: batches do not matter, and the short way to the points is exact."""

import numpy as np
import pytest
import torch

from lumbar.grading.point_search import SearchRequest, find_points, search_points
from lumbar.grading.slice_choice import slices_to_segment
from lumbar.networks.architecture import DetectorConfig
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.detector import DetectorNetwork, neighbours, present_slices
from lumbar.networks.device import Device, NotFiniteError
from lumbar.networks.heatmap import logits_to_heatmap
from lumbar.sites import AXIAL_T2, SAGITTAL_T1
from tests.making.heatmap_points import heatmap_to_points
from tests.making.random_bundle import pictures, settle, sharpen

SIZE = 64  # the networks take any multiple of 32; small pictures keep the tests quick
CPU = BatchRunner(Device(torch.device("cpu"), None, "test", batch=4))


def small_network(
    pointer: str = "lstm", description: str = SAGITTAL_T1, length: int = 12, slice_positions: bool = False
) -> DetectorNetwork:
    torch.manual_seed(0)
    config = DetectorConfig(
        description,
        "regnetx_002",
        5,
        (32, 16, 16, 8, 8),
        "regnetx_002",
        pointer,
        32,
        length,
        slice_positions,
    )
    network = DetectorNetwork(config).eval()
    settle(network.segmenter, pictures(3, SIZE))
    settle(network.pointer.encoder, pictures(3, SIZE))
    sharpen(network.pointer.head, 10)
    return network


def grid(slices: int, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return pictures(slices, SIZE)[0] * torch.rand(slices, 1, 1)


@pytest.mark.parametrize("pointer", ["lstm", "transformer"])
def test_a_batch_of_two_is_two_batches_of_one(pointer):
    network = small_network(pointer, length=6)
    batch = torch.zeros(2, 6, SIZE, SIZE)
    batch[0], batch[1, :4] = grid(6), grid(4, seed=1)
    with torch.inference_mode():
        together = network(batch)
        apart = [network(batch[i : i + 1]) for i in range(2)]
    for kind in range(2):
        for i in range(2):
            assert torch.allclose(together[kind][i], apart[i][kind][0], atol=1e-4)


@pytest.mark.parametrize("pointer", ["lstm", "transformer"])
@pytest.mark.parametrize("slices", [1, 2, 9, 11, 12])
def test_the_short_way_finds_what_the_whole_heatmap_shows(pointer, slices):
    network = small_network(pointer)
    volume = grid(slices)
    if slices > 5:
        volume[3] = 0  # a black slice inside
    padded = torch.zeros(1, 12, SIZE, SIZE)
    padded[0, :slices] = volume
    with torch.inference_mode():
        segmenter, point = network(padded)
    heatmap = logits_to_heatmap(segmenter[0], point[0], present_slices(padded)[0])
    found = find_points(network, volume, {"fixed", "dynamic"}, CPU)
    for kind in ("fixed", "dynamic"):
        points, values = heatmap_to_points(heatmap, slices, kind)
        assert np.allclose(found[kind].values, values, atol=1e-5)
        assert (found[kind].points == points).all()


@pytest.mark.parametrize("seed", range(6))
def test_with_a_prior_the_short_way_finds_what_the_whole_weighted_heatmap_shows(seed):
    network, volume, random = small_network(), grid(9), np.random.default_rng(seed)
    padded = torch.zeros(1, 12, SIZE, SIZE)
    padded[0, :9] = volume
    with torch.inference_mode():
        segmenter, point = network(padded)
    heatmap = logits_to_heatmap(segmenter[0], point[0], present_slices(padded)[0])
    weight = (0.01 + 0.99 * random.random((10, 9)) ** random.integers(1, 9)).astype(np.float32)
    weight[seed] = 1  # a class without a prior
    weighted = heatmap[:, :9] * torch.from_numpy(weight)[:, :, None, None]
    request = SearchRequest(network, volume, frozenset({"fixed", "dynamic"}), weight)
    (found,) = search_points([request], CPU)
    for kind in ("fixed", "dynamic"):
        points, values = heatmap_to_points(weighted, 9, kind)
        assert np.allclose(found[kind].values, values, atol=1e-5)
        assert (found[kind].points == points).all()
    plain = find_points(network, volume, {"fixed"}, CPU)["fixed"].points
    moved = (found["fixed"].points != plain).any(axis=(1, 2))
    assert moved.any() and not moved[seed]


@pytest.mark.parametrize("pointer", ["lstm", "transformer"])
def test_a_pointer_that_reads_positions_starts_as_one_that_does_not(pointer):
    plain, network = small_network(pointer), small_network(pointer, slice_positions=True)
    volume, positions = torch.zeros(1, 12, SIZE, SIZE), torch.linspace(-20, 20, 12)[None]
    volume[0] = grid(12)
    with torch.inference_mode():
        expected, before = plain(volume)[1], network(volume, positions)[1]
        torch.nn.init.normal_(network.pointer.position)
        after, unknown = network(volume, positions)[1], network(volume)[1]
    assert torch.equal(before, expected) and torch.equal(unknown, expected)
    assert (after - expected).abs().max() > 0.1
    assert "pointer.position" not in plain.state_dict()


@pytest.mark.parametrize("pointer", ["lstm", "transformer"])
@pytest.mark.parametrize("slices", [1, 9, 12])
def test_the_short_way_is_exact_with_positions_too(pointer, slices):
    network = small_network(pointer, slice_positions=True)
    torch.nn.init.normal_(network.pointer.position)
    positions = np.linspace(-24, 24, slices, dtype=np.float32)
    padded = torch.zeros(1, 12, SIZE, SIZE)
    padded[0, :slices] = grid(slices)
    known = torch.zeros(1, 12)
    known[0, :slices] = torch.from_numpy(positions)
    with torch.inference_mode():
        segmenter, point = network(padded, known)
    heatmap = logits_to_heatmap(segmenter[0], point[0], present_slices(padded)[0])
    found = find_points(network, padded[0, :slices], {"fixed", "dynamic"}, CPU, positions)
    for kind in ("fixed", "dynamic"):
        points, values = heatmap_to_points(heatmap, slices, kind)
        assert np.allclose(found[kind].values, values, atol=1e-5)
        assert (found[kind].points == points).all()


def test_volumes_side_by_side_keep_their_own_positions():
    network = small_network(slice_positions=True)
    torch.nn.init.normal_(network.pointer.position)
    volumes = [(grid(9), np.linspace(-20, 20, 9, dtype=np.float32)), (grid(9), None), (grid(12), None)]
    volumes[2] = (volumes[2][0], np.linspace(-40, 40, 12, dtype=np.float32))
    kinds = frozenset({"fixed"})
    together = search_points([SearchRequest(network, v, kinds, positions=p) for v, p in volumes], CPU)
    for found, (volume, positions) in zip(together, volumes, strict=True):
        alone = find_points(network, volume, kinds, CPU, positions)["fixed"]
        assert (found["fixed"].points == alone.points).all()
        assert np.allclose(found["fixed"].values, alone.values, atol=1e-5)
    assert not np.allclose(together[0]["fixed"].values, together[1]["fixed"].values, atol=1e-3)


def test_slices_that_can_not_win_are_never_segmented():
    network = small_network()
    volume = grid(12)
    everything = find_points(network, volume, {"fixed"}, CPU).popitem()[1]
    with torch.no_grad():  # a pointer that is sure of one slice for all classes
        network.pointer.head.weight.zero_()
        network.pointer.head.bias.fill_(-9)
    original = network.pointer.point
    network.pointer.point = lambda features, present: original(features, present).index_fill(
        2, torch.tensor([4]), 9.0
    )
    peaked = find_points(network, volume, {"fixed"}, CPU).popitem()[1]
    assert peaked.segmented == 1 < everything.segmented
    assert (peaked.points[:, 2, 0] == 4).all()
    dynamic = find_points(network, volume, {"dynamic"}, CPU).popitem()[1]
    assert dynamic.segmented == 5


def test_an_equal_bound_is_looked_at_only_where_it_would_come_first():
    bound = np.array([[0.5, 0.9, 0.5]])
    value = np.array([[0.0, 0.5, 0.0]])
    done = np.array([False, True, False])
    assert slices_to_segment(bound, value, done, dynamic=False).tolist() == [0]
    assert slices_to_segment(bound, value, np.array([True, True, False]), dynamic=False).tolist() == []


def test_a_dynamic_detector_asks_for_a_crop_at_once_and_then_for_what_is_missing():
    bound = np.array([[0.1, 0.2, 0.9, 0.6, 0.1, 0.1, 0.5, 0.1], [0.0, 0.8, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0]])
    value, done = np.zeros_like(bound), np.zeros(8, bool)
    assert slices_to_segment(bound, value, done, dynamic=False).tolist() == [1, 2]
    first = slices_to_segment(bound, value, done, dynamic=True)
    assert first.tolist() == [0, 1, 2, 3, 4]
    value[:, first], done[first] = 0.4 * bound[:, first], True
    then = slices_to_segment(bound, value, done, dynamic=True)
    assert then.tolist() == [5, 6, 7]  # 0.5 could still beat 0.36; one class is decided
    value[0, then], done[then] = [0.01, 0.45, 0.01], True
    assert slices_to_segment(bound, value, done, dynamic=True).tolist() == []  # the crop of slice 6 is there


def test_an_all_black_volume_has_its_points_at_the_origin():
    found = find_points(small_network("transformer"), torch.zeros(4, SIZE, SIZE), {"fixed"}, CPU)["fixed"]
    assert (found.points[:, 2] == 0).all()
    assert (found.values == 0).all()
    assert found.segmented == 0


def test_weights_that_give_nan_are_an_error_not_a_point():
    network = small_network()
    with torch.no_grad():
        network.pointer.head.bias[0] = float("nan")
    with pytest.raises(NotFiniteError, match="pointer"):
        find_points(network, grid(3), {"fixed"}, CPU)


def test_neighbours_are_zero_beyond_the_ends():
    volume = torch.arange(1.0, 4)[None, :, None, None]
    assert neighbours(volume)[0, :, :, 0, 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 0]]
    images = neighbours(torch.rand(2, 5, 8, 8)).flatten(0, 1)
    assert images.is_contiguous(memory_format=torch.channels_last)  # so no network turns them round


def test_four_feature_levels_leave_out_the_stages_behind_them():
    config = DetectorConfig(AXIAL_T2, "tf_efficientnet_b0", 4, (32, 16, 8, 8), "regnetx_002", "lstm", 16, 8)
    network = DetectorNetwork(config).eval()
    assert network.segmenter(torch.rand(1, 3, SIZE, SIZE)).shape == (1, 10, SIZE, SIZE)
    assert not any(key.startswith("encoder.blocks.5") for key in network.segmenter.state_dict())
    with pytest.raises(ValueError, match="decoder_channels"):
        DetectorNetwork(
            DetectorConfig(AXIAL_T2, "tf_efficientnet_b0", 4, (32, 16), "regnetx_002", "lstm", 16, 8)
        )


@pytest.mark.parametrize("encoder", ["test_convnext", "test_resnet", "regnetx_002"])
def test_logits_lie_on_the_grid_whatever_the_encoder_s_first_stride(encoder):
    levels = 4 if encoder == "test_convnext" else 5
    config = DetectorConfig(AXIAL_T2, encoder, levels, (8,) * levels, "test_resnet", "lstm", 16, 8)
    assert DetectorNetwork(config).eval().segmenter(torch.rand(1, 3, SIZE, SIZE)).shape[-2:] == (SIZE, SIZE)
