"""How far each deviation from the authors' notebooks goes that the write-up declares."""

import numpy as np
import pytest
import torch

from lumbar.grading.crops import enlarge, extract_windows
from lumbar.grading.point_search import find_points
from lumbar.grids import CROP_OFFSETS
from lumbar.networks.detector import present_slices
from lumbar.networks.heatmap import logits_to_heatmap, points_to_heatmap
from lumbar.reading.normalization import normalize_slice
from lumbar.reading.series import read_series
from lumbar.reading.volume import build_volume
from lumbar.sites import AXIAL_T2, SAGITTAL_T1
from tests.making.dicom_writer import AXIAL, SAGITTAL, write_slice
from tests.making.heatmap_points import heatmap_to_points
from tests.making.random_bundle import sharpen, smooth_picture
from tests.networks.test_detector import CPU, grid, small_network
from tests.reference import reference

SIZE = 256


def notebook_dynamic_places(heatmap: np.ndarray) -> np.ndarray:
    """Return (5, 2) rows and columns by family B's rule for one class: argmax in the flattened volume, in
    one slice-length centred on the peak's flat index + offset slices."""
    flat, area = heatmap.ravel(), heatmap.shape[1] * heatmap.shape[2]
    places = []
    for offset in CROP_OFFSETS:
        start = int(flat.argmax()) + offset * area - area // 2
        window = flat[max(start, 0) : max(start + area, 1)]
        index = max(start, 0) + int(window.argmax()) if window.size else 0
        places.append(divmod(index % area, heatmap.shape[2]))
    return np.array(places)


def blob(rows: list[int], columns: list[int], values: list[float]) -> np.ndarray:
    """Return (slices, SIZE, SIZE) with one gaussian peak a slice."""
    points = [(i, y, x) for i, (y, x) in enumerate(zip(rows, columns, strict=True))]
    drawn = points_to_heatmap(np.array(points), (len(rows), SIZE, SIZE), decay=0.0, reach=0)
    return drawn.max(axis=0) * np.array(values, np.float32)[:, None, None]


def clean_dynamic_places(heatmap: np.ndarray) -> np.ndarray:
    return heatmap_to_points(torch.from_numpy(heatmap)[None], len(heatmap), "dynamic")[0][0, :, 1:]


def test_dynamic_places_equal_the_notebooks_inside_the_volume():
    rng = np.random.default_rng(0)
    for _ in range(20):  # a point that wanders a few rows from slice to slice, peak on an inner slice
        rows = (rng.integers(20, 236) + rng.integers(-6, 7, size=9)).tolist()
        columns = rng.integers(10, 246, size=9).tolist()
        values = [0.2, 0.3, 0.4, 0.6, 0.9, 0.6, 0.4, 0.3, 0.2]
        heatmap = blob(rows, columns, values)
        np.testing.assert_array_equal(clean_dynamic_places(heatmap), notebook_dynamic_places(heatmap))


def test_dynamic_places_differ_where_a_rival_lies_over_128_rows_away():
    """The notebook's window around row 40 of the peak ends at row 168 of the slice.

    A stronger place below is outside the window, but that of the slice before is inside.
    """
    heatmap = blob([40] * 9, [100] * 9, [0.2, 0.3, 0.4, 0.6, 0.9, 0.6, 0.4, 0.3, 0.2])
    heatmap[5, 200, 30] = 0.7  # 160 rows below the peak's row, on the slice after the peak's
    clean, notebook = clean_dynamic_places(heatmap), notebook_dynamic_places(heatmap)
    np.testing.assert_array_equal(clean[3], (200, 30))
    np.testing.assert_array_equal(notebook[3], (40, 100))
    np.testing.assert_array_equal(notebook[4], (200, 30))  # and the next offset meets it instead
    np.testing.assert_array_equal(clean[:3], notebook[:3])


def test_of_voxels_rounded_to_one_heatmap_value_the_larger_logit_is_the_point():
    """Float32's sigmoid is 1 from 17 on: the notebooks take the first such voxel, here it is the surest."""
    network, volume = small_network(), grid(5)
    sharpen(network.segmenter.head, 10)
    padded = torch.zeros(1, 12, *volume.shape[1:])
    padded[0, :5] = volume
    with torch.inference_mode():
        segmenter, pointer = (logits[0] for logits in network(padded))
    heatmap = logits_to_heatmap(segmenter, pointer, present_slices(padded)[0])
    first = heatmap_to_points(heatmap, 5, "fixed")[0][:, 2]
    found = find_points(network, volume, {"fixed"}, CPU)["fixed"].points[:, 2]
    assert (first != found).any()
    for logits, values, (z, y, x), theirs in zip(segmenter, heatmap, found, first, strict=True):
        assert z == theirs[0] and logits[z, y, x] == logits[z].max()
        assert values[z, y, x] == values[tuple(theirs)] == values.max()


