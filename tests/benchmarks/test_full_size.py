"""The comparison for a card: each variant differs in its idea alone, and the command runs with small networks."""

import json
from dataclasses import asdict, replace

import pytest

from tests.benchmarks import full_size
from tests.making.labelled_competition import tiny_recipe, write_competition
from training.fitting import train_classifier
from training.recipes.augmentation import CropAugmentation
from training.recipes.reading import read_recipe

CHANGED = {
    "one_step": {"class_weights", "step2", "augmentation2"},
    "no_cutmix": {"augmentation", "augmentation2"},
    "all_sites": {"config"},
}


def test_each_variant_differs_in_its_idea_alone():
    variants = full_size.variants(None)
    solution = variants.pop("two_steps")
    published = read_recipe("family_a").classifiers[0]
    assert (solution.config, solution.step1.epochs, solution.step2.epochs) == (published.config, 20, 10)
    assert solution.augmentation.cutmix == solution.augmentation2.cutmix == 1
    assert variants.keys() == CHANGED.keys()
    whole = asdict(solution)
    for name, variant in variants.items():
        assert {field for field, value in asdict(variant).items() if value != whole[field]} == CHANGED[name]
    assert variants["no_cutmix"].augmentation == replace(solution.augmentation, cutmix=0.0)
    assert variants["no_cutmix"].augmentation2 == replace(solution.augmentation2, cutmix=0.0)
    assert variants["all_sites"].config == replace(solution.config, sequence="all")


def test_epochs_are_those_of_each_step_and_the_last_one_counts():
    for variant in full_size.variants(3).values():
        for step in (variant.step1, variant.step2):
            assert step is None or step.epochs == step.evaluate_every == 3


@pytest.mark.long
def test_the_command_compares_all_variants_and_goes_on(tmp_path, monkeypatch, capsys):
    recipe, mixed = tiny_recipe(), CropAugmentation(cutmix=1.0)
    classifier = replace(recipe.classifiers[0], augmentation=mixed, augmentation2=mixed)
    monkeypatch.setattr(full_size, "read_recipe", lambda _name: replace(recipe, classifiers=(classifier,)))
    data = write_competition(tmp_path / "data")
    command = ["--data", str(data), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]
    command += ["--device", "cpu", "--held-out", "1", "--epochs", "1", "--loaders", "0", "--seeds", "1"]
    result = full_size.main(command)
    assert json.loads((tmp_path / "run" / "figures.json").read_text()) == json.loads(json.dumps(result))
    assert "1 of 1 seeds" in capsys.readouterr().out
    assert result["variants"].keys() == {"two_steps", *CHANGED}
    for figures in result["variants"].values():
        assert all(len(figure["values"]) == 1 for figure in figures.values())
    monkeypatch.setattr(train_classifier, "fit", None)  # a training would fail
    assert full_size.main(command) == result
