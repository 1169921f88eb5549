"""The fast pipeline and the plain reference give the same, in float32."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lumbar.bundle.members import Detector
from lumbar.bundle.placement import ready_bundle
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.study_grading import StudyGrader
from lumbar.grading.time_limit import Plan
from lumbar.networks.architecture import SEQUENCES
from lumbar.networks.device_choice import choose_device
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, DESCRIPTIONS, SAGITTAL_T1, SAGITTAL_T2, SITES
from tests.making.random_bundle import random_classifier, random_detector, write_random_bundle
from tests.making.small_study import write_studies
from tests.reference import reference
from tests.reference.reference_bundle import load_members

GOLDEN_STUDY = Path(__file__).resolve().parents[2] / "../shared/golden/study"
MARGIN = 1e-4  # a point is compared where it beats its next best by more
SHORT = {SAGITTAL_T2: 8, SAGITTAL_T1: 8, AXIAL_T2: 12}
FOUR_LEVELS = {"encoder": "test_efficientnet", "feature_levels": 4, "decoder_channels": (16, 8, 8, 8)}
FIVE_LEVELS = {"encoder": "test_byobnet", "feature_levels": 5, "decoder_channels": (16, 8, 8, 8, 8)}
LSTM = {"pointer_encoder": "test_byobnet", "pointer": "lstm", "hidden": 16}
TRANSFORMER = {"pointer_encoder": "test_resnet", "pointer": "transformer", "hidden": 32}
STUDY_IDS = ["1", *(pytest.param(study_id, marks=pytest.mark.slow) for study_id in ("2", "3"))]
BACKBONES = ("test_convnext", "test_byobnet") * 3


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small gain nothing from more, and on a busy machine threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def full_detectors(**options) -> list[Detector]:
    """Return two random detectors of all descriptions, by torch's random state; ``options`` of their configuration."""
    return [
        random_detector("fixed", "fixed", SHORT, FOUR_LEVELS | LSTM | options),
        random_detector("dynamic", "dynamic", SHORT, FIVE_LEVELS | TRANSFORMER | options),
    ]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Two full detectors, one that lacks a description, and a classifier for every axis; both borders."""
    torch.manual_seed(0)
    detectors = [
        *full_detectors(),
        random_detector("axial only", "dynamic", {AXIAL_T2: 16}, FIVE_LEVELS | LSTM),
    ]
    classifiers = [
        random_classifier(sequence, backbone, sequence, border, weight, factor=20)
        for sequence, backbone, border, weight in zip(
            SEQUENCES,
            BACKBONES,
            ("stretch", "shift", "stretch", "shift", "shift", "stretch"),
            (1.0, 0.5, 2.0, 1.0, 0.25, 1.0),
            strict=True,
        )
    ]
    return write_random_bundle(tmp_path_factory.mktemp("bundle"), detectors, classifiers)


def grade_fast(root: Path, study_id: str, bundle: Path, plan: Plan, zero_crops: bool) -> GradedStudy:
    (ref,) = [study for study in find_dataset(root).studies if study.study_id == study_id]
    device = choose_device("cpu", "fp32")
    grader = StudyGrader(ready_bundle(bundle, device), device, zero_crops)
    return grader.grade([read_study(ref)], plan)[0]


def assert_parity(
    root: Path, study_id: str, bundle: Path, plan: Plan, zero_crops: bool = False
) -> GradedStudy:
    """Compare points where they are clear, then probabilities, both sides on the same points."""
    fast = grade_fast(root, study_id, bundle, plan, zero_crops)
    folders = reference.study_folders(root, study_id)
    detectors, classifiers = load_members(bundle)
    detectors, classifiers = detectors[: plan.detectors], classifiers[: plan.classifiers]
    slow = reference.infer_study(folders, detectors, [])
    searched, clear_points = assert_same_points(fast, slow)
    for name, values in slow["values"].items():
        assert not values[[s for s in range(25) if not_searched(s, fast.detections[name])]].any()
    assert clear_points >= 0.7 * searched > 0
    for detector in detectors:
        for classifier in classifiers:
            reference.grade_study(folders, detector, classifier, "cpu", slow, zero_crops)
    mean = reference.average_members(folders, detectors, classifiers, slow, zero_crops)
    assert fast.members.keys() == slow["members"].keys()
    for member, probabilities in slow["members"].items():
        np.testing.assert_allclose(fast.members[member], probabilities, atol=1e-3)
    np.testing.assert_allclose(fast.probabilities, mean, atol=1e-3)  # NaN at the same sites
    graded = mean[~np.isnan(mean).any(axis=1)]
    assert np.ptp(graded, axis=0).min() > 0.01  # the members do look at the pictures
    return fast


def assert_same_points(fast: GradedStudy, slow: dict) -> tuple[int, int]:
    """Compare points where they are clear, and take the fast ones; return how many were searched, and were clear."""
    searched = clear_points = 0
    for name, points in slow["points"].items():
        for description, found in fast.detections[name].points.items():
            sites = DESCRIPTION_SITES[description]
            clear = slow["margins"][name][sites] > MARGIN
            np.testing.assert_array_equal(found.points[clear], points[sites][clear])
            np.testing.assert_allclose(found.values[:, 2], slow["values"][name][sites], atol=1e-4)
            points[sites] = found.points
            searched, clear_points = searched + clear.size, clear_points + int(clear.sum())
    return searched, clear_points


def not_searched(site: int, detection) -> bool:
    return all(site not in range(25)[DESCRIPTION_SITES[d]] for d in detection.points)


@pytest.mark.parametrize(
    ("study_id", "plan"),
    [("1", Plan(2, 5)), ("2", Plan(3, 1)), pytest.param("3", Plan(3, 1), marks=pytest.mark.slow)],
)
def test_small_studies_are_graded_as_by_the_reference(tmp_path, bundle, study_id, plan):
    """Squeezed, padded, joined and single-slice volumes, an odd slice, a missing description."""
    assert_parity(write_studies(tmp_path), study_id, bundle, plan)


@pytest.mark.parametrize("zero_crops", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "kept", [(SAGITTAL_T1,), pytest.param((SAGITTAL_T2, AXIAL_T2), marks=pytest.mark.slow), DESCRIPTIONS]
)
def test_sites_without_a_series_or_a_network_are_graded_as_by_the_reference(
    tmp_path, bundle, kept, zero_crops
):
    """The third detector reads axial series alone: at other sites it counts only where nobody reads and zeros do."""
    root = write_studies(tmp_path)
    table = root / "test_series_descriptions.csv"
    rows = table.read_text().splitlines()
    table.write_text(
        "\n".join(row for row in rows if row.rpartition(",")[2] in ("series_description", *kept))
    )
    graded = assert_parity(root, "1", bundle, Plan(3, 1), zero_crops)
    lost = {d for d in DESCRIPTIONS if d not in kept}
    assert graded.fallbacks == dict.fromkeys(lost, "zero crops" if zero_crops else "prior")
    for site in SITES:
        assert np.isnan(graded.probabilities[site.index]).any() == (
            site.description in lost and not zero_crops
        )
        sees = site.description == AXIAL_T2 and AXIAL_T2 in kept
        told = ~np.isnan(graded.members["axial only", "level"][site.index]).any()
        assert told == (sees or (site.description in lost and zero_crops))


@pytest.mark.skipif(not GOLDEN_STUDY.is_dir(), reason="../shared/golden is not at hand")
def test_golden_study_is_graded_as_by_the_reference(bundle):
    assert_parity(GOLDEN_STUDY, "4100", bundle, Plan(2, 2))


@pytest.fixture(scope="module")
def option_bundle(tmp_path_factory) -> Path:
    """A classifier for every sequence, each with an option of its crops."""
    torch.manual_seed(0)
    detectors = full_detectors()
    classifiers = [
        random_classifier(
            sequence,
            "test_convnext",
            sequence,
            border,
            factor=20,
            canal_margin=margin,
            canal_from=view,
            **size,
        )
        for sequence, border, margin, view, size in zip(
            SEQUENCES,
            ("stretch", "shift") * 3,
            (2, 2, 1, 3, 0, 0),
            (SAGITTAL_T2, SAGITTAL_T2, AXIAL_T2, AXIAL_T2, AXIAL_T2, SAGITTAL_T2),
            ({}, {"window_levels": 0.3}, {}, {"window_mm": 9.0}, {"window_mm": 9.0}, {"window_levels": 0.3}),
            strict=True,
        )
    ]
    return write_random_bundle(tmp_path_factory.mktemp("options"), detectors, classifiers)


@pytest.mark.parametrize("study_id", STUDY_IDS[:2])
def test_points_with_a_sagittal_prior_are_those_of_the_reference(tmp_path, study_id):
    torch.manual_seed(4)
    fixed, dynamic = full_detectors()
    shared = replace(dynamic, name="dynamic with", sagittal_prior_mm=3.0)
    detectors = [replace(fixed, sagittal_prior_mm=2.0), dynamic, shared]
    bundle = write_random_bundle(tmp_path / "bundle", detectors, [])
    graded = grade_fast(write_studies(tmp_path), study_id, bundle, Plan(3, 0), False)
    slow = reference.infer_study(reference.study_folders(tmp_path, study_id), *load_members(bundle))
    assert_same_points(graded, slow)
    with_axial = AXIAL_T2 in graded.detections["dynamic"].points
    places = [detection.points.get(AXIAL_T2) for detection in graded.detections.values()]
    assert not with_axial or (places[1].points != places[2].points).any()


@pytest.mark.parametrize("study_id", STUDY_IDS)
def test_points_of_levels_chosen_together_are_those_of_the_reference(tmp_path, study_id):
    """With the prior too, which follows the canal's points, and beside a detector that shares the networks."""
    torch.manual_seed(4)
    fixed, dynamic = full_detectors()
    joint = replace(fixed, name="fixed together", joint_levels=True, sagittal_prior_mm=3.0)
    detectors = [fixed, joint, replace(dynamic, joint_levels=True)]
    bundle = write_random_bundle(tmp_path / "bundle", detectors, [])
    graded = grade_fast(write_studies(tmp_path), study_id, bundle, Plan(3, 0), False)
    slow = reference.infer_study(reference.study_folders(tmp_path, study_id), *load_members(bundle))
    searched, clear_points = assert_same_points(graded, slow)
    assert clear_points >= 0.7 * searched > 0
    alone, together = (graded.detections[name].points for name in ("fixed", "fixed together"))
    assert all((alone[d].points != together[d].points).any() for d in alone if d != AXIAL_T2)


