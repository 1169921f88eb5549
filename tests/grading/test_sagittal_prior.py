"""The sagittal prior: near slices count, unsure levels and slices without a place do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lumbar.grading.detection import detect_study
from lumbar.grading.patient_points import Places, find_places
from lumbar.grading.sagittal_prior import LEAST, slice_weights, sure_levels
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device_choice import choose_device
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.reading.volume import Volume
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.bare_volume import bare_volume
from tests.making.random_bundle import random_detector
from tests.making.small_study import write_studies

WIDTH = 3.0  # mm
PARTS = {
    "encoder": "test_byobnet",
    "feature_levels": 5,
    "decoder_channels": (16, 8, 8, 8, 8),
    "pointer_encoder": "test_byobnet",
    "pointer": "lstm",
    "hidden": 16,
}
CANAL = np.array([[0.0, 0.0, -35.0 * level] for level in range(5)])


def places(patient: np.ndarray) -> Places:
    return Places(np.zeros((5, 3)), patient, np.ones(5))


def axial_volume(heights: list[float | None], tilt: float = 0.0) -> Volume:
    """Return a volume with slices at these heights, mm, None for one without a place, tilted about the x axis."""
    places = [None if height is None else (-50.0, 0.0, height) for height in heights]
    tilted = (1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(-np.sin(tilt)))
    return bare_volume(AXIAL_T2, places, tilted, (0.5, 0.5), (200, 200))


def test_a_weight_is_a_gaussian_of_the_distance_and_one_at_the_nearest_slice():
    heights = [-37.0, -36.0, -34.5, -30.0, 1.0]
    weights = slice_weights(places(CANAL), axial_volume(heights), 5, WIDTH)
    assert weights.shape == (10, 5) and (weights[:5] == weights[5:]).all()  # both sides of a level
    away = np.abs(np.array(heights) + 35)  # of the second level
    expected = np.exp(-(away**2) / 18) / np.exp(-(0.5**2) / 18)
    assert np.allclose(weights[1], np.maximum(expected, LEAST))
    assert (weights.max(axis=1) == 1).all()  # the last levels, that no slice is near, as well


def test_the_distance_is_from_the_slice_s_own_plane():
    """Tilted by 30 degrees, a slice through the point 0 passes 20 mm behind it 11.5 mm lower or higher."""
    tilt, behind = np.radians(30), CANAL + np.array([0, 20, 0])
    weights = slice_weights(
        places(behind), axial_volume([-20 * np.tan(tilt), 0, 20 * np.tan(tilt)], tilt), 3, WIDTH
    )
    off = 20 * np.sin(tilt)
    assert weights[0].argmax() == 2
    assert np.allclose(weights[0, 1], np.exp(-(off**2) / 18))


def test_a_squeezed_slice_lies_between_its_two_neighbours():
    weights = slice_weights(places(CANAL), axial_volume([-2.0, 2.0, 6.0, 10.0]), 2, WIDTH)
    assert np.allclose(weights[0], [1, np.exp(-(8**2) / 18)])  # at 0 and at 8 mm


@pytest.mark.parametrize(
    ("change", "unsure"),
    [
        ({}, []),
        ({2: (0, 0, 30.0)}, [1, 2, 3]),  # 5 mm below the one above
        ({0: (0, 0, 40.0)}, [0, 1]),  # too far above
        ({4: (0, 0, 80.0)}, [3, 4]),  # above the one above it
        ({3: (np.nan, np.nan, np.nan)}, [2, 3, 4]),
    ],
)
def test_a_level_that_does_not_fit_its_neighbours_is_unsure(change, unsure):
    canal = CANAL.copy()
    for level, by in change.items():
        canal[level] += by
    assert np.flatnonzero(~sure_levels(canal)).tolist() == unsure
    if not np.isnan(canal).any():
        weights = slice_weights(places(canal), axial_volume([0.0, -10.0, -20.0]), 3, WIDTH)
        assert np.flatnonzero((weights[:5] == 1).all(axis=1)).tolist() == unsure


@pytest.mark.parametrize(
    ("canal", "heights"), [(CANAL, [0.0, None, 8.0]), (np.full((5, 3), np.nan), [0.0, 4.0, 8.0])]
)
def test_without_positions_there_is_no_prior(canal, heights):
    assert (slice_weights(places(canal), axial_volume(heights), 3, WIDTH) == 1).all()


def test_detectors_that_share_networks_have_priors_of_their_own(tmp_path):
    """Searched together or alone they find the same; without a sagittal T2 series a prior changes nothing."""
    (ref,) = [one for one in find_dataset(write_studies(tmp_path)).studies if one.study_id == "1"]
    volumes, runner = read_study(ref).volumes, BatchRunner(choose_device("cpu", "fp32"))
    torch.manual_seed(4)
    lengths = {SAGITTAL_T2: 8, SAGITTAL_T1: 8, AXIAL_T2: 12}
    plain = random_detector("plain", "fixed", lengths, PARTS)
    detectors = [
        plain,
        replace(plain, name="narrow", sagittal_prior_mm=0.5),
        replace(plain, name="wide", sagittal_prior_mm=500.0),
        replace(plain, name="dynamic", xy="dynamic", sagittal_prior_mm=0.5),
    ]
    together = detect_study(detectors, volumes, runner)
    for detector in detectors:
        alone = detect_study([detector], volumes, runner)[detector.name].points
        for description, points in together[detector.name].points.items():
            assert (points.points == alone[description].points).all()
            assert np.allclose(points.values, alone[description].values, atol=1e-6)
    canal = find_places(volumes[SAGITTAL_T2], together["plain"].points[SAGITTAL_T2])
    found = {name: detection.points[AXIAL_T2].points[:5, 2, 0] for name, detection in together.items()}
    assert (found["wide"] == found["plain"]).all()
    nearest = slice_weights(canal, volumes[AXIAL_T2], len(volumes[AXIAL_T2]), 0.5)[:5].argmax(axis=1)
    sure = sure_levels(canal.patient)
    assert sure.any() and not sure.all()
    for name in ("narrow", "dynamic"):
        assert (found[name][~sure] == found["plain"][~sure]).all()
        assert (found[name][sure] == nearest[sure]).all()
    del volumes[SAGITTAL_T2]
    without = detect_study(detectors, volumes, runner)
    assert (without["narrow"].points[AXIAL_T2].points == without["plain"].points[AXIAL_T2].points).all()
