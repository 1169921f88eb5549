"""Points and heatmaps are inverse to each other, borders included."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lumbar.grids import CROP_OFFSETS
from lumbar.networks.heatmap import (
    local_peaks,
    logits_to_heatmap,
    points_to_heatmap,
    slice_peaks,
)
from tests.making.heatmap_points import heatmap_to_points
from tests.reference.reference_levels import find_peaks

SHAPE = (7, 48, 40)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(0, 6), st.integers(0, 47), st.integers(0, 39)))
def test_a_drawn_point_is_found_again(point):
    heatmap = points_to_heatmap(np.array([point], float), SHAPE)
    for kind in ("fixed", "dynamic"):
        points, values = heatmap_to_points(torch.from_numpy(heatmap), SHAPE[0], kind)
        assert tuple(points[0, 2]) == point
        assert values[0, 2] == 1
        assert (points[0, :, 0] == point[0] + np.array(CROP_OFFSETS)).all()


def test_label_fades_by_half_a_slice_and_stops_after_two():
    heatmap = points_to_heatmap(np.array([[3, 20, 20]], float), SHAPE)[0]
    assert np.allclose(heatmap.max(axis=(1, 2)), [0, 0.25, 0.5, 1, 0.5, 0.25, 0])
    assert heatmap[3, 24, 20] == pytest.approx(np.exp(-0.5))  # one sigma away


@pytest.mark.parametrize("end", [0, 6])
def test_at_an_end_only_the_slices_that_exist_are_written(end):
    peaks = points_to_heatmap(np.array([[end, 5, 5]], float), SHAPE)[0].max(axis=(1, 2))
    inwards = peaks if end == 0 else peaks[::-1]
    assert np.allclose(inwards, [1, 0.5, 0.25, 0, 0, 0, 0])


def test_unlabelled_is_zero_and_outside_is_refused():
    assert not points_to_heatmap(np.full((1, 3), np.nan), SHAPE).any()
    with pytest.raises(ValueError, match="inside the grid"):
        points_to_heatmap(np.array([[7, 0, 0]], float), SHAPE)


def test_heatmap_is_zero_on_a_padded_slice_whatever_the_logits():
    present = torch.tensor([True, False, True])
    heatmap = logits_to_heatmap(torch.full((2, 3, 4, 4), 50.0), torch.full((2, 3), 50.0), present)
    assert (heatmap[:, 1] == 0).all()
    assert (heatmap[:, [0, 2]] == 1).all()


def test_local_peaks_are_those_of_a_loop_over_blocks():
    rng = np.random.default_rng(2)
    heatmap = rng.permutation(2 * 3 * 96 * 80).reshape(2, 3, 96, 80).astype(np.float32)  # no ties
    value, place = local_peaks(torch.from_numpy(heatmap), 4)
    assert value.shape == (2, 3, 4) and place.shape == (2, 3, 4, 2)
    for at in np.ndindex(2, 3):
        found = [(v, z, int(y), int(x)) for z, y, x, v, _ in find_peaks(heatmap[at][None])]
        assert [tuple(p) for p in place[at].tolist()] == [(y, x) for _, _, y, x in found]
        assert value[at].tolist() == [v for v, *_ in found]
    assert (value[..., 0] == torch.from_numpy(heatmap).amax(dim=(-2, -1))).all()


def test_a_slice_with_fewer_peaks_has_the_lowest_value_and_nan_is_never_hidden():
    logits = torch.full((1, 32, 32), -5.0)
    logits[0, :8, :8] += torch.linspace(0, 1, 64).view(8, 8)
    logits -= torch.linspace(0, 3, 32)[:, None] + torch.linspace(0, 3, 32)  # falls off on all sides but one
    value, place = local_peaks(logits, 3)
    assert place[0, 0].tolist() == list(np.unravel_index(int(logits.argmax()), (32, 32)))
    assert (value[0, 1:] == torch.finfo(torch.float32).min).all()
    assert not value.sigmoid()[0, 1:].any()
    logits[0, 20, 20] = float("nan")
    assert local_peaks(logits, 3)[0].isnan().any()


def test_peaks_agree_with_a_loop_and_take_the_first_of_equals():
    rng = np.random.default_rng(1)
    heatmap = rng.integers(0, 4, (2, 5, 6, 7)).astype(np.float32)  # many ties
    value, place = slice_peaks(torch.from_numpy(heatmap))
    for c, z in np.ndindex(2, 5):
        y, x = np.unravel_index(np.argmax(heatmap[c, z]), (6, 7))
        assert (value[c, z], *place[c, z]) == (heatmap[c, z].max(), y, x)


def test_dynamic_takes_each_slices_own_peak_and_the_end_slice_beyond_the_end():
    heatmap = np.zeros((1, 4, 9, 9), np.float32)
    for z in range(4):
        heatmap[0, z, z, 2 * z] = 0.5 + 0.1 * (z == 3)
    points, values = heatmap_to_points(torch.from_numpy(heatmap), slices=4, xy="dynamic")
    assert points[0].tolist() == [[1, 1, 2], [2, 2, 4], [3, 3, 6], [4, 3, 6], [5, 3, 6]]
    assert np.allclose(values[0], [0.5, 0.5, 0.6, 0.6, 0.6])
    fixed, _ = heatmap_to_points(torch.from_numpy(heatmap), slices=4, xy="fixed")
    assert (fixed[0, :, 1:] == [3, 6]).all()


def test_padding_is_never_the_peak():
    heatmap = torch.zeros(1, 6, 5, 5)
    heatmap[0, 5, 2, 2] = 1  # beyond the three real slices
    points, _ = heatmap_to_points(heatmap, slices=3, xy="fixed")
    assert points[0, 2].tolist() == [0, 0, 0]
