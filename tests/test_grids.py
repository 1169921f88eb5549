"""Points and pixels move together between the grids."""

import cv2
import numpy as np
import pytest

from lumbar.grids import (
    CROP_GRID,
    CROP_OFFSETS,
    DETECTOR_CENTRE,
    DETECTOR_GRID,
    MIDDLE,
    WINDOW,
    grid_share,
    labelled_pixel,
    rescale,
    resize,
    squeeze,
    unit_range,
    window_centre,
)


@pytest.mark.parametrize(("size", "new_size"), [(48, 256), (300, 256), (256, 512), (7, 3)])
def test_rescale_goes_both_ways_and_keeps_edges_and_the_centre(size, new_size):
    places = np.linspace(-0.5, size - 0.5, 11)
    moved = rescale(places, size, new_size)
    np.testing.assert_allclose(rescale(moved, new_size, size), places, atol=1e-12)
    assert (moved[0], moved[5], moved[-1]) == pytest.approx((-0.5, (new_size - 1) / 2, new_size - 0.5))
    np.testing.assert_allclose(grid_share(places, size), np.linspace(0, 1, 11), atol=1e-12)


@pytest.mark.parametrize("new_size", [DETECTOR_GRID, CROP_GRID])
def test_a_ramp_that_is_resized_shows_where_each_pixel_came_from(new_size):
    ramp = np.tile(np.arange(100, dtype=np.float32), (100, 1))  # OpenCV rounds uint8
    source = np.clip(rescale(np.arange(new_size), new_size, 100), 0, 99)
    np.testing.assert_allclose(resize(ramp, (new_size, new_size))[0], source, atol=1e-3)


def test_resize_is_bilinear_and_returns_an_image_that_fits_itself():
    image = np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)
    expected = cv2.resize(image, (20, 10), interpolation=cv2.INTER_LINEAR)
    assert (resize(image, (10, 20)) == expected).all()
    assert resize(image, (30, 40)) is image


def test_the_centre_of_the_detector_grid_is_the_middle_of_the_image():
    assert [grid_share(place) for place in DETECTOR_CENTRE] == [0.5, 0.5]


def test_a_labelled_place_is_a_pixel_of_the_grid_within_a_pixel_of_its_centre():
    share = np.linspace(0, 1, 10_000, endpoint=False)
    pixel = labelled_pixel(share)
    assert set(pixel) == set(range(DETECTOR_GRID))
    assert np.abs(pixel - rescale(share * 10_000 - 0.5, 10_000, DETECTOR_GRID)).max() <= 1


def test_a_window_holds_the_pixels_of_its_point():
    for point in (40, 41, 200):
        start = window_centre(np.array(point)) - WINDOW // 2
        on_crop_grid = rescale(point, DETECTOR_GRID, CROP_GRID) - start
        assert abs(on_crop_grid - (WINDOW - 1) / 2) <= 1
    assert CROP_OFFSETS[MIDDLE] == 0


def test_squeezing_uint8_squeezes_its_unit_range():
    grid = np.random.default_rng(0).integers(0, 256, (9, 4, 4), np.uint8)
    assert (squeeze(grid, 5) == squeeze(unit_range(grid), 5)).all()
    assert squeeze(grid, 9) is grid
    assert unit_range(grid).max() <= 1 and unit_range(unit_range(grid)) is not grid
