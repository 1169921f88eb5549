"""Slices -> grids: the same numbers as the plain formula, the patient's order, and every pixel findable."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lumbar.grids import squeeze
from lumbar.reading.listing import find_dataset
from lumbar.reading.normalization import normalize_slice
from lumbar.reading.series import Series, Slice, read_series
from lumbar.reading.study import read_study
from lumbar.reading.volume import build_volume, patient_order
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.dicom_writer import AXIAL, CORONAL, SAGITTAL, picture, write, write_series

GOLDEN = Path(__file__).parents[2] / "../shared/golden"


def plain_normalize(pixels: np.ndarray) -> np.ndarray:
    """Follow solution, section 2, word by word."""
    values = pixels.astype(np.float64)
    low, high = np.percentile(values, (1, 99))
    values = np.clip(values, low, high)
    values = values - values.min()
    if values.max() == 0:
        return np.zeros(values.shape, np.uint8)
    return (values / values.max() * 255).astype(np.uint8)


def make_slice(pixels=None, position=None, location=None, number=None, name="1.dcm", **geometry) -> Slice:
    pixels = picture() if pixels is None else pixels
    orientation, spacing = geometry.get("orientation"), geometry.get("spacing")
    return Slice(pixels, position, orientation, spacing, location, number, "", name)


# --- normalisation


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    )
)
def test_the_table_is_the_formula(pixels):
    assert np.array_equal(normalize_slice(pixels), plain_normalize(pixels))


def test_the_table_is_the_formula_below_zero():
    """The percentile lies between two values: from a base other than zero it would round otherwise."""
    pixels = np.full((24, 27), 104, np.int8)
    pixels[0, :8] = [-1, -1, -1, 14, -1, -1, -30, -1]
    assert np.array_equal(normalize_slice(pixels), plain_normalize(pixels))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2**16), st.integers(-(2**15), 2**15), st.integers(2, 90))
def test_the_table_is_the_formula_on_large_slices(seed, span, start, side):
    pixels = np.random.default_rng(seed).integers(start, start + span, (side, side + 3)).astype(np.int32)
    assert np.array_equal(normalize_slice(pixels), plain_normalize(pixels))


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_floats_follow_the_formula(pixels):
    assert np.array_equal(normalize_slice(pixels), plain_normalize(pixels))


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_any_float_gives_a_picture(pixels):
    with np.errstate(all="raise", under="ignore"):
        assert normalize_slice(pixels).dtype == np.uint8


@pytest.mark.parametrize("value", [0, 7, np.nan, np.inf])
def test_a_constant_slice_is_zero(value):
    assert not normalize_slice(np.full((5, 6), value)).any()


def test_not_a_number_is_black():
    pixels = picture().astype(np.float32)
    pixels[3, 4] = np.nan
    filled = np.where(np.isnan(pixels), np.nanmin(pixels), pixels)
    assert np.array_equal(normalize_slice(pixels), plain_normalize(filled))


# --- order


@pytest.mark.parametrize(("description", "axis"), [(SAGITTAL_T1, 0), (SAGITTAL_T2, 0), (AXIAL_T2, 2)])
def test_positions_order_the_joined_series(description, axis):
    rng = np.random.default_rng(0)
    series = [[make_slice(position=tuple(rng.normal(size=3))) for _ in range(n)] for n in (4, 3)]
    key, order = patient_order(series, description)
    assert key == "ImagePositionPatient"
    joined = np.array([s.position[axis] for one in series for s in one])
    assert (np.diff(joined[order]) > 0).all()


def test_slices_at_one_position_keep_their_order():
    series = [[make_slice(position=(float(x), 0, 0)) for x in (2, 1, 1)], [make_slice(position=(1.0, 0, 0))]]
    assert patient_order(series, SAGITTAL_T1)[1].tolist() == [1, 2, 3, 0]


def test_fallbacks_in_turn():
    located = [make_slice(location=float(v), number=n) for n, v in enumerate((5, 3, 4))]
    assert patient_order([located], SAGITTAL_T1)[0] == "SliceLocation"
    assert patient_order([located], SAGITTAL_T1)[1].tolist() == [1, 2, 0]
    numbered = [make_slice(number=n) for n in (1, 2)]
    key, order = patient_order([numbered, numbered], SAGITTAL_T1)
    assert (key, order.tolist()) == ("InstanceNumber", [0, 1, 2, 3])
    key, order = patient_order([[make_slice()], numbered], SAGITTAL_T1)
    assert (key, order.tolist()) == ("file name", [0, 1, 2])


def test_one_slice_without_position_does_not_turn_the_patient_round():
    down = [make_slice(position=(30.0 - n, 0, 0) if n != 2 else None, number=n) for n in range(5)]
    assert patient_order([down], SAGITTAL_T1)[1].tolist() == [4, 3, 2, 1, 0]
    located = [make_slice(position=s.position, location=float(s.instance_number)) for s in down]
    assert patient_order([located], SAGITTAL_T1)[1].tolist() == [4, 3, 2, 1, 0]


def test_side_comes_from_x_alone(tmp_path):
    """Numbered from the left or from the right, the volume is the same: slice 0 is the patient's right."""
    pictures = write_series(tmp_path / "1", 6)
    for number in range(1, 7):  # the same slices, numbered and named the other way round
        dataset = pydicom.dcmread(tmp_path / "1" / f"{number}.dcm")
        dataset.InstanceNumber = 7 - number
        write(dataset, tmp_path / "2" / f"{7 - number}.dcm")
    volumes = [build_volume([read_series(tmp_path / name, SAGITTAL_T1)], SAGITTAL_T1) for name in "12"]
    assert [h.instance_number for h in volumes[1].headers] == [1, 2, 3, 4, 5, 6]
    assert [h.instance_number for h in volumes[0].headers] == [6, 5, 4, 3, 2, 1]
    assert np.array_equal(volumes[0].grid512, volumes[1].grid512)
    expected = cv2.resize(normalize_slice(pictures[-1]), (256, 256), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(volumes[0].grid256[0], expected)


# --- grids


def test_odd_sizes_take_the_first_one(tmp_path):
    pixels = [picture(30, 40), picture(20, 50, seed=1)]
    slices = [make_slice(p, position=(float(i), 0, 0)) for i, p in enumerate(pixels)]
    volume = build_volume([Series("1", SAGITTAL_T1, slices)], SAGITTAL_T1)
    between = cv2.resize(normalize_slice(pixels[1]), (40, 30), interpolation=cv2.INTER_LINEAR)
    for grid, size in ((volume.grid256, 256), (volume.grid512, 512)):
        assert np.array_equal(grid[1], cv2.resize(between, (size, size), interpolation=cv2.INTER_LINEAR))
    assert [h.shape for h in volume.headers] == [(30, 40), (20, 50)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (3, 5000)])
