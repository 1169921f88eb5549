"""Flags are silent on anatomy as it is and speak, with figures, when it is harmed on purpose."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lumbar.grading.flag import FLAG_REASONS, Flag
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.plausibility import flags
from lumbar.grading.series_agreement import level_shift
from lumbar.grids import squeeze
from lumbar.outputs.findings import study_findings
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, SAGITTAL_T1, SAGITTAL_T2, SITE_NAMES
from tests.benchmarks.plausibility import false_alarms, judge
from tests.making.spine import detection_of, phantom_spine, with_points


@pytest.fixture(scope="module")
def spine():
    study, sites = phantom_spine(0)
    return study, sites, detection_of(study, sites)


def reasons(found) -> set[str]:
    assert all(flag.reason in FLAG_REASONS and np.isfinite(flag.figure) for flag in found)
    return {flag.reason for flag in found}


@pytest.mark.parametrize("index", range(5))
def test_a_true_spine_has_no_flag(index):
    study, sites = phantom_spine(index)
    assert flags(study.volumes, {"a": detection_of(study, sites)}) == []


def test_points_chosen_far_from_where_their_heatmaps_are_largest_are_flagged(spine):
    study, _, detection = spine
    for moved, flagged in ((0, False), (3, False), (30, True)):  # pixels of the detector grid
        found = detection.points[SAGITTAL_T2]
        largest = found.points[:, 2].copy()
        largest[3, 1] += moved
        points = detection.points | {SAGITTAL_T2: replace(found, largest=largest)}
        raised = flags(study.volumes, {"a": replace(detection, points=points)})
        assert reasons(raised) == ({"level_overruled"} if flagged else set())
        assert not flagged or raised[0].sites == (SITE_NAMES[3],)


def test_a_squeezed_volume_has_no_flag(spine):
    study, _, detection = spine
    volume = study.volumes[AXIAL_T2]
    length = len(volume) // 2
    points = detection.points[AXIAL_T2].points.copy()
    points[..., 0] = np.rint((points[..., 0] + 0.5) * length / len(volume) - 0.5)
    harmed = with_points(detection, AXIAL_T2, points)
    harmed.points[AXIAL_T2] = replace(harmed.points[AXIAL_T2], slices=len(squeeze(volume.grid256, length)))
    assert flags(study.volumes, {"a": harmed}) == []


@pytest.mark.parametrize("description", [SAGITTAL_T2, SAGITTAL_T1, AXIAL_T2])
@pytest.mark.parametrize("levels", [1, -1])
def test_a_shifted_detector_is_suspected(spine, description, levels):
    """Its points lie one level off: its L1/L2 is L2/L3, and so on."""
    study, sites, _ = spine
    part = DESCRIPTION_SITES[description]
    step = (sites[4] - sites[0]) / 4
    harmed = sites.copy()
    harmed[part] += levels * step
    found = flags(study.volumes, {"a": detection_of(study, harmed)})
    (shifted,) = [flag for flag in found if flag.reason == "shifted_level"]
    assert set(shifted.sites) == set(SITE_NAMES[part]) and description in shifted.message.split("suspect")[1]
    assert abs(shifted.figure) == pytest.approx(abs(step[2]), abs=12)
    assert "levels_disagree" not in reasons(found)


@pytest.mark.parametrize("levels", [1, -1])
@pytest.mark.parametrize("sagittal", [(SAGITTAL_T2, SAGITTAL_T1), (SAGITTAL_T2,)])
def test_axial_levels_one_off_the_sagittal_ones_make_six_discs(spine, levels, sagittal):
    study, sites, _ = spine
    harmed = sites.copy()
    harmed[15:25] += levels * (sites[4] - sites[0]) / 4
    part = replace(study, volumes={d: study.volumes[d] for d in (*sagittal, AXIAL_T2)})
    found = flags(part.volumes, {"a": detection_of(part, harmed)})
    (flag,) = [flag for flag in found if flag.reason == "transitional_vertebra"]
    assert flag.figure == 6 and ("lower" if levels > 0 else "higher") in flag.message


def test_sagittal_series_that_disagree_tell_no_transition(spine):
    study, sites, _ = spine
    harmed = sites.copy()
    harmed[:5] += (sites[4] - sites[0]) / 4  # the T2 alone: a disc counted wrongly
    assert "transitional_vertebra" not in reasons(flags(study.volumes, {"a": detection_of(study, harmed)}))


def test_of_two_series_either_may_be_shifted(spine):
    study, sites, _ = spine
    part = replace(study, volumes={d: study.volumes[d] for d in (SAGITTAL_T2, SAGITTAL_T1)})
    harmed = sites.copy()
    harmed[:5] += (sites[4] - sites[0]) / 4
    found = flags(part.volumes, {"a": detection_of(part, harmed)})
    assert [len(flag.sites) for flag in found if flag.reason == "shifted_level"] == [15]


def test_one_level_that_disagrees_is_named(spine):
    study, sites, _ = spine
    harmed = sites.copy()
    harmed[[17, 22], 2] += 24  # both recesses of L3/L4, 24 mm up
    found = flags(study.volumes, {"a": detection_of(study, harmed)})
    disagreeing = [flag for flag in found if flag.reason == "levels_disagree"]
    assert len(disagreeing) == 2 and "shifted_level" not in reasons(found)
    assert all(name.endswith("l3_l4") for flag in disagreeing for name in flag.sites)
    assert all(15 < abs(flag.figure) < 33 for flag in disagreeing)


@pytest.mark.parametrize("description", [SAGITTAL_T1, AXIAL_T2])
def test_a_mirrored_series_has_its_sides_swapped(spine, description):
    """Pictures mirrored under headers that are not: a detector that knows left by its look finds it at -x."""
    study, _, detection = spine
    points = detection.points[description].points.copy()
    if description == AXIAL_T2:
        points[..., 2] = 255 - points[..., 2]
    else:
        points[..., 0] = (len(study.volumes[description]) - 1 - points[:, 2:3, 0]) + np.arange(-2, 3)
    found = flags(study.volumes, {"a": with_points(detection, description, points)})
    swapped = next(flag for flag in found if flag.reason == "side_swapped")
    assert swapped.figure < -10 and len(swapped.sites) == 10


def test_a_mirrored_series_off_the_middle_leaves_the_canal(spine):
    """Sides called by position, in a series with positions that are mirrored about a plane 20 mm off the spine."""
    study, sites, _ = spine
    harmed = sites.copy()
    harmed[5:15, 0] = 2 * (sites[0, 0] + 10) - sites[[*range(10, 15), *range(5, 10)], 0]
    found = flags(study.volumes, {"a": detection_of(study, harmed)})
    assert reasons(found) == {"midline_off"} and max(flag.figure for flag in found) > 15


def test_one_side_found_twice(spine):
    study, sites, _ = spine
    harmed = sites.copy()
    harmed[21] = harmed[16] - [1, 0, 0]  # the right recess of L2/L3 on top of the left one
    found = flags(study.volumes, {"a": detection_of(study, harmed)})
    together = next(flag for flag in found if flag.reason == "sides_together")
    assert set(together.sites) == {SITE_NAMES[16], SITE_NAMES[21]}


def test_levels_out_of_order_and_a_skipped_one(spine):
    study, sites, _ = spine
    swapped, skipped = sites.copy(), sites.copy()
    swapped[[1, 2]] = sites[[2, 1]]
    skipped[[0]] = sites[[0]] + [0, 0, 35]  # L1/L2 found at T12/L1: the next is two levels below
    assert "level_order" in reasons(flags(study.volumes, {"a": detection_of(study, swapped)}))
    found = flags(study.volumes, {"a": detection_of(study, skipped)})
    distance = next(flag for flag in found if flag.reason == "level_distance")
    assert distance.figure > 60 and set(distance.sites) == set(SITE_NAMES[:2])


def test_detectors_that_disagree(spine):
    study, sites, detection = spine
    other = sites.copy()
    other[3] += [0, 12, 0]
    found = flags(study.volumes, {"a": detection, "b": detection_of(study, other)})
    (flag,) = found
    assert flag.reason == "detectors_disagree" and flag.sites == (SITE_NAMES[3],)
    assert flag.figure == pytest.approx(12, abs=2) and flag.detector == "a and b"


@pytest.mark.parametrize("darkness", ["padding", "air"])
def test_a_point_in_the_black(spine, darkness):
    study, _, detection = spine
    volume = study.volumes[SAGITTAL_T1]
    index, row, column = detection.points[SAGITTAL_T1].points[7, 2]
    grid = volume.grid256.copy()
    if darkness == "padding":  # a sharp edge 5 pixels away
        grid[index, row - 5 : row + 6, column - 5 : column + 6] = 0
    else:
        grid[index] = np.random.default_rng(1).integers(0, 15, grid[index].shape)
    volumes = study.volumes | {SAGITTAL_T1: replace(volume, grid256=grid)}
    found = flags(volumes, {"a": detection})
    assert reasons(found) == {"black_place"} and SITE_NAMES[5 + 7] in found[0].sites and found[0].figure < 20


def test_missing_geometry_is_said_and_nothing_else(spine):
    study, _, detection = spine
    volumes = {
        description: replace(
            volume,
            headers=tuple(replace(h, position=None) for h in volume.headers),
            order_key="InstanceNumber",
        )
        for description, volume in study.volumes.items()
    }
    found = flags(volumes, {"a": detection, "b": detection})
    assert [flag.reason for flag in found] == ["no_geometry"] * 3
    assert [flag.figure for flag in found] == [len(volume) for volume in volumes.values()]


def test_a_missing_description_is_no_flag(spine):
    study, sites, _ = spine
    part = replace(study, volumes={SAGITTAL_T1: study.volumes[SAGITTAL_T1]})
    assert flags(part.volumes, {"a": detection_of(part, sites)}) == []
    assert flags({}, {}) == []


def test_level_shift_says_by_how_many_and_where_to():
    canal = np.array([0.0, -35, -70, -105, -140])
    assert level_shift(canal - 35, canal) == 1 and level_shift(canal + 35, canal) == -1
    assert level_shift(canal + 8, canal) == 0 and level_shift(canal - 90, canal) == 0
    assert level_shift(np.full(5, np.nan), canal) == 0


def test_the_benchmark_tells_right_flags_from_false_ones(tmp_path):
    """Of two flags one names a site that was found elsewhere; of two far points one is named."""
    study, sites = phantom_spine(0)
    harmed = sites.copy()
    harmed[3] += [0, 0, 30]
    harmed[20] += [0, 20, 0]
    graded = GradedStudy(study.study_id, detections={"a": detection_of(study, harmed)})
    (tmp_path / "findings").mkdir()
    content = {"findings": study_findings(study, graded)}
    (tmp_path / f"findings/{study.study_id}.json").write_text(json.dumps(content))
    raised = [
        Flag(reason, "", 1.0, "mm", "a", (SITE_NAMES[site],))._asdict()
        for reason, site in (("level_distance", 3), ("black_place", 7))
    ]
    flagged = [{"study_id": study.study_id} | flag for flag in raised]
    (tmp_path / "run.json").write_text(json.dumps({"flags": flagged}))
    assert judge(tmp_path, seed=1, most=2).splitlines() == [
        "1 studies, 1 with a flag; 25 points, 2 beyond 10 mm",
        "  level_distance: 1, right 1",
        "  black_place: 1, right 0",
        "of the far points 1 are named by a flag",
    ]
    assert false_alarms(seed=1, studies=1).total() == 0
