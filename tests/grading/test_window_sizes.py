"""Windows of millimetres or of the level's height show the same piece of the patient, whatever the pixels are."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumbar.grading.crops import extract_windows
from lumbar.grading.detection import Detection
from lumbar.grading.ensemble import site_windows
from lumbar.grading.point_search import Points
from lumbar.grading.window_sizes import window_sides
from lumbar.grids import CROP_GRID, CROP_OFFSETS, DETECTOR_GRID, MIDDLE, WINDOW
from lumbar.networks.architecture import Border, ClassifierConfig, CropRule
from lumbar.reading.volume import SliceHeader, Volume
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, LEVELS, SAGITTAL_T1, SAGITTAL_T2, class_count
from tests.making.spine import detection_of, phantom_spine

SAGITTAL_PLANE, AXIAL_PLANE = (0.0, 1, 0, 0, 0, -1), (1.0, 0, 0, 0, 1, 0)
PICTURE = np.random.default_rng(0).integers(0, 256, (6, CROP_GRID, CROP_GRID), np.uint8)
sides_of_windows = st.floats(0.01, CROP_GRID)
places = st.integers(0, DETECTOR_GRID - 1)


def volume_of(spacings: list, shapes: list, description: str = SAGITTAL_T2, picture=None) -> Volume:
    """Return a volume of slices 4 mm apart, of these spacings (mm between rows, between columns) and shapes."""
    axial = description == AXIAL_T2
    headers = tuple(
        SliceHeader(
            "1",
            number,
            str(number),
            (0.0, 0.0, 4.0 * number) if axial else (4.0 * number, 0.0, 0.0),
            AXIAL_PLANE if axial else SAGITTAL_PLANE,
            spacing,
            shape,
        )
        for number, (spacing, shape) in enumerate(zip(spacings, shapes, strict=True))
    )
    grid512 = PICTURE[: len(headers)] if picture is None else picture
    return Volume(description, grid512[:, ::2, ::2], grid512, headers, "ImagePositionPatient")


def points_at(middles: np.ndarray, slices: int) -> Points:
    """Return fixed points, their middle ones (n, 3) given."""
    points = np.asarray(middles)[:, None] + np.array([(offset, 0, 0) for offset in CROP_OFFSETS])
    return Points(points, np.full(points.shape[:2], 0.9, np.float32), slices, "fixed", slices)


def column_of_levels(step: float) -> np.ndarray:
    """Return five points (5, 3) below each other on the detector grid."""
    return np.array([(2, 30 + round(step * level), 128) for level in range(len(LEVELS))])


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(Border)), st.integers(0, 5), places, places, st.sampled_from([0.25, 0.5, 1.0]))
def test_a_window_of_as_many_mm_as_64_pixels_is_the_plain_one(border, z, row, column, spacing):
    volume = volume_of([(spacing, spacing)] * 6, [(512, 512)] * 6)
    found = points_at([(z, row, column)] * 5, 6)
    detection = Detection({SAGITTAL_T2: found}, {SAGITTAL_T2: volume.grid512})
    plain, sized = (
        site_windows(detection, {SAGITTAL_T2: volume}, CropRule(border, window_mm=side))
        for side in (None, WINDOW * spacing)
    )
    assert plain.any() and plain.tobytes() == sized.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(Border)), st.integers(0, 5), places, places, sides_of_windows, sides_of_windows)
def test_a_window_of_any_size_holds_values_of_its_picture(border, z, row, column, height, width):
    points, sides = points_at([(z, row, column)], 6).points, np.full((6, 2), (height, width))
    window = extract_windows(PICTURE, points, border, sides=sides)
    assert window.shape == (1, 5, WINDOW, WINDOW) and window.dtype == np.float32
    assert np.isfinite(window).all() and window.min() >= 0 and window.max() <= 1
    even = extract_windows(np.full_like(PICTURE, 51), points, border, sides=sides)
    np.testing.assert_allclose(even, 0.2, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(Border)), st.integers(0, 5), places, places, st.integers(1, 255))
def test_whole_pixels_are_no_other_rule(border, z, row, column, half):
    """The window of a whole number of pixels is that of nearly as many."""
    points = points_at([(z, row, column)], 6).points
    whole, nearly = (
        extract_windows(PICTURE, points, border, sides=np.full((6, 2), 2 * half - less)) for less in (0, 1e-5)
    )
    np.testing.assert_allclose(whole, nearly, atol=1e-3)


def blobs(volume: Volume, centre: tuple[float, float]) -> np.ndarray:
    """Paint a smooth picture that is a function of the place in mm, ``centre`` in the grid's middle, as uint8."""
    header = volume.headers[0]
    field = np.multiply(header.spacing, header.shape)  # mm of the picture's height and width
    offsets = (np.arange(CROP_GRID) + 0.5) / CROP_GRID - 0.5
    rows, columns = np.ix_(centre[0] + offsets * field[0], centre[1] + offsets * field[1])
    values = 127 + 60 * np.sin(rows / 7) * np.cos(columns / 9) + 60 * np.sin((rows + 2 * columns) / 15)
    return np.repeat(values.astype(np.uint8)[None], len(volume), axis=0)


