"""A random look changes grey levels and slices, and never the place of a label or the order of the slices."""

import numpy as np
import pytest

from training.data.appearance_augmentation import (
    augment_appearance,
    blurred,
    normalised,
    random_coil,
    random_curve,
    random_slices,
    stretched,
)
from training.recipes.augmentation import Appearance

STRONG = Appearance(curve=1, field=0.3, coil=1.6, blur=1.5, noise=0.05, drop=1, black=1)
NOTHING = Appearance(curve=0, field=0, coil=0, blur=0, noise=0, drop=0, black=0)
POINTS = np.array([[4.0, 60 + 30 * level, 120 + 5 * level] for level in range(5)])


def volume(slices: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume of noise, and the amplitudes of five labels on slice 4."""
    grid = np.random.default_rng(0).uniform(0.2, 0.8, (slices, 256, 256)).astype(np.float32)
    amplitude = np.zeros((5, slices), np.float32)
    for off, peak in ((0, 1.0), (1, 0.5), (2, 0.25)):
        amplitude[:, [4 - off, 4 + off]] = peak
    return grid, amplitude


@pytest.mark.parametrize("seed", range(20))
def test_a_look_keeps_the_range_the_peak_and_black_slices(seed):
    grid, amplitude = volume()
    grid[0] = 0
    look, faded, kept = augment_appearance(grid, POINTS, amplitude, np.random.default_rng(seed), STRONG)
    np.testing.assert_array_equal(
        faded.max(axis=0) == 1, (amplitude[:, kept] == amplitude[:, kept].max()).all(axis=0)
    )
    assert look.dtype == np.float32 and look.shape[0] == faded.shape[1] <= 9
    assert look.min() >= 0 and look.max() <= 1
    assert (faded.max(axis=1) == 1).all()  # every class still has its slice
    shown = look.any(axis=(1, 2))
    assert shown[faded.max(axis=0) == 1].all() and not faded[:, ~shown].any()


def test_the_same_numbers_give_the_same_look_and_the_input_stays():
    grid, amplitude = volume()
    before = grid.copy(), amplitude.copy()
    looks = [augment_appearance(grid, POINTS, amplitude, np.random.default_rng(3), STRONG) for _ in range(2)]
    np.testing.assert_array_equal(looks[0][0], looks[1][0])
    np.testing.assert_array_equal(grid, before[0])
    np.testing.assert_array_equal(amplitude, before[1])


def test_without_any_range_only_the_white_point_changes():
    grid, amplitude = volume()
    look, faded, kept = augment_appearance(grid, POINTS, amplitude, np.random.default_rng(0), NOTHING)
    np.testing.assert_allclose(look, stretched(grid), atol=1e-6)
    np.testing.assert_array_equal(faded, amplitude)
    assert kept.tolist() == list(range(9))


@pytest.mark.parametrize("seed", range(20))
def test_kept_slices_are_in_order_and_hold_a_labelled_one(seed):
    _, amplitude = volume()
    kept = random_slices(np.random.default_rng(seed), amplitude)
    assert (np.diff(kept) > 0).all() and len(set(np.diff(kept))) <= 1
    assert 4 in kept and (normalised(amplitude[:, kept]).max(axis=1) == 1).all()


def test_a_stack_without_labels_keeps_all_slices():
    assert random_slices(np.random.default_rng(0), np.zeros((5, 7), np.float32)).tolist() == list(range(7))
    assert not normalised(np.zeros((5, 7), np.float32)).any()


def test_curves_are_tables_of_grey_levels_and_mostly_rise():
    curves = [random_curve(np.random.default_rng(seed)) for seed in range(200)]
    assert all(c.shape == (256,) and c[0] == 0 and c.min() >= 0 and c.max() <= 1 + 1e-6 for c in curves)
    rising = np.mean([(np.diff(c) >= -1e-6).all() for c in curves])
    assert 0.7 < rising < 0.97


def test_the_coil_leaves_the_labelled_points_and_differs_before_and_behind():
    gains = random_coil(np.random.default_rng(1), POINTS, 1.6)
    at_points = [gains[int(row), int(column)] for _, row, column in POINTS]
    np.testing.assert_allclose(at_points, 0, atol=1e-9)
    assert gains[120, 0] != gains[120, 255] and np.abs(gains).max() <= 1.6
    assert not random_coil(np.random.default_rng(1), np.full((5, 3), np.nan), 1.6).any()


def test_a_negative_blur_sharpens():
    grid, _ = volume()
    spread = [blurred(grid, sigma).std() for sigma in (1.0, 0.0, -0.5)]
    assert spread[0] < spread[1] < spread[2]
