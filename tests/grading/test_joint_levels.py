"""The joint choice of levels: chains and slices against plain ways, and the prior of usual and of odd spines."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumbar.grading.joint_search import NEAR, JointSearch
from lumbar.grading.level_chain import best_chain, best_through, build_chain
from lumbar.grading.level_prior import (
    LEAST,
    LEVEL_STEP,
    SIDE_DISTANCE,
    USUAL_GAP,
    USUAL_PIXEL,
    lateral_side_bounds,
    lateral_step_bounds,
    place_frame,
    side_scores,
    step_scores,
)
from lumbar.grids import CROP_OFFSETS
from lumbar.reading.volume import Volume
from lumbar.sites import SAGITTAL_T1
from tests.making.bare_volume import bare_volume

SEEDS = st.integers(0, 2**32 - 1)


def chain_score(scores, places, path) -> float:
    """Return the score of one chain, term by term."""
    total = sum(own[at] for own, at in zip(scores, path, strict=True))
    at = [place[[index]] for place, index in zip(places, path, strict=True)]
    for side in (at[:5], at[5:]):
        total += sum(step_scores(upper, lower)[0, 0] for upper, lower in pairwise(side))
    return total + sum(side_scores(left, right)[0, 0] for left, right in zip(at[:5], at[5:], strict=False))


def spine(random: np.random.Generator, classes: int, most: int) -> tuple[list, list]:
    """Return random scores and places of up to ``most`` candidates per class, as far apart as levels and sides are."""
    counts = random.integers(1, most + 1, classes)
    places = [random.normal(0, (15, 10, 45), (count, 3)) for count in counts]
    return [random.normal(0, 3, count) for count in counts], places


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from([(5, 4), (10, 2)]))
def test_the_best_chain_is_the_best_of_all(seed, size):
    scores, places = spine(np.random.default_rng(seed), *size)
    chain = build_chain(scores, places, step_scores, side_scores)
    all_of_them = {
        path: chain_score(scores, places, path) for path in product(*(range(len(own)) for own in scores))
    }
    score, path = best_chain(chain)
    assert score == pytest.approx(max(all_of_them.values()))
    assert all_of_them[tuple(path[: size[0]])] == pytest.approx(score)
    for number, through in enumerate(best_through(chain)[: size[0]]):
        for candidate, best in enumerate(through):
            own = [value for way, value in all_of_them.items() if way[number] == candidate]
            assert best == pytest.approx(max(own))


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_no_two_places_fit_better_than_the_bound_of_their_slices(seed):
    random = np.random.default_rng(seed)
    one, other = random.normal(0, (20, 40, 40), (2, 6, 3))
    for scores, bounds in ((step_scores, lateral_step_bounds), (side_scores, lateral_side_bounds)):
        found, most = scores(one, other), bounds(one[:, 0], other[:, 0])
        assert (found >= LEAST).all() and (found <= most).all() and (most <= 0).all()


def search_all(search: JointSearch, value: np.ndarray, place: np.ndarray) -> list[np.ndarray]:
    """Run a search on heatmaps with known peaks; return the slices of each round."""
    rounds = []
    while len(asked := search.wanted()):
        rounds.append(asked)
        search.take(asked, value[:, asked], place[:, asked])
    return rounds


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([5, 10]), st.booleans())
def test_the_slices_that_are_left_out_change_nothing(seed, classes, dynamic):
    random = np.random.default_rng(seed)
    slices, peaks = int(random.integers(1, 9)), 3
    bound = random.random((classes, slices)).astype(np.float32) ** random.integers(1, 20)
    reached = np.sort(random.random((classes, slices, peaks)) ** random.integers(1, 4), axis=-1)[..., ::-1]
    value = (bound[..., None] * reached).astype(np.float32)
    place = random.integers(0, 256, (*value.shape, 2))
    present = random.random(slices) < 0.9
    frame = np.zeros((slices, 3, 3))
    frame[:, 0, 0], frame[:, 1, 2], frame[:, 2, 1] = 8 * np.arange(slices), -1, -1
    search = JointSearch(bound, present, dynamic, frame, peaks)
    rounds = search_all(search, value, place)
    assert search.segmented == sum(len(asked) for asked in rounds)
    whole = JointSearch(bound, present, dynamic, frame, peaks)
    if present.any():
        whole.take(np.flatnonzero(present), value[:, present], place[:, present])
    for kind in ("fixed", "dynamic") if dynamic else ("fixed",):
        points, values = search.points(kind)
        expected, expected_values = whole.points(kind)
        assert (points == expected).all() and (values == expected_values).all()
    if present.any():
        assert search.best == pytest.approx(whole.best)


def sure_heatmaps(classes: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return bound, value, place and frame of a spine with one clear peak per site on 12 slices, 4 mm apart."""
    slices = 12
    bound = np.full((classes, slices), 1e-4, np.float32)
    value = np.full((classes, slices, 2), 1e-7, np.float32)
    place = np.zeros((classes, slices, 2, 2), np.int64)
    for number in range(classes):
        at = 9 if number < 5 else 1
        bound[number, at], value[number, at, 0] = 0.9, 0.8
        place[number, at, 0] = 50 + 30 * (number % 5), 100
    frame = np.zeros((slices, 3, 3))
    frame[:, 0, 0], frame[:, 1, 2], frame[:, 2, 1] = 4 * np.arange(slices), -1, -1
    return bound, value, place, frame


