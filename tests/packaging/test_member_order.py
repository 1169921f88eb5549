"""The most valuable members come first, and every member has a name of its own."""

from pathlib import Path, PurePosixPath

from dataset.published.files import ClassifierFile, DetectorFile
from dataset.published.names import read_name
from dataset.published.order import classifier_names, folds_of_detectors, kinds_of_classifiers
from dataset.published.shapes import CheckpointShape
from lumbar.networks.families import FAMILY_A, FAMILY_B
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SAGITTAL_T1, SAGITTAL_T2


def detector_file(family, description: str, fold: int, score: float | None = None) -> DetectorFile:
    path = PurePosixPath(f"{family.name}/fold{fold}" + ("" if score is None else f"/testscore{score}"))
    facts = read_name(path)
    name = facts.member_name(f"family_{family.name}")
    return DetectorFile(Path(path), str(path), facts, family, description, name)


def classifier_file(backbone: str, sequence: str, path: str) -> ClassifierFile:
    shape = CheckpointShape(backbone, None)
    return ClassifierFile(Path(path), path, read_name(PurePosixPath(path)), shape, sequence, None)


def test_folds_come_by_score_and_a_shared_description_does_not_count_against_one():
    """The first fold's sagittal networks are the best; that it alone has an axial one must not make it the last."""
    scores = {1: 0.8, 2: 1.0, 3: 0.9}
    files = [detector_file(FAMILY_B, d, n, s) for n, s in scores.items() for d in (SAGITTAL_T1, SAGITTAL_T2)]
    axial = detector_file(FAMILY_B, AXIAL_T2, 1, 1.4)
    detectors = folds_of_detectors([*files, axial])
    assert [d.name for d in detectors] == ["family_b-fold1", "family_b-fold3", "family_b-fold2"]
    assert all(set(d.files) == set(DESCRIPTIONS) and d.files[AXIAL_T2] is axial for d in detectors)


def test_families_take_turns_and_folds_count_where_names_have_no_score():
    files = [detector_file(FAMILY_A, d, n) for n in (3, 2, 1) for d in DESCRIPTIONS]
    files += [detector_file(FAMILY_B, d, n) for n in (2, 1) for d in DESCRIPTIONS]
    names = [detector.name.removeprefix("family_") for detector in folds_of_detectors(files)]
    assert names == ["a-fold1", "b-fold1", "a-fold2", "b-fold2", "a-fold3"]


def test_kinds_of_classifiers_take_turns_the_best_first():
    files = [
        classifier_file("tiny", "level", "fold1/testscore0.50"),
        classifier_file("tiny", "level", "fold2/testscore0.45"),
        classifier_file("tiny", "level_skip", "fold1/testscore0.40"),
        classifier_file("small", "level", "fold1/best"),
        classifier_file("small", "level", "fold1/again/best"),
    ]
    ordered = kinds_of_classifiers(files)
    assert [files.index(file) for file in ordered] == [2, 1, 4, 0, 3]
    assert classifier_names(ordered) == [
        "tiny-level_skip-fold1",
        "tiny-level-fold2",
        "small-level-fold1",
        "tiny-level-fold1",
        "small-level-fold1-2",
    ]
