"""Labels that out-of-fold predictions contradict are listed, and a second round is trained without them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import evaluate
import training.fitting.train_classifier as stage2
from lumbar.networks.architecture import CropRule
from lumbar.outputs.tables import MEMBER_COLUMNS, member_rows, open_table
from lumbar.sites import DESCRIPTIONS, MISSING, SITE_NAMES
from tests.making.labelled_competition import (
    tiny_recipe,
    training_data_of,
    training_setup,
    write_competition,
)
from tests.making.recipe_file import write_recipe
from training.data.classifier_dataset import ClassifierDataset
from training.data.label_noise import contradicted
from training.data.labels import GRADES_FILE, read_grades
from training.errors import LabelError, RecipeError
from training.fitting.classifier_step import PREDICTIONS, Predictions
from training.fitting.jobs import plan_jobs
from training.recipes.checks import check_stage2_points
from training.recipes.reading import read_recipe
from training.recipes.schema import LabelNoise

FIRST, SECOND = "tiny-level", "tiny-second"


def two_rounds(threshold: float = 0.8, **changes):
    """Return a recipe of two folds: its last classifier is a second round of the first one."""
    recipe = tiny_recipe(folds=(0, 1), fold_count=2)
    second = replace(recipe.classifiers[0], name=SECOND, label_noise=LabelNoise((FIRST,), threshold))
    return replace(recipe, classifiers=(*recipe.classifiers, second), **changes)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_competition(tmp_path_factory.mktemp("noise") / "data")


def test_a_label_is_contradicted_where_its_own_probability_is_low():
    labels = np.array([[0, 1, 2, MISSING, 0]], np.int8)
    found = np.array([[[0.1, 0.9, 0], [0.79, 0.21, 0], [0.5, 0.31, 0.19], [0.0, 1, 0], [np.nan] * 3]])
    assert contradicted(labels, found, 0.8).tolist() == [[True, False, True, False, False]]
    assert contradicted(labels, found, 0.75).tolist() == [[True, True, True, False, False]]


def written_predictions(data, folder) -> tuple[list[str], np.ndarray]:
    """Write two folds' predictions that agree with every label but the second and third study's first site."""
    grades = read_grades(data / GRADES_FILE)
    found = np.eye(3)[grades.labels]
    found[1:3, 0] = np.eye(3)[(grades.labels[1:3, 0] + 1) % 3]
    for fold in range(2):
        (folder / FIRST / f"fold{fold}").mkdir(parents=True)
        rows = slice(fold, None, 2)
        Predictions(grades.study_ids[rows], found[rows]).write(folder / FIRST / f"fold{fold}" / PREDICTIONS)
    return list(grades.study_ids), found


def test_a_second_round_is_trained_without_them_and_validated_on_all(data, tmp_path, monkeypatch):
    studies, _ = written_predictions(data, tmp_path / "classifiers")
    setup = training_setup(training_data_of(data, tmp_path))
    points, built = {study: {} for study in studies}, []
    monkeypatch.setattr(stage2, "weight_means", lambda labels: 1 / 0)  # the data sets are all that is wanted
    monkeypatch.setattr(stage2, "ClassifierDataset", FakeDataset(built))
    recipe = two_rounds().classifiers[-1]
    folder = tmp_path / "classifiers" / SECOND / "fold0"
    with pytest.raises(ZeroDivisionError):
        stage2.train_classifier(recipe, studies[:3], studies[1:], points, setup, folder)
    validation, training = built
    grades = setup.data.grades.of(studies)
    assert (validation == grades[1:]).all()
    expected = grades[:3].copy()
    expected[1:3, 0] = MISSING
    assert (training == expected).all()
    (tmp_path / "classifiers" / FIRST / "fold1" / PREDICTIONS).unlink()
    with pytest.raises(
        LabelError, match=r"no out-of-fold prediction of 1 studies \(101, \.\.\.\), expected one of each"
    ):
        stage2.train_classifier(recipe, studies[:3], studies[1:], points, setup, folder)


class FakeDataset:
    """Keeps the labels that data sets are built with."""

    def __init__(self, built: list):
        self.built, self.labels = built, None

    def __call__(self, cache, studies, labels, points, crops, augmentation, seed, left_out):
        self.built.append(labels if left_out is None else np.where(left_out == 1, MISSING, labels))
        return self


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_weight_is_the_share_of_the_epochs_that_have_the_label(weight):
    labels, studies = np.ones((2, 25), np.int8), ["1", "2"]
    left_out = np.zeros((2, 25))
    left_out[1, :20] = 1 - weight
    points = {study: dict.fromkeys(DESCRIPTIONS) for study in studies}
    dataset = ClassifierDataset(None, studies, labels, points, CropRule("shift"), None, 0, left_out)
    held = np.zeros((2, 25))
    for dataset.epoch in range(100):
        held += [(dataset.epoch_labels(index) != MISSING).numpy() for index in range(2)]
    assert (held[left_out == 0] == 100).all()
    assert held[1, :20].mean() == pytest.approx(100 * weight, abs=4)
    assert (dataset.labels[1, :20] == MISSING).all() == (
        weight == 0
    )  # so the metric's weights leave them out too


def test_labels_are_weighed_where_epochs_can_differ(tmp_path):
    recipe = two_rounds()
    last = replace(recipe.classifiers[-1], label_noise=LabelNoise((FIRST,), weight=0.5))
    recipe = replace(recipe, classifiers=(*recipe.classifiers[:-1], last))
    with pytest.raises(RecipeError, match=r"label_noise, weight: got 0\.5 without augmentation2, expected 0"):
        read_recipe(str(write_recipe(recipe, tmp_path)))
    augmented = replace(last, augmentation2=last.augmentation)
    recipe = replace(recipe, classifiers=(*recipe.classifiers[:-1], augmented))
    assert read_recipe(str(write_recipe(recipe, tmp_path))) == recipe


def test_evaluate_lists_them(data, tmp_path, capsys):
    studies, found = written_predictions(data, tmp_path)
    found[3, 7] = 1 / 3
    with open_table(tmp_path / "members.csv", MEMBER_COLUMNS) as table:
        for study, rows in zip(studies, found, strict=True):
            table.writerows(member_rows(study, "fixed", f"{FIRST}/fold0", rows))
    command = ["--data", str(data), "--members", str(tmp_path / "members.csv")]
    command += ["--contradicted", str(tmp_path / "labels.csv")]
    assert evaluate.main(command) == 0
    listed = pd.read_csv(tmp_path / "labels.csv", dtype={"study_id": str})
    assert listed[["study_id", "site"]].values.tolist() == [[study, SITE_NAMES[0]] for study in studies[1:3]]
    assert (listed["probability"] < 0.01).all()
    assert "2 of 100 labels are contradicted" in capsys.readouterr().out


@pytest.mark.parametrize("judges", [(), ("nobody",), (SECOND,)])
def test_the_judges_are_earlier_classifiers(tmp_path, judges):
    recipe = two_rounds()
    last = replace(recipe.classifiers[-1], label_noise=LabelNoise(judges))
    recipe = replace(recipe, classifiers=(*recipe.classifiers[:-1], last))
    with pytest.raises(RecipeError, match=r"judged_by: got .* expected some of the classifiers before it"):
        read_recipe(str(write_recipe(recipe, tmp_path)))


def test_a_second_round_needs_all_folds(tmp_path):
    recipe = two_rounds()
    assert read_recipe(str(write_recipe(recipe, tmp_path))) == recipe
    check_stage2_points(recipe, recipe.classifiers)
    with pytest.raises(
        RecipeError, match="label_noise: the predictions that judge the labels need all 2 folds"
    ):
        check_stage2_points(replace(recipe, folds=(1,)), recipe.classifiers)


def test_a_second_round_waits_for_all_folds_of_its_judges(tmp_path):
    recipe = two_rounds()
    folds = {"100": 0, "101": 1}
    jobs = plan_jobs(recipe, recipe.networks, recipe.classifiers, folds, tmp_path)
    after = {job.name: job.after for job in jobs}
    for fold in range(2):
        assert {f"{FIRST}/fold0", f"{FIRST}/fold1"} < set(after[f"{SECOND}/fold{fold}"])
        assert not any(FIRST in name for name in after[f"{FIRST}/fold{fold}"])