def found_in(bound, value, place, frame, dynamic=False) -> tuple[JointSearch, list[np.ndarray]]:
    search = JointSearch(bound, np.ones(bound.shape[1], bool), dynamic, frame, value.shape[2])
    return search, search_all(search, value, place)


def test_a_clear_spine_needs_its_own_slices_alone():
    bound, value, place, frame = sure_heatmaps()
    search, rounds = found_in(bound, value, place, frame)
    assert [asked.tolist() for asked in rounds] == [[1, 9]]
    points, values = search.points("fixed")
    assert (points[:, 2, 1] == [50, 80, 110, 140, 170] * 2).all() and (values == np.float32(0.8)).all()


def test_a_point_is_the_largest_peak_near_the_chain_s_and_the_slices_for_it_are_segmented():
    """The pointer names slice 8 for a level, slice 9 for all others: the chain stays on 9, the point does not."""
    bound, value, place, frame = sure_heatmaps()
    bound[2, 8], value[2, 8, 0], place[2, 8, 0] = 0.95, 0.85, (113, 98)
    bound[2, 7], value[2, 7, 0], place[2, 7, 0] = 0.96, 0.86, (113, 98)  # two slices away
    search, _ = found_in(bound, value, place, frame)
    assert search.chosen[2].tolist() == [9, 0]
    assert search.points("fixed")[0][2, 2].tolist() == [8, 113, 98]


@pytest.mark.parametrize("strong", [0.9, 0.5])
def test_a_level_that_jumped_onto_its_neighbour_comes_back(strong):
    """L3/L4 answers at L4/L5 more than at its own place: all others show where it is."""
    bound, value, place, frame = sure_heatmaps()
    value[2, 9] = strong, 0.01
    place[2, 9] = [(140, 100), (110, 100)]
    search, _ = found_in(bound, value, place, frame)
    assert search.points("fixed")[0][2, 2].tolist() == [9, 110, 100]
    assert search.largest()[2].tolist() == [9, 140, 100]


def test_a_group_one_level_off_follows_the_other_side_if_that_is_surer():
    bound, value, place, frame = sure_heatmaps()
    value[5:, 1] = 0.02, 0.01  # right: one level too low, a bit more than where it belongs
    place[5:, 1, 1] = place[5:, 1, 0]
    place[5:, 1, 0, 0] += 30
    search, _ = found_in(bound, value, place, frame)
    points = search.points("fixed")[0]
    assert (points[5:, 2, 1] == points[:5, 2, 1]).all()


def test_a_heatmap_that_is_sure_enough_keeps_a_place_that_fits_nothing():
    """So the plausibility flags see it; a level without any other peak keeps its only one, too."""
    bound, value, place, frame = sure_heatmaps()
    place[4, 9, 0] = 20, 100  # above the first level
    value[4, 9, 1] = 1e-30
    search, _ = found_in(bound, value, place, frame)
    assert search.points("fixed")[0][4, 2].tolist() == [9, 20, 100]