@pytest.mark.parametrize(
    ("study_id", "zero_crops"), [("1", False), pytest.param("2", True, marks=pytest.mark.slow)]
)
def test_more_slices_axial_ones_and_windows_of_a_size_are_graded_as_by_the_reference(
    tmp_path, option_bundle, study_id, zero_crops
):
    assert_parity(write_studies(tmp_path), study_id, option_bundle, Plan(2, len(SEQUENCES)), zero_crops)


@pytest.mark.slow
def test_without_sagittal_t2_the_members_with_axial_slices_of_the_canal_grade_it(tmp_path, option_bundle):
    root = write_studies(tmp_path)
    table = root / "test_series_descriptions.csv"
    rows = [row for row in table.read_text().splitlines() if not row.endswith(SAGITTAL_T2)]
    table.write_text("\n".join(rows))
    graded = assert_parity(root, "1", option_bundle, Plan(2, len(SEQUENCES)))
    assert graded.fallbacks == {}
    for (_, classifier), probabilities in graded.members.items():
        axial = classifier in SEQUENCES[2:5]
        assert np.isfinite(probabilities[:5]).all() == axial and np.isfinite(probabilities[5:]).all()


@pytest.fixture(scope="module")
def position_bundle(tmp_path_factory) -> Path:
    """Detectors that read slice positions, and a classifier."""
    torch.manual_seed(0)
    classifier = random_classifier("level", "test_convnext", "level", "shift", factor=20)
    folder = tmp_path_factory.mktemp("positions")
    return write_random_bundle(folder, full_detectors(slice_positions=True), [classifier])


@pytest.mark.parametrize("study_id", STUDY_IDS)
def test_detectors_that_read_slice_positions_grade_as_the_reference(tmp_path, position_bundle, study_id):
    assert_parity(write_studies(tmp_path), study_id, position_bundle, Plan(2, 1))