@pytest.mark.parametrize("peak", [0, 1, 5, 6])
def test_dynamic_places_beyond_the_ends_are_the_end_slices_own(peak):
    """Only offsets beyond the volume differ: there the notebook reads a window cut off by the volume's end."""
    values = [0.9 - 0.1 * abs(i - peak) for i in range(7)]
    heatmap = blob([50, 60, 70, 80, 90, 100, 110], [20, 30, 40, 50, 60, 70, 80], values)
    clean, notebook = clean_dynamic_places(heatmap), notebook_dynamic_places(heatmap)
    slices = peak + np.array(CROP_OFFSETS)
    inside = (slices >= 0) & (slices < 7)
    np.testing.assert_array_equal(clean[inside], notebook[inside])
    end = slices.clip(0, 6)[~inside]
    np.testing.assert_array_equal(clean[~inside], np.stack([50 + 10 * end, 20 + 10 * end], axis=1))


@pytest.mark.parametrize(("row", "first"), [(16, 0), (100, 168), (239, 446), (240, 448), (255, 448)])
def test_shifted_window_at_the_far_border_is_one_pixel_off_the_notebooks(row, first):
    """A window that would end at or past row 512 becomes 448-511 here, 447-510 in the notebook."""
    grid = np.broadcast_to(np.linspace(0, 1, 512, dtype=np.float32)[:, None], (5, 512, 512))
    points = np.array([[(z, row, 128) for z in range(5)]])
    crop = enlarge(torch.from_numpy(extract_windows(grid, points, "shift"))).numpy()[0, 2, :, 64] * 511
    assert crop[0] == pytest.approx(first, abs=0.01)
    assert crop[-1] == pytest.approx(first + 63, abs=0.01)
    notebook_first = 447 if 2 * row + 32 >= 512 else max(2 * row - 32, 0)
    assert first - notebook_first == (1 if row >= 240 else 0)


def test_label_on_an_end_slice_is_whole():
    """The notebooks overwrite it with an eighth of itself; only slices that exist are written here."""
    for end in (0, 6):
        drawn = points_to_heatmap(np.array([(end, 100, 100)]), (7, SIZE, SIZE))[0]
        inwards = [drawn[abs(end - distance)].max() for distance in range(4)]
        assert inwards == [1, 0.5, 0.25, 0]


def test_slices_at_one_place_keep_the_order_of_the_series(tmp_path):
    """Ties are undefined in the notebooks; here instance order within a series and the CSV's order decide."""
    for series in ("a", "b"):
        for instance in range(1, 21):
            pixels = np.full((16, 16), 100, np.uint16)
            where = {
                "ImagePositionPatient": [4.0 * (instance % 2), 0, 0],
                "ImageOrientationPatient": SAGITTAL,
            }
            write_slice(tmp_path / series / f"{instance}.dcm", pixels, InstanceNumber=instance, **where)
    series = [read_series(tmp_path / name, SAGITTAL_T1) for name in ("b", "a")]
    headers = build_volume(series, SAGITTAL_T1).headers
    order = [(header.series_id, header.instance_number) for header in headers]
    assert order == [(name, i) for start in (2, 1) for name in ("b", "a") for i in range(start, 21, 2)]


def test_slices_of_another_plane_are_left_out(tmp_path):
    """The notebooks keep a localizer that was filed with its series; a tilted block stays here too."""
    tilted = [1.0, 0.0, 0.0, 0.0, 0.64, -0.77]  # 50 degrees
    for instance, orientation in enumerate([AXIAL] * 3 + [tilted, SAGITTAL], start=1):
        where = {"ImagePositionPatient": [0, 0, 4.0 * instance], "ImageOrientationPatient": orientation}
        write_slice(tmp_path / "a" / f"{instance}.dcm", InstanceNumber=instance, **where)
    volume = build_volume([read_series(tmp_path / "a", AXIAL_T2)], AXIAL_T2)
    theirs = reference.read_volume([tmp_path / "a"], AXIAL_T2, SIZE)
    assert len(theirs) == 5
    np.testing.assert_array_equal(volume.grid256, theirs[:4])


def test_constant_slice_is_zero_where_the_notebooks_divide_by_zero():
    constant = np.full((64, 64), 700)
    with np.errstate(invalid="ignore"):
        shifted = np.clip(constant, *np.percentile(constant, (1, 99))) - 700
        assert np.isnan(shifted / shifted.max() * 255).all()
    assert not normalize_slice(constant).any()


@pytest.mark.parametrize(
    "tags", [{"PhotometricInterpretation": "MONOCHROME1"}, {"RescaleSlope": -1, "RescaleIntercept": 4095}]
)
def test_inverted_slices_are_the_negative_of_what_the_notebooks_see(tmp_path, tags):
    """The competition has none; they differ in the whole slice, by the picture's negative."""
    rng = np.random.default_rng(0)
    for instance in (1, 2, 3):
        pixels = smooth_picture(rng, 80, 80)
        where = {"ImagePositionPatient": [4.0 * instance, 0, 0], "ImageOrientationPatient": SAGITTAL}
        write_slice(tmp_path / f"{instance}.dcm", pixels, InstanceNumber=instance, **where, **tags)
    ours = build_volume([read_series(tmp_path, SAGITTAL_T1)], SAGITTAL_T1).grid256
    notebooks = reference.read_volume([tmp_path], SAGITTAL_T1, 256)
    assert np.abs(255 - ours.astype(int) - notebooks).max() <= 2  # truncation, then rounding of the resize
