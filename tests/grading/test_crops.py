"""A crop shows its point in the middle, and the borders follow the rule of the classifier."""

from enum import StrEnum

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lumbar.grading import crops
from lumbar.grading.crops import canal_points, enlarge, extract_windows
from lumbar.grids import CROP_INPUT, CROP_OFFSETS, unit_range
from lumbar.networks.architecture import Border


def site(z: int, y: int, x: int) -> np.ndarray:
    """One fixed point on the 256 grid, as (1, 5, 3)."""
    return np.array([[[z + offset, y, x] for offset in CROP_OFFSETS]])


@pytest.mark.parametrize("border", list(Border))
def test_the_dot_is_at_the_crops_centre(border):
    grid = np.zeros((9, 512, 512), np.uint8)
    grid[4, 2 * 100, 2 * 120] = 255
    crop = enlarge(torch.from_numpy(extract_windows(grid, site(4, 100, 120), border))).numpy()[0]
    assert crop.shape == (5, CROP_INPUT, CROP_INPUT)
    assert np.unravel_index(crop.argmax(), crop.shape)[0] == 2
    rows, columns = np.nonzero(crop[2] > 0.5 * crop.max())
    # Pixel 32 of 64 covers rows 64 and 65 of 128.
    assert rows.mean() == columns.mean() == 64.5


def test_the_canal_lies_midway_between_the_recesses_on_the_slice_of_the_surer_one():
    left = np.concatenate([site(z, 100, 140) for z in range(10, 15)])
    right = np.concatenate([site(z, 103, 121) for z in range(20, 25)])
    values = np.zeros((10, 5))
    values[[0, 6, 7], 2] = 0.9  # the first level's left, the next two's right; the others are alike
    canal = canal_points(np.concatenate([left, right]), values)
    assert canal.shape == (5, 5, 3)
    assert (canal[..., 1] == 101).all() and (canal[..., 2] == 130).all()
    assert canal[:, 2, 0].tolist() == [10, 21, 22, 13, 14]
    assert (np.diff(canal[..., 0]) == 1).all()
    assert canal_points(left, values[:5]) is left  # sagittal points are the canal's own


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.integers(0, 255), st.integers(0, 255))
def test_stretch_is_the_plain_trilinear_stretch_of_what_is_left(z, y, x):
    grid = np.random.default_rng(0).random((6, 512, 512), np.float32)
    left = grid[max(z - 2, 0) : z + 3, max(2 * y - 32, 0) : 2 * y + 32, max(2 * x - 32, 0) : 2 * x + 32]
    expected = F.interpolate(torch.from_numpy(left)[None, None], (5, 64, 64), mode="trilinear")[0, 0]
    assert np.allclose(extract_windows(grid, site(z, y, x), "stretch")[0], expected, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 3), st.integers(16, 240), st.integers(16, 240))
def test_a_window_wholly_inside_is_stretched_by_no_bit(z, y, x):
    """A copy has the bytes of the notebooks' interpolation."""
    grid = np.random.default_rng(0).integers(0, 256, (6, 512, 512), np.uint8)
    window = extract_windows(grid, site(z, y, x), "stretch")
    assert window.tobytes() == extract_windows(grid, site(z, y, x), "shift").tobytes()
    left = unit_range(grid[z - 2 : z + 3, 2 * y - 32 : 2 * y + 32, 2 * x - 32 : 2 * x + 32])
    expected = F.interpolate(torch.from_numpy(left)[:, None], (64, 64), mode="bilinear")
    assert window.tobytes() == expected.numpy().tobytes()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.integers(0, 255), st.integers(0, 255))
def test_shift_is_a_window_of_the_volume_itself(z, y, x):
    grid = np.random.default_rng(0).integers(0, 256, (6, 512, 512), np.uint8)
    top, left = min(max(2 * y - 32, 0), 448), min(max(2 * x - 32, 0), 448)
    slices = [min(max(z + offset, 0), 5) for offset in CROP_OFFSETS]
    expected = grid[slices, top : top + 64, left : left + 64] / np.float32(255)
    assert (extract_windows(grid, site(z, y, x), "shift")[0] == expected).all()


def test_each_slice_of_a_dynamic_point_has_its_own_window():
    grid = np.random.default_rng(0).integers(0, 256, (9, 512, 512), np.uint8)
    points = site(4, 100, 100)
    points[0, 0, 1:] = 60, 70
    window = extract_windows(grid, points, "shift")[0]
    assert (window[0] == grid[2, 88:152, 108:172] / np.float32(255)).all()
    assert (window[1] == grid[3, 168:232, 168:232] / np.float32(255)).all()


@pytest.mark.parametrize("border", list(Border))
def test_a_margin_adds_slices_at_the_outermost_places(border):
    grid = np.random.default_rng(1).integers(0, 256, (16, 512, 512), dtype=np.uint8)
    points = site(8, 90, 100)
    points[0, :, 1] += [3, 2, 0, 5, 7]
    wide = extract_windows(grid, points, border, 2)[0]
    assert (wide[2:7] == extract_windows(grid, points, border)[0]).all()
    for number, (z, place) in {0: (4, 0), 1: (5, 0), 7: (11, 4), 8: (12, 4)}.items():
        alone = site(z, *points[0, place, 1:])
        assert (wide[number] == extract_windows(grid, alone, border)[0, 2]).all()


def test_enlarging_works_slice_by_slice():
    windows = torch.rand(3, 5, 64, 64)
    crops = enlarge(windows)
    assert torch.equal(crops[1, 2], enlarge(windows[1, 2]))


def test_every_border_has_its_own_rule_and_no_other_name_has_one():
    grid = np.random.default_rng(0).integers(0, 256, (5, 512, 512), np.uint8)
    corner = {extract_windows(grid, site(0, 2, 3), border).tobytes() for border in Border}
    assert len(corner) == len(Border)
    with pytest.raises(ValueError, match="'wrap' is not a valid Border"):
        extract_windows(grid, site(2, 9, 9), "wrap")


def test_a_border_without_a_rule_is_not_stretched(monkeypatch):
    names = [(border.name, border.value) for border in Border]
    monkeypatch.setattr(crops, "Border", StrEnum("Border", [*names, ("WRAP", "wrap")]))
    with pytest.raises(AssertionError, match="WRAP"):
        extract_windows(np.zeros((5, 512, 512), np.uint8), site(2, 9, 9), "wrap")