@pytest.mark.parametrize("border", list(Border))
@pytest.mark.parametrize(
    ("spacing", "shape"),
    [((0.4, 0.4), (640, 640)), ((0.4, 0.8), (640, 320)), ((0.3, 0.5), (512, 300)), ((1.0, 0.7), (200, 480))],
)
def test_the_same_millimetres_are_the_same_crop(border, spacing, shape):
    """Twice the pixels, pixels that are no squares, another field of view: the picture of the patient stays."""
    crops = []
    for pixel, size in (((0.8, 0.8), (320, 320)), (spacing, shape)):
        volume = volume_of([pixel] * 5, [size] * 5)
        volume = replace(volume, grid512=blobs(volume, (20.0, -10.0)))
        found = points_at([(2, DETECTOR_GRID // 2, DETECTOR_GRID // 2)] * 5, 5)
        sides = window_sides(volume, found, CropRule(border, window_mm=50.0))
        np.testing.assert_allclose(sides * pixel * size / CROP_GRID, 50.0)
        crops.append(extract_windows(volume.grid512, found.points, border, sides=sides))
    np.testing.assert_allclose(*crops, atol=0.02)
    assert np.ptp(crops[0]) > 0.5


def test_each_slice_of_joined_series_has_its_own_pixels():
    pixels, shapes = [(0.5, 0.5), (0.4, 0.6)] * 3, [(256, 256), (320, 320)] * 3
    volume = volume_of(pixels, shapes, AXIAL_T2)
    found = points_at([(2, 100, 100)] * 10, 6)
    sides = window_sides(volume, found, CropRule("shift", window_mm=32.0))
    assert np.allclose(sides, [(128, 128), (128, 32 * 512 / 192)] * 3)
    squeezed = window_sides(volume, replace(found, slices=3), CropRule("shift", window_mm=32.0))
    assert np.allclose(squeezed, (sides[::2] + sides[1::2]) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_a_window_of_levels_is_the_multiple_of_their_distance(seed):
    study, sites = phantom_spine(0, seed)
    detection = detection_of(study, sites)
    steps = np.linalg.norm(np.diff(sites[:5], axis=0), axis=1)
    for description, found in detection.points.items():
        volume = study.volumes[description]
        sides = window_sides(volume, found, CropRule("shift", window_levels=1.5))
        spacings = np.array([np.multiply(h.spacing, h.shape) / CROP_GRID for h in volume.headers])
        millimetres = sides * spacings
        assert np.ptp(millimetres) < 1e-9 and 0.8 < millimetres[0, 0] / np.median(steps) / 1.5 < 1.25
        wrong = found.points.copy()
        wrong[0] = wrong[4]  # one level found twice
        moved = window_sides(volume, replace(found, points=wrong), CropRule("shift", window_levels=1.5))
        np.testing.assert_allclose(moved, sides, rtol=0.25)


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_without_a_spacing_windows_have_64_pixels_or_sagittal_levels(description):
    volume = volume_of([None] * 5, [(300, 200)] * 5, description)
    found = points_at(np.tile(column_of_levels(20), (class_count(description) // 5, 1)), 5)
    assert (window_sides(volume, found, CropRule("shift", window_mm=50.0)) == WINDOW).all()
    sides = window_sides(volume, found, CropRule("shift", window_levels=1.5))
    assert (sides == (WINDOW if description == AXIAL_T2 else 1.5 * 20 * 2)).all()
    together = replace(found, points=np.tile(found.points[:1], (len(found.points), 1, 1)))
    assert (window_sides(volume, together, CropRule("shift", window_levels=1.5)) == WINDOW).all()


def test_a_slice_without_a_spacing_among_others_has_64_pixels():
    volume = volume_of([(0.5, 0.5), None, (0.5, 0.5)], [(512, 512)] * 3)
    found = points_at([(0, 90, 90)] * 5, 3)
    sides = window_sides(volume, found, CropRule("shift", window_mm=50.0))
    assert sides.tolist() == [[100, 100], [64, 64], [100, 100]]


def test_a_level_is_no_smaller_and_no_larger_than_in_patients():
    volume = volume_of([(0.5, 0.5)] * 5, [(512, 512)] * 5)
    for step, height in ((2, 20), (15, 15 * 2 * 0.5), (54, 54), (56, 55)):
        found = points_at(column_of_levels(step), 5)
        sides = window_sides(volume, found, CropRule("shift", window_levels=2.0))
        assert np.allclose(sides, 2 * max(height, 20) / 0.5)


def test_a_window_is_no_larger_than_its_picture():
    volume = volume_of([(0.1, 0.1)] * 5, [(256, 256)] * 5)
    found = points_at(column_of_levels(20), 5)
    for rule in (CropRule("shift", window_mm=50.0), CropRule("shift", window_levels=2.0)):
        assert (window_sides(volume, found, rule) == CROP_GRID).all()


def test_dynamic_places_and_margins_keep_their_windows():
    sides = np.linspace(40, 130, 12).reshape(6, 2)
    points = points_at([(3, 100, 90)], 6).points
    points[0, 1, 1:] = 60, 200
    wide = extract_windows(PICTURE, points, "shift", 1, sides)[0]
    assert (wide[1:6] == extract_windows(PICTURE, points, "shift", sides=sides)[0]).all()
    for number, (z, place) in enumerate([(0, 0), (1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (5, 4)]):
        alone = points_at([(z, *points[0, place, 1:])], 6).points
        assert (wide[number] == extract_windows(PICTURE, alone, "shift", sides=sides)[0, MIDDLE]).all()


@pytest.mark.parametrize("field", ["window_mm", "window_levels"])
@pytest.mark.parametrize("size", [0, -1.0, float("inf"), float("nan"), "50", True])
def test_a_size_that_is_no_number_above_0_is_refused(field, size):
    with pytest.raises(ValueError, match=rf"{field}: got {size!r}, expected a number above 0"):
        ClassifierConfig("test_convnext", "level", "shift", (0.2, 0.2, 0.2), **{field: size})


def test_two_sizes_are_refused():
    sizes = {"window_mm": 50.0, "window_levels": 1.5}
    with pytest.raises(ValueError, match="expected one size at most; remove the other"):
        ClassifierConfig("test_convnext", "level", "shift", (0.2, 0.2, 0.2), **sizes)


def test_descriptions_measure_their_own_levels():
    """A group's points are five; the left and the right side are not neighbours."""
    points = np.concatenate([column_of_levels(30), np.add(column_of_levels(30), (1, 0, 90))])
    volume = volume_of([(0.5, 0.5)] * 5, [(512, 512)] * 5, SAGITTAL_T1)
    sides = window_sides(volume, points_at(points, 5), CropRule("shift", window_levels=1.0))
    assert np.allclose(sides, 60)
