"""Where slices lie: along the stack's normal, to the left or to the head, from the stack's middle."""

from dataclasses import replace

import numpy as np
import pytest

from lumbar.reading.slice_positions import slice_positions
from lumbar.reading.volume import SliceHeader, Volume
from lumbar.sites import AXIAL_T2, SAGITTAL_T1

SAGITTAL, AXIAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def turned(degrees: float) -> np.ndarray:
    """Return a rotation about the patient's long axis."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def volume(description: str, positions: list, orientation=SAGITTAL, spacing=(0.5, 0.5)) -> Volume:
    """Return slices with these positions, without pixels."""
    headers = tuple(
        SliceHeader("1", i + 1, str(i), tuple(position), tuple(orientation), spacing, (256, 256))
        for i, position in enumerate(positions)
    )
    grid = np.zeros((len(headers), 1, 1), np.uint8)
    return Volume(description, grid, grid, headers, "ImagePositionPatient")


def test_a_sagittal_stack_counts_to_the_left_from_its_middle():
    stack = volume(SAGITTAL_T1, [(x, -90.0, 120.0) for x in (-9, -5, -1, 3, 11)])
    found = slice_positions(stack)
    assert found.dtype == np.float32 and found.tolist() == [-10, -6, -2, 2, 10]


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("degrees", [-30, 20])
def test_an_oblique_stack_counts_along_its_normal_whichever_way_its_columns_run(degrees, flip):
    """The corners of a stack run askew to the normal: 7 mm further down on every slice."""
    rotation = turned(degrees)
    orientation = (rotation @ np.reshape(SAGITTAL, (2, 3)).T * (1, flip)).T.ravel()
    positions = [rotation @ (5.0 * i, 3.0, 7.0 * i) for i in range(4)]
    np.testing.assert_allclose(
        slice_positions(volume(SAGITTAL_T1, positions, orientation)), [-7.5, -2.5, 2.5, 7.5], atol=1e-5
    )


def test_an_axial_stack_counts_to_the_head():
    stack = volume(AXIAL_T2, [(-90.0, -90.0, z) for z in (30, 35, 48)], AXIAL)
    assert slice_positions(stack).tolist() == [-9, -4, 9]


def test_a_mirrored_patient_has_mirrored_positions():
    places = [-9.0, -5.0, -1.0, 3.0, 11.0]
    found = slice_positions(volume(SAGITTAL_T1, [(x, 0.0, 0.0) for x in places]))
    mirrored = slice_positions(volume(SAGITTAL_T1, [(-x, 0.0, 0.0) for x in reversed(places)]))
    np.testing.assert_array_equal(mirrored, -found[::-1])


def test_what_a_header_lacks_is_replaced_or_makes_all_unknown():
    stack = volume(SAGITTAL_T1, [(x, -90.0, 120.0) for x in (-9, -5, -1, 3, 11)])
    expected = slice_positions(stack).tolist()

    def without(tag: str, *indices: int) -> list[float]:
        headers = [replace(h, **{tag: None}) if i in indices else h for i, h in enumerate(stack.headers)]
        return slice_positions(replace(stack, headers=tuple(headers))).tolist()

    assert without("spacing", 2) == without("orientation", 2) == expected
    assert without("spacing", *range(5)) == without("orientation", *range(5)) == expected
    assert without("position", 2) == [0] * 5


def test_blocks_of_an_axial_series_lie_where_their_centres_do():
    """Two blocks tilted by 20 degrees each way: their anterior corners are far from their centres' order."""
    headers, heights = [], []
    for degrees, z in ((-20, 0.0), (20, 30.0)):
        down = np.array([0, np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        orientation = (1.0, 0.0, 0.0, *down)
        for step in (0.0, 4.0):
            centre = np.array([0, 0, z + step])
            corner = centre - np.array([1.0, 0, 0]) * 127.5 * 0.5 - down * 127.5 * 0.5
            headers.append(
                SliceHeader("1", len(headers), "", tuple(corner), orientation, (0.5, 0.5), (256, 256))
            )
            heights.append(z + step)
    grid = np.zeros((4, 1, 1), np.uint8)
    found = slice_positions(Volume(AXIAL_T2, grid, grid, tuple(headers), "ImagePositionPatient"))
    np.testing.assert_allclose(found, np.array(heights) - 17, atol=1e-5)
