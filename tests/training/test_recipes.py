"""A recipe's file reads as the recipe that is trained, and every mistake in it is named before any data are read."""

from dataclasses import replace

import pytest
import timm
import torch

from lumbar.networks.families import FAMILY_A, FAMILY_B
from tests.making.labelled_competition import tiny_recipe
from tests.making.recipe_file import write_recipe
from training.errors import RecipeError
from training.fitting.loop import BEST, RESULT
from training.fitting.member_starts import check_starts
from training.recipes.checks import check_stage2_points
from training.recipes.reading import read_recipe
from training.recipes.shipped import FOLDER, shipped_recipes

SHIPPED = {name: read_recipe(name) for name in shipped_recipes()}


def test_a_recipe_that_is_written_reads_as_itself(tmp_path):
    recipe = replace(tiny_recipe(fold_count=3), purpose='says "so"')
    networks = (*recipe.networks[:2], replace(recipe.networks[2], start_from=recipe.networks[0].name))
    recipe = replace(recipe, networks=networks)
    assert read_recipe(str(write_recipe(recipe, tmp_path))) == recipe


def test_the_random_numbers_of_the_process_stay(tmp_path):
    file = write_recipe(tiny_recipe(), tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    read_recipe(str(file))
    assert torch.equal(torch.rand(1), expected)


def test_like_takes_all_values_and_replaces_single_ones(tmp_path):
    file = write_recipe(tiny_recipe(classifiers=()), tmp_path)
    file.write_text(
        file.read_text().replace("[[detectors]]", NETWORK_LIKE + "\n[[detectors]]", 1).replace("classifiers = []", "")
    )  # fmt: skip
    recipe = read_recipe(str(file))
    first, last = recipe.networks[0], recipe.networks[-1]
    schedule = replace(first.schedule, epochs=7)
    config = replace(first.config, hidden=32)
    affine = replace(first.augmentation.affine, rotate=3.0)
    augmentation = replace(first.augmentation, affine=affine)
    changed = {"schedule": schedule, "config": config, "augmentation": augmentation, "slices_per_step": None}
    assert last == replace(first, name="another", **changed)


NETWORK_LIKE = """
[[networks]]
name = "another"
like = "tiny-sagittal_t2"
slices_per_step = "none"
schedule.epochs = 7
config.hidden = 32
augmentation.affine.rotate = 3
"""

FIRST = 'networks "tiny-sagittal_t2"'.replace('"', "'")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("fold_seed", "fold_sed", "got the key 'fold_sed', expected one of name, purpose"),
        ("xy_target", "xytarget", f"{FIRST}, got the key 'xytarget', expected one of"),
        ("xy_target", "xytarget", "Did you mean 'xy_target'?"),
        ("epochs = 2", "epoch = 2", f"{FIRST}, schedule, got the key 'epoch', expected one of epochs, batch"),
        ("epochs = 2, ", "", f"{FIRST}, schedule, got no 'epochs'. Add it. schema.py describes it."),
        ('encoder = "test_byobnet", ', "", f"{FIRST}, config, got no 'encoder'. Add it. architecture.py describes it."),
        (", p = 0.75", "", "augmentation, affine, got no 'p'. Add it. augmentation.py describes it."),
        ("epochs = 2", "epochs = 0", f"{FIRST}, schedule, epochs: got 0, expected 1 to inf."),
        ("epochs = 2", "epochs = 2.5", "epochs: got 2.5, expected a whole number."),
        ("epochs = 2", "epochs = true", "epochs: got True, expected a whole number."),
        ("warmup = 0.1", "warmup = 1.1", "warmup: got 1.1, expected 0 to 1."),
        ("p = 0.75", "p = 75", "augmentation, affine, p: got 75.0, expected 0 to 1."),
        ('"own"', '"mine"', f"{FIRST}, xy_target: got 'mine', expected one of own, union_of_levels."),
        ('"middle_epoch"', '"out_of_folds"', "Did you mean 'out_of_fold'?"),
        ("imagenet = false", 'imagenet = "no"', "imagenet: got 'no', expected true or false."),
        ("[16, 8, 8, 8]", "16", f"{FIRST}, config, decoder_channels: got 16, expected a list"),
        ("[16, 8, 8, 8]", "[16, 8, 8]", f"{FIRST}, config: this network can't be built (ValueError: "),
        ("dropout = [0.2, 0.2, 0.2]", "dropout = [0.2]", "dropout: got 1 entries, expected 3."),
        ('encoder = "test_byobnet"', 'encoder = "test_byobnets"', f"{FIRST}, config, encoder: timm "),
        ('encoder = "test_byobnet"', 'encoder = "test_byobnets"', "Did you mean 'test_byobnet' or"),
        ('encoder = "test_byobnet"', 'encoder = "hf-hub:me/mine"', "has no network 'hf-hub:me/mine'"),
        ('"Sagittal T1"', '"Sagittal"', "description: got 'Sagittal', expected one of"),
        ('pointer = "lstm"', 'pointer = "gru"', "expected 'lstm' or 'transformer'"),
        ('border = "shift"', 'border = "shove"', "classifiers 'tiny-level', config,"),
        ("folds = [0]", "folds = [5]", "folds: got [5], expected some of 0 to 4, each once."),
        ("folds = [0]", "folds = []", "folds: got [], expected some of 0 to 4"),
        ('name = "tiny-level"', 'name = "../level"', "classifiers: got the name '../level'"),
        ('name = "dynamic"', 'name = "fixed"', "detectors: got 'fixed' twice"),
        ('name = "tiny-axial_t2"', 'name = "tiny-sagittal_t1"', "number 3: got 'tiny-sagittal_t1' again"),
        ('["tiny-sagittal_t2", ', '["tiny-sagittal", ', "detectors 'fixed', networks: got 'tiny-sagittal'"),
        ('["tiny-sagittal_t2", "tiny-sagittal_t1"', '["tiny-sagittal_t1", "tiny-sagittal_t1"', "one per description"),
        ('detector = "fixed"', 'detector = "fix"', "detector: got 'fix', expected one of fixed, dynamic."),
        ('start_from = "none"', 'start_from = "tiny-axial_t2"', "got 'tiny-axial_t2', which is not trained before it"),
        ("[[detectors]]", "[detectors]", "this is no TOML"),
        ("purpose = ", 'name = "x"\npurpose = ', "got the key 'name'"),
        ("[[networks]]", '[[networks]]\nlike = "tiny"', "like: got 'tiny', expected one of none"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_file_table_and_key(old, new, said, tmp_path):
    file = write_recipe(tiny_recipe(), tmp_path)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(RecipeError) as refused:
        read_recipe(str(file))
    assert str(refused.value).startswith(str(file)) and said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_recipe_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.toml: no such file"):
        read_recipe(str(tmp_path / "none.toml"))
    with pytest.raises(RecipeError, match=r"got 'smal', expected .* Did you mean 'small'"):
        read_recipe("smal")


def test_weights_of_an_unknown_tag_are_refused(tmp_path):
    classifier = tiny_recipe().classifiers[0]
    config = replace(classifier.config, backbone="convnext_atto.none")
    file = write_recipe(tiny_recipe(classifiers=(replace(classifier, config=config),)), tmp_path)
    with pytest.raises(RecipeError, match=r"no weights 'convnext_atto\.none', but convnext_atto\.d2_in1k"):
        read_recipe(str(file))


def test_epochs_and_fold_replace_the_recipes_own(tmp_path):
    file = str(write_recipe(tiny_recipe(fold_count=3, folds=(0, 1)), tmp_path))
    recipe = read_recipe(file, epochs=5, fold=2)
    assert recipe.folds == (2,)
    schedules = [n.schedule for n in recipe.networks] + [
        s for c in recipe.classifiers for s in (c.step1, c.step2)
    ]
    assert {schedule.epochs for schedule in schedules} == {5}
    plain = read_recipe(file)
    for mine, other in zip(recipe.networks, plain.networks, strict=True):
        assert replace(mine, schedule=other.schedule) == other
    with pytest.raises(RecipeError, match="--fold: got 3, expected 0 to 2"):
        read_recipe(file, fold=3)
    family = read_recipe("family_a", epochs=1)
    assert [n.pretraining for n in family.networks] == [1, 1, 0]


def test_the_fold_after_the_last_is_for_recipes_without_classifiers(tmp_path):
    file = str(write_recipe(tiny_recipe(fold_count=3, folds=(0, 1), classifiers=()), tmp_path))
    assert read_recipe(file, fold=3).folds == (3,)
    with pytest.raises(RecipeError, match="--fold: got 4, expected 0 to 3"):
        read_recipe(file, fold=4)


def test_points_out_of_fold_need_all_folds_before_anything_is_read():
    recipe = replace(SHIPPED["family_b"], folds=(0,))
    check_stage2_points(recipe, ())
    with pytest.raises(RecipeError, match=r"'out_of_fold' needs the networks of all 5 folds, got \[0\]"):
        check_stage2_points(recipe, recipe.classifiers[:1])


def test_a_start_is_trained_before_or_lies_in_the_run(tmp_path):
    recipe = tiny_recipe()
    for kind, weights in (("networks", BEST), ("classifiers", f"step2/{BEST}")):
        first, second = getattr(recipe, kind)[:2]
        second, folder = replace(second, start_from=first.name), tmp_path / kind
        check_starts((first, second), (0, 1), folder)
        with pytest.raises(RecipeError, match=f"{kind} '{second.name}', start_from: got '{first.name}'"):
            check_starts((second,), (0, 1), folder)
        for fold, file in ((0, f"{first.name}/fold0/{weights}"), (1, f"{second.name}/fold1/{RESULT}")):
            with pytest.raises(RecipeError, match=f"fold{fold}"):
                check_starts((second,), (0, 1), folder)
            (folder / file).parent.mkdir(parents=True)
            (folder / file).touch()
        check_starts((second,), (0, 1), folder)


def test_every_shipped_file_is_a_recipe_and_says_what_for():
    assert {file.stem for file in FOLDER.glob("*.toml")} == set(shipped_recipes())
    for name, purpose in shipped_recipes().items():
        assert SHIPPED[name].name == name and SHIPPED[name].purpose == purpose and len(purpose) < 100
        check_stage2_points(SHIPPED[name], SHIPPED[name].classifiers)


def test_imagenet_starts_are_pinned_to_timms_tags():
    tags = {}
    for name, recipe in SHIPPED.items():
        wanted = {
            n for r in recipe.networks if r.imagenet for n in (r.config.encoder, r.config.pointer_encoder)
        }
        wanted |= {classifier.config.backbone for classifier in recipe.classifiers if classifier.imagenet}
        assert all("." in model and timm.is_model_pretrained(model) for model in wanted), name
        tags[name] = wanted
    assert tags["family_a"] | tags["family_b"] == {  # solution, training stage 1
        "regnety_002.pycls_in1k",
        "tf_efficientnet_b5.ns_jft_in1k",
        "convnext_tiny.in12k_ft_in1k",
        "convnext_small.in12k_ft_in1k",
        "caformer_s18.sail_in22k_ft_in1k",
        "pvt_v2_b3.in1k",
    }


@pytest.mark.parametrize(("name", "family"), [("family_a", FAMILY_A), ("family_b", FAMILY_B)])
def test_a_familys_recipe_trains_what_its_notebooks_fix(name, family):
    recipe = SHIPPED[name]
    assert {n.config.description: n.config.max_length for n in recipe.networks} == family.max_length
    assert {detector.point_kind for detector in recipe.detectors} == {family.xy}
    assert {classifier.config.border for classifier in recipe.classifiers} == {family.border}
