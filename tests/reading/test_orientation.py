"""Rows and columns that run any way: the networks see the usual picture, points count in the file's own one."""

import itertools

import numpy as np
import pytest

from lumbar.reading.orientation import (
    AS_STORED,
    TURNS,
    from_own,
    to_own,
    turned,
    turned_directions,
    usual_turn,
)
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SAGITTAL_T1, SAGITTAL_T2
from tests.making.dicom_writer import AXIAL, SAGITTAL
from tests.making.scanner_files import pixels_of, read_only_study, scanned_study, set_pixels, write_all

USUAL = {AXIAL_T2: AXIAL, SAGITTAL_T1: SAGITTAL, SAGITTAL_T2: SAGITTAL}


def stored_turned(one, turn) -> None:
    """Store a slice's picture turned, the patient in place."""
    position, spacing = np.array(one.ImagePositionPatient, float), np.array(one.PixelSpacing, float)
    directions = np.reshape(np.array(one.ImageOrientationPatient, float), (2, 3))
    pixels = turned(pixels_of(one), turn)
    row, column = to_own(turn, (one.Rows, one.Columns), 0, 0)
    one.ImagePositionPatient = list(
        position + directions[0] * spacing[1] * column + directions[1] * spacing[0] * row
    )
    one.ImageOrientationPatient = turned_directions(directions, turn).ravel().tolist()
    one.PixelSpacing = list(spacing[::-1] if turn[0] else spacing)
    set_pixels(one, pixels)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_the_usual_picture_comes_back(turn, description):
    directions = turned_directions(np.reshape(USUAL[description], (2, 3)), turn)
    back = usual_turn(tuple(directions.ravel()), description)
    picture = np.arange(15).reshape(3, 5)
    assert np.array_equal(turned(turned(picture, turn), back), picture)
    assert np.allclose(turned_directions(directions, back), np.reshape(USUAL[description], (2, 3)))
    for row, column in itertools.product((0, 1.5, 2), (0, 4)):
        own = to_own(turn, (3, 5), *from_own(turn, (3, 5), row, column))
        assert own == (row, column)
    shown = turned(picture, turn)
    for row, column in np.ndindex(shown.shape):
        assert picture[to_own(turn, picture.shape, row, column)] == shown[row, column]


@pytest.mark.parametrize("degrees", [-59, -44, 0, 20, 48, 59])
def test_an_oblique_block_stays_as_it_is(degrees):
    tilted = (1.0, 0.0, 0.0, 0.0, np.cos(np.radians(degrees)), -np.sin(np.radians(degrees)))
    assert usual_turn(tilted, AXIAL_T2) == AS_STORED
    assert usual_turn(None, AXIAL_T2) == AS_STORED


@pytest.mark.parametrize("turn", TURNS)
def test_a_study_stored_any_way_is_the_same_study(tmp_path, turn):
    expected, _ = read_only_study(write_all(tmp_path / "usual", scanned_study()))
    series = scanned_study()
    for slices in series.values():
        for number, one in enumerate(slices):
            stored_turned(one, turn if number % 3 else AS_STORED)  # also within one series
    study, _ = read_only_study(write_all(tmp_path / "turned", series))
    assert {fault.reason for fault in study.faults} <= {"turned", "mixed_sizes"}
    for description, volume in expected.volumes.items():
        other = study.volumes[description]
        assert np.array_equal(volume.grid512, other.grid512)
        for index, header in enumerate(other.headers):
            places = [v.grid_to_patient(index, 40.0, 200.0) for v in (volume, other)]
            assert np.allclose(*places, atol=1e-6)
            assert np.allclose(other.patient_to_grid(index, places[0]), (40.0, 200.0))
            # The own row and column, by the file's own header (PS3.3 C.7.6.2.1.1), are the same place.
            row, column = other.grid_to_native(index, 40.0, 200.0)
            along = np.reshape(header.orientation, (2, 3))
            own = header.position + along[0] * header.spacing[1] * column + along[1] * header.spacing[0] * row
            assert np.allclose(own, places[0], atol=1e-6)
            assert np.allclose(other.native_to_grid(index, row, column), (40.0, 200.0))
            assert header.usual_shape == volume.headers[index].shape
            assert np.allclose(header.usual_orientation, volume.headers[index].orientation)
            shares = row / header.shape[0], column / header.shape[1]
            usual = rescaled_share(volume, index)
            assert header.turn != AS_STORED or header.usual_share(*shares) == shares
            assert np.allclose(header.usual_share(*shares), usual, atol=1 / min(header.shape))


def rescaled_share(volume, index: int) -> tuple[float, float]:
    """Return row and column 40, 200 of the 256 grid as shares of the usual picture."""
    row, column = volume.grid_to_native(index, 40.0, 200.0)
    return row / volume.headers[index].shape[0], column / volume.headers[index].shape[1]