def test_strange_shapes(shape):
    volume = build_volume([Series("1", AXIAL_T2, [make_slice(picture(*shape))])], AXIAL_T2)
    assert volume.grid256.shape == (1, 256, 256) and volume.grid512.shape == (1, 512, 512)


TILTED = [0.0, 0.8, -0.6, 0.0, -0.6, -0.8]


@pytest.mark.parametrize("orientation", [SAGITTAL, AXIAL, CORONAL, TILTED, [-v for v in AXIAL]])
@pytest.mark.parametrize("shape", [(96, 120), (300, 280), (512, 512), (640, 400)])
def test_a_dot_is_where_the_resize_puts_it(orientation, shape):
    row, column, radius = int(shape[0] * 0.3), int(shape[1] * 0.7), int(min(shape) * 0.1)
    pixels = np.zeros(shape, np.uint16)
    pixels[row - radius : row + radius + 1, column - radius : column + radius + 1] = 1000
    position, spacing = (3.0, -20.0, 7.0), (0.6, 0.9)
    one = make_slice(pixels, position=position, orientation=tuple(orientation), spacing=spacing)
    volume = build_volume([Series("1", AXIAL_T2, [one])], AXIAL_T2)
    mass = volume.grid256[0].astype(float)
    found = [(mass.sum(axis=1 - a) * np.arange(256)).sum() / mass.sum() for a in (0, 1)]
    expected = volume.native_to_grid(0, row, column)
    assert found == pytest.approx(expected, abs=0.3)
    assert volume.grid_to_native(0, *expected) == pytest.approx((row, column))
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    patient = np.array(position) + along_row * 0.9 * column + along_column * 0.6 * row
    assert volume.grid_to_patient(0, *expected) == pytest.approx(patient)
    assert volume.patient_to_grid(0, tuple(patient)) == pytest.approx(expected)


def test_no_place_without_geometry():
    volume = build_volume([Series("1", AXIAL_T2, [make_slice(position=(0.0, 0.0, 0.0))])], AXIAL_T2)
    assert volume.grid_to_patient(0, 1, 1) is None and volume.patient_to_grid(0, (0, 0, 0)) is None


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 5e-5)])
@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 300), length=st.integers(1, 200))
def test_squeeze_is_trilinear_interpolation(dtype, tolerance, count, length):
    grid = np.random.default_rng(count).random((count, 4, 5)).astype(dtype)
    squeezed = squeeze(grid, length)
    if count <= length:
        assert squeezed is grid
        return
    volume = torch.from_numpy(grid)[None, None]
    expected = F.interpolate(volume, (length, 4, 5), mode="trilinear", align_corners=False)[0, 0]
    assert squeezed.dtype == dtype
    np.testing.assert_allclose(squeezed, expected.numpy(), atol=tolerance)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_three_hundred_large_slices_fit_in_memory():
    pixels = picture(1024, 1024)  # one array under many slices: only the memory that the volume adds counts
    slices = [make_slice(pixels, position=(float(i), 0, 0)) for i in range(300)]
    before = resident_bytes()
    volume = build_volume([Series("1", SAGITTAL_T1, slices)], SAGITTAL_T1)
    assert volume.grid512.shape == (300, 512, 512)
    assert resident_bytes() - before < 1.5 * (volume.grid256.nbytes + volume.grid512.nbytes)


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


# --- the authors' arithmetic


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared/golden is not here")
@pytest.mark.parametrize(
    ("file", "name", "description", "length"),
    [
        ("family_a/sagittal_t1.npz", "input", SAGITTAL_T1, 32),
        ("family_a/inputs.npz", "sagittal_t2", SAGITTAL_T2, 32),
        ("family_a/inputs.npz", "axial_t2", AXIAL_T2, 64),
        ("family_b/sagittal_t1.npz", "input", SAGITTAL_T1, 38),
        ("family_b/axial_t2.npz", "input", AXIAL_T2, 192),
    ],
)
def test_golden_inputs(file, name, description, length):
    study = read_study(find_dataset(GOLDEN / "study").studies[0])
    assert not study.faults
    grid = squeeze(study.volumes[description].grid256.astype(np.float32) / 255, length)
    expected = np.load(GOLDEN / file)[name].astype(int)
    ours = np.zeros_like(expected)
    ours[: len(grid)] = np.rint(grid * 255)
    difference = np.abs(ours - expected)
    assert (difference <= 1).mean() >= 0.999
    if len(study.volumes[description]) <= length:
        assert not difference.any()
