"""Studies that share passes get the grades that each gets alone; an error in one costs that one."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes

from lumbar.bundle.placement import ready_bundle
from lumbar.grading import ensemble, member_runs, point_search
from lumbar.grading.crops import enlarge
from lumbar.grading.ensemble import site_windows
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.member_runs import sharing_networks
from lumbar.grading.study_grading import StudyGrader
from lumbar.grading.time_limit import Plan
from lumbar.networks import stopwatch
from lumbar.networks.architecture import CropRule
from lumbar.networks.captured_pass import CapturedPass
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.device import Device
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import Study, read_study
from lumbar.sites import SAGITTAL_T1
from tests.making.operator_count import OperatorCount
from tests.making.random_bundle import random_classifier, random_detector, write_random_bundle
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import NETWORK

ALONE = Device(torch.device("cpu"), None, "test", batch=8)
TOGETHER = Device(torch.device("cpu"), None, "as on a card", batch=4, studies=8, fixed_shapes=True)
EVERYONE = Plan(3, 2)
LENGTHS = {"Sagittal T2/STIR": 6, "Sagittal T1": 8, "Axial T2": 7}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Return a bundle of two detectors that share networks, one on its own with other options, two classifiers."""
    torch.manual_seed(0)
    first = random_detector("first", "dynamic", LENGTHS, NETWORK)
    detectors = [first, replace(first, name="second", xy="fixed")]
    options = {"pointer": "transformer", "slice_positions": True}
    detectors.append(random_detector("third", "fixed", {SAGITTAL_T1: 5}, NETWORK | options))
    classifiers = [
        random_classifier("one", "test_convnext", "level", "stretch", factor=20),
        random_classifier("two", "test_byobnet", "level_skip", "shift", factor=20),
    ]
    return write_random_bundle(tmp_path_factory.mktemp("bundle"), detectors, classifiers)


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> list[Study]:
    """Return three studies of different series and sizes, twice, and one without any series."""
    listed = find_dataset(write_studies(tmp_path_factory.mktemp("studies"))).studies
    read = [read_study(ref) for ref in listed]
    return [*read, Study("empty"), *(replace(study, study_id=f"again {study.study_id}") for study in read)]


@pytest.fixture(scope="module")
def alone(bundle, studies) -> list[GradedStudy]:
    grader = StudyGrader(ready_bundle(bundle, ALONE), ALONE)
    return [grader.grade([study], EVERYONE)[0] for study in studies]


def assert_equal(graded: GradedStudy, expected: GradedStudy) -> None:
    assert graded.study_id == expected.study_id
    assert graded.plan == expected.plan and graded.faults == expected.faults
    assert graded.detections.keys() == expected.detections.keys()
    for name, detection in graded.detections.items():
        assert detection.points.keys() == expected.detections[name].points.keys()
        for description, found in detection.points.items():
            other = expected.detections[name].points[description]
            np.testing.assert_array_equal(found.points, other.points)
            np.testing.assert_allclose(found.values, other.values, atol=1e-6)
            assert found.segmented == other.segmented
    assert graded.members.keys() == expected.members.keys()
    for member, rows in graded.members.items():
        np.testing.assert_allclose(rows, expected.members[member], atol=1e-5)
    assert (graded.probabilities is None) == (expected.probabilities is None)
    if graded.probabilities is not None and expected.probabilities is not None:
        np.testing.assert_allclose(graded.probabilities, expected.probabilities, atol=1e-5)


def test_together_is_as_alone(bundle, studies, alone):
    """Padded batches, volumes in one stack, one search for all: same points, same slices segmented, same grades."""
    grader = StudyGrader(ready_bundle(bundle, TOGETHER), TOGETHER)
    assert len(sharing_networks(grader.bundle.detectors)) == 2
    for _ in range(2):  # the second time passes know their shapes
        for graded, expected in zip(grader.grade(studies, EVERYONE), alone, strict=True):
            assert_equal(graded, expected)


def test_every_member_has_its_seconds_though_a_card_is_still_computing(bundle, studies, monkeypatch):
    """Members in flight, as on a card, are measured before their seconds are read; detectors share networks."""
    event = SimpleNamespace(synchronize=lambda: None)
    monkeypatch.setattr(stopwatch, "launched_so_far", lambda device: event)
    grader = StudyGrader(ready_bundle(bundle, TOGETHER), TOGETHER)
    members = {"detector first", "detector second", "detector third", "classifier one", "classifier two"}
    for graded in grader.grade(studies, EVERYONE):
        assert graded.costs.keys() == (members if graded.study_id != "empty" else set())
        assert all(seconds > 0 for seconds in graded.costs.values())


def test_a_study_that_makes_a_network_give_nan_is_left_out_alone(bundle, studies, alone, monkeypatch):
    """One study's crops give NaN in a classifier, in float32 too; the others' grades stay."""
    grader = StudyGrader(ready_bundle(bundle, TOGETHER), TOGETHER)
    windows = site_windows(alone[0].detections["first"], studies[0].volumes, CropRule("stretch"))
    picture = enlarge(torch.from_numpy(windows[7, 2][None, None]))  # of a sagittal T1 site
    features = ClassifierNetwork.features

    def poisoned(self, images):
        """Give NaN for one picture, where the first classifier reads it."""
        bad = torch.isclose(images, picture, atol=1e-6).flatten(1).all(dim=1)[:, None]
        return torch.where(bad & (self.config.sequence == "level"), float("nan"), features(self, images))

    monkeypatch.setattr(ClassifierNetwork, "features", poisoned)
    poisoned_ids = {"1", "again 1"}
    for graded, expected in zip(grader.grade(studies, EVERYONE), alone, strict=True):
        if graded.study_id in poisoned_ids:
            assert {classifier for _, classifier in graded.members} == {"two"}
            assert [fault.reason for fault in graded.faults if fault.file == "classifier one"] == [
                "not_finite"
            ]
        else:
            assert_equal(graded, expected)


