"""The ablations compare like with like: labels of each variant, paired seeds, one and the same detector."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import training.fitting.train_detector as stage1
from lumbar.grading.point_search import Points
from lumbar.grids import CROP_OFFSETS
from lumbar.networks.architecture import CropRule
from lumbar.sites import SAGITTAL_T1
from tests.benchmarks import ablations
from tests.benchmarks.ablation_recipes import VARIANTS
from tests.benchmarks.averaging import mean_points
from tests.benchmarks.paired_differences import compare, lines
from tests.benchmarks.true_points import true_points
from tests.making.labelled_competition import (
    SCHEDULE,
    tiny_recipe,
    training_data_of,
    training_setup,
    write_competition,
)
from training.data.classifier_dataset import ClassifierDataset
from training.fitting.out_of_fold_points import FoundPoints
from training.fitting.train_detector import network_dataset


def test_differences_are_paired_by_seed():
    variants = {"with": [{"error": 1.0}, {"error": 5.0}], "without": [{"error": 2.0}, {"error": 9.0}]}
    comparison = compare(variants, ("error",))
    difference = comparison["differences"]["without - with"]["error"]
    assert difference["values"] == [1.0, 4.0] and difference["mean"] == 2.5
    assert (difference["low"], difference["high"]) == (1.0, 4.0)
    assert comparison["variants"]["with"]["error"]["mean"] == 3.0
    assert len(lines("gaussian", comparison)) == 4


@pytest.fixture(scope="module")
def training_data(tmp_path_factory):
    """Four studies of dots; of study 100 the first foramen has a grade and no coordinate."""
    root = write_competition(tmp_path_factory.mktemp("ablations") / "data")
    table = pd.read_csv(root / "train_label_coordinates.csv")
    left = (table["condition"] == "Left Neural Foraminal Narrowing") & (table["level"] == "L1/L2")
    table[~(left & (table["study_id"] == 100))].to_csv(root / "train_label_coordinates.csv", index=False)
    return training_data_of(root, root.parent)


def test_a_recipes_label_is_what_its_network_learns(training_data):
    setup = training_setup(training_data)
    recipe = replace(tiny_recipe().networks[1], augmentation=None)
    narrow = {
        name: getattr(VARIANTS["detector"]["single_voxel"], name) for name in ("sigma", "decay", "reach")
    }
    wide, voxel = (network_dataset(r, ["101"], setup)[0] for r in (recipe, replace(recipe, **narrow)))
    assert (voxel.amplitude > 0).sum(dim=1).tolist() == [1] * 10
    assert (voxel.planes > 1e-6).sum(dim=(1, 2)).tolist() == [1] * 10
    assert (wide.amplitude > 0).sum(dim=1).max() == 4  # slices 0 to 3 or 2 to 5 of six
    assert (wide.planes > 0.5).sum(dim=(1, 2)).min() > 40
    for peak in ("amplitude", "planes"):
        assert (getattr(voxel, peak).flatten(1).argmax(1) == getattr(wide, peak).flatten(1).argmax(1)).all()


def test_a_true_crop_shows_its_dot_and_an_unknown_place_has_no_grade(training_data):
    studies = ["100", "101"]
    labels, points = training_data.grades.of(studies), true_points(training_data)
    dataset = ClassifierDataset(training_data.cache, studies, labels, points, CropRule("shift"), None, seed=0)
    for index in range(2):
        centre = dataset.windows(index, np.random.default_rng(0))[:, 2, 28:36, 28:36].mean(axis=(1, 2))
        unknown = np.isin(np.arange(25), range(5, 15)) & (index == 0)  # the volume that lacks a label
        assert ((centre > 0.2) == ~unknown).all()  # the background is below 40 of 255
        assert ((dataset.labels[index] == -1).numpy() == unknown).all()


def test_the_mean_point_keeps_its_five_slices_together():
    found = []
    for point in ((2, 10, 30), (3, 20, 31)):
        points = np.array([[np.add(point, (offset, 0, 0)) for offset in CROP_OFFSETS]] * 10)
        kinds = {"fixed": Points(points, np.ones((10, 5)), 9, "fixed", 0)}
        found.append(FoundPoints(SAGITTAL_T1, {"1": kinds}))
    mean = mean_points(found).studies["1"]["fixed"]
    assert mean.points[4].tolist() == [[z, 15, 31] for z in (1, 2, 3, 4, 5)]


@pytest.mark.long
def test_every_arm_trains_once_and_one_detector_is_its_own_mean(training_data, tmp_path, monkeypatch):
    tiny, once = tiny_recipe(), replace(SCHEDULE, epochs=1)
    network = replace(tiny.networks[1], augmentation=None, schedule=once)
    classifier = replace(tiny.classifiers[0], step1=once, step2=None)
    alone = replace(classifier, config=replace(classifier.config, sequence="alone"))
    voxel = replace(network, sigma=0.1, reach=0)
    monkeypatch.setitem(VARIANTS, "detector", {"expanding": network, "single_voxel": voxel})
    options = dict.fromkeys(VARIANTS["classifier"].keys() - {"level", "alone"}, classifier)
    monkeypatch.setitem(VARIANTS, "classifier", {"level": classifier, "alone": alone, **options})
    data = str(training_data.cache.folder.parent / "data")
    command = ["--data", data, "--out", str(tmp_path / "run"), "--cache", str(training_data.cache.folder)]
    command += ["--held-out", "1", "--workers", "1", "--seeds", "2", "--json", str(tmp_path / "figures.json")]
    result = ablations.main(command)
    assert (
        set(result) == {"gaussian", "level_wise", "options", "sizes", "tta"}
        and (tmp_path / "figures.json").stat().st_size
    )
    for comparison in result.values():
        for variant in comparison["variants"].values():
            assert all(len(figure["values"]) == 2 for figure in variant.values())
    seeds = result["level_wise"]["variants"]["level"]["mean_loss"]["values"]
    assert seeds[0] != seeds[1]
    monkeypatch.setattr(stage1, "detector_losses", None)  # a step would fail
    assert ablations.main(command)["gaussian"] == result["gaussian"]
    one = ablations.main([*command, "--only", "tta", "--seeds", "1"])["tta"]
    for difference in one["differences"].values():
        assert all(abs(figure["mean"]) < 1e-9 for figure in difference.values())