def test_a_dynamic_detector_takes_the_place_near_the_chosen_one_on_each_slice():
    bound, value, place, frame = sure_heatmaps(5)
    place[0, 8] = [(200, 100), (54, 103)]  # the larger peak is another level's
    value[0, 8] = 0.3, 0.1
    place[0, 10, 0] = 50, 100 + int(NEAR) + 1
    value[0, 10, 0] = 0.2
    search, _ = found_in(bound, value, place, frame, dynamic=True)
    points, values = search.points("dynamic")
    assert points[0, :, 0].tolist() == [9 + offset for offset in CROP_OFFSETS]
    assert points[0, 1].tolist() == [8, 54, 103] and values[0, 1] == np.float32(0.1)
    assert points[0, 3].tolist() == [10, 50, 100] and values[0, 3] == 0  # nothing near: the chosen place
    assert points[0, 4].tolist() == [11, 50, 100]


def test_a_pointer_that_gives_nothing_does_not_end_the_search_on_a_black_slice():
    _, value, place, frame = sure_heatmaps()
    present = np.arange(12) > 0
    search = JointSearch(np.zeros((10, 12), np.float32), present, False, frame, 2)
    assert search_all(search, 0 * value, place) and len(search.chosen) == 10
    assert present[search.points("fixed")[0][:, 2, 0]].all()


def test_an_all_black_volume_has_its_points_at_the_origin():
    search = JointSearch(np.ones((10, 4), np.float32), np.zeros(4, bool), True, np.zeros((4, 3, 3)), 2)
    assert not len(search.wanted())
    points, values = search.points("dynamic")
    assert (points[:, 2] == 0).all() and not values.any() and search.segmented == 0


def sagittal_volume(positions: list[float | None]) -> Volume:
    """Return a volume with sagittal slices at these x, mm, None for one without a place; rows are 0.5 mm."""
    places = [None if x is None else (x, -60.0, 70.0) for x in positions]
    return bare_volume(SAGITTAL_T1, places, (0.0, 1.0, 0.0, 0.0, 0.0, -1.0), (0.5, 0.25), (512, 512))


def test_a_frame_gives_places_in_the_patient():
    volume = sagittal_volume([-10.0, -4.0, 6.0])
    frame = place_frame(volume, 8)
    for slice_, row, column in [(0, 0, 0), (1, 100, 30), (2, 255, 7)]:
        x, y, z = volume.grid_to_patient(slice_, row, column)
        assert frame[slice_] @ (1, row, column) == pytest.approx(
            (x + 2, -y, z), abs=1e-4
        )  # the middle is at -2


def test_a_squeezed_frame_lies_between_two_slices():
    frame = place_frame(sagittal_volume([0.0, 4.0, 8.0, 12.0]), 2)
    assert frame[:, 0, 0] == pytest.approx([-4, 4])


def test_without_geometry_the_usual_distances_are_taken():
    frame = place_frame(sagittal_volume([0.0, None, 8.0]), 8)
    assert frame[2] @ (1, 10, 20) - frame[0] @ (1, 0, 0) == pytest.approx(
        (2 * USUAL_GAP, -20 * USUAL_PIXEL, -10 * USUAL_PIXEL)
    )


def test_the_prior_is_highest_for_a_usual_spine_and_never_below_its_least():
    upper = np.zeros((1, 3))
    steps = np.array([[0, 0, -LEVEL_STEP], [0, 0, -20], [0, 0, -55], [0, 0, LEVEL_STEP], [20, 0, -25]])
    scores = step_scores(upper, steps)[0]
    assert scores[0] == 0 and (scores[1:] < 0).all() and scores[3] == LEAST
    sides = side_scores(np.array([[SIDE_DISTANCE, 0, 0]]), np.array([[0, 0, 0], [2 * SIDE_DISTANCE, 0, 0]]))[
        0
    ]
    assert sides[0] == 0 and sides[1] < -7  # swapped sides