def test_a_volume_that_makes_the_pointer_give_nan_costs_its_study_the_detector(
    bundle, studies, alone, monkeypatch
):
    grader = StudyGrader(ready_bundle(bundle, TOGETHER), TOGETHER)
    broken = grader.bundle.detectors[2].networks[SAGITTAL_T1]
    encode = broken.pointer.encode

    def poisoned(images):
        """Give infinite features, which an LSTM or a head would hide, for one study's slices."""
        given = encode(images)
        return torch.where((images[:, 1] == marked).all(dim=(1, 2))[:, None], float("inf"), given)

    volume = studies[0].volumes[SAGITTAL_T1]
    marked = torch.from_numpy(volume.grid256[2]).float() / 255
    monkeypatch.setattr(broken.pointer, "encode", poisoned)
    changed = replace(broken.config, max_length=len(volume))
    broken.config = changed  # long enough that no slice is squeezed
    broken.pointer.sequence.positions = torch.nn.Parameter(
        torch.randn(len(volume), changed.hidden), requires_grad=False
    )
    graded = grader.grade(studies[:2], EVERYONE)
    assert graded[0].detections.keys() == {"first", "second"}
    assert [fault.file for fault in graded[0].faults if fault.reason == "not_finite"] == ["detector third"]
    assert graded[1].detections.keys() == {"first", "second", "third"}
    assert_equal(without_third(graded[1]), without_third(alone[1]))


def without_third(graded: GradedStudy) -> GradedStudy:
    """Return a graded study without the third detector and what rests on it."""
    members = {member: rows for member, rows in graded.members.items() if member[0] != "third"}
    detections = {name: found for name, found in graded.detections.items() if name != "third"}
    return replace(graded, detections=detections, members=members, probabilities=None)


def test_studies_that_do_not_fit_together_are_graded_one_by_one(bundle, studies, alone, monkeypatch, caplog):
    neighbours = point_search.neighbours
    most = max(sum(map(len, study.volumes.values())) for study in studies)

    def bounded(volume):
        if volume.shape[1] > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory: on purpose")
        return neighbours(volume)

    monkeypatch.setattr(point_search, "neighbours", bounded)
    grader = StudyGrader(ready_bundle(bundle, TOGETHER), TOGETHER)
    for graded, expected in zip(grader.grade(studies, EVERYONE), alone, strict=True):
        assert_equal(graded, expected)
    assert "one by one" in caplog.text


def test_a_pass_out_of_memory_is_halved_and_its_shapes_are_forgotten(
    bundle, studies, alone, monkeypatch, caplog
):
    features = ClassifierNetwork.features

    def bounded(self, images):
        if len(images) > 8:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory: on purpose")
        return features(self, images)

    monkeypatch.setattr(ClassifierNetwork, "features", bounded)
    grader = StudyGrader(ready_bundle(bundle, TOGETHER), TOGETHER)
    for graded, expected in zip(grader.grade(studies, EVERYONE), alone, strict=True):
        assert_equal(graded, expected)
    assert grader.runner.batch == 2 and "batch halved to 2" in caplog.text
    assert {key[2] for key in grader.runner.captured} == {8}  # images of a pass of stage 2, at a batch of 2


def uncounted(function):
    """Return a function with operators that do not count."""

    def call(*args):
        with _disable_current_modes():
            return function(*args)

    return call


def one_launch(replay):
    """Return a function that counts as one operator."""

    def call(*args):
        torch.zeros(0)
        return uncounted(replay)(*args)

    return call


def launches(grader: StudyGrader, groups: list[list[Study]], monkeypatch) -> dict[str, int]:
    """Return the operators, the networks' passes and the reads of the device for groups of studies.

    Crops are cut on the host: these operators do not count. A pass of fixed shape is one launch, as a card replays it.
    """
    counts = {"passes": 0, "reads": 0}

    def counted(name, function):
        def call(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch, OperatorCount() as launched:
        for function in (point_search.encode_slices, point_search.segment_peaks):
            patch.setattr(point_search, function.__name__, counted("passes", function))
        patch.setattr(ensemble, "crop_features", counted("passes", ensemble.crop_features))
        for module in (point_search, member_runs):
            patch.setattr(module, "download", counted("reads", module.download))
        patch.setattr(member_runs, "site_windows", uncounted(site_windows))
        patch.setattr(CapturedPass, "run", one_launch(CapturedPass.run))
        for group in groups:
            grader.grade(group, EVERYONE)
    return counts | {"operators": launched.operators}


@pytest.mark.slow
def test_eight_studies_side_by_side_launch_a_quarter_of_the_operators(bundle, studies, monkeypatch):
    """And the device is read less than three times per study."""
    eight = [study for study in studies if study.volumes] + [replace(studies[0], study_id="8")] * 2
    wide = replace(TOGETHER, batch=32)
    together = launches(StudyGrader(ready_bundle(bundle, wide), wide), [eight], monkeypatch)
    alone = launches(StudyGrader(ready_bundle(bundle, ALONE), ALONE), [[one] for one in eight], monkeypatch)
    assert together["reads"] <= 3 * len(eight)
    assert together["operators"] <= alone["operators"] / 4
    assert together["passes"] <= alone["passes"] / 4
