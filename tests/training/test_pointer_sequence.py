"""A pointer's sequence trained alone: the very gradients of the whole, and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from lumbar.networks.detector import present_slices
from lumbar.sites import SAGITTAL_T1
from tests.making.labelled_competition import tiny_recipe, training_data_of, training_setup, write_competition
from training.data.detector_dataset import join_volumes
from training.data.targets import faded_by_distance
from training.fitting.detector_step import pointer_logits
from training.fitting.imagenet_start import start_detector
from training.fitting.loop import BEST
from training.fitting.losses import pointer_loss
from training.fitting.pointer_sequence import sequence_task
from training.fitting.train_detector import network_dataset, train_network
from training.recipes.augmentation import Appearance, DetectorAugmentation

LEARNING = ("pointer.sequence.", "pointer.head.")


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    root = tmp_path_factory.mktemp("sequence")
    return training_setup(training_data_of(write_competition(root / "data", studies=3), root))


@pytest.fixture(scope="module")
def recipe():
    (recipe,) = [r for r in tiny_recipe().networks if r.config.description == SAGITTAL_T1]
    return replace(recipe, augmentation=None, sequence_alone=True, label_half_mm=2.5)


def test_a_sequence_learns_on_features_what_it_would_learn_on_the_slices(setup, recipe):
    torch.manual_seed(0)
    network = start_detector(recipe.config, None, False).eval()
    volumes = network_dataset(recipe, ["100", "101"], setup)
    batch = join_volumes([volumes[0], volumes[1]])
    whole = pointer_loss(*pointer_logits(network, batch, present_slices(batch.grid)))
    whole.backward()
    expected = {name: p.grad for name, p in network.named_parameters() if name.startswith(LEARNING)}
    network.zero_grad()
    task = sequence_task(network, volumes, replace(recipe.schedule, batch=2), setup.device, seed=0)
    (rows,) = task["batches"](0)
    loss = task["losses"](rows)["loss"]
    torch.testing.assert_close(loss, whole)
    loss.backward()
    learnt = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    torch.testing.assert_close(learnt, expected)


def test_the_recipe_s_labels_fade_by_distance(setup, recipe):
    volumes, key = network_dataset(recipe, ["100"], setup), ("100", SAGITTAL_T1)
    volume = setup.data.cache.volumes("100")[SAGITTAL_T1]
    expected = faded_by_distance(setup.data.targets[key], volume, recipe.label_half_mm).amplitude
    plain = network_dataset(replace(recipe, label_half_mm=None), ["100"], setup)[0].amplitude
    given = volumes[0].amplitude
    np.testing.assert_array_equal(given[:, : len(volume)], expected)
    assert not torch.equal(given, plain) and not given[:, len(volume) :].any()


def test_a_repeated_volume_has_features_of_each_look(setup, recipe):
    look = Appearance(curve=1, field=0.25, coil=1, blur=1, noise=0.05, drop=0, black=0)
    several = replace(recipe, augmentation=DetectorAugmentation(appearance=look), repeat=3)
    network = start_detector(recipe.config, None, False)
    task = sequence_task(
        network, network_dataset(several, ["100"], setup), recipe.schedule, setup.device, seed=0
    )
    features = torch.cat([batch[0] for batch in task["batches"](0)])
    assert len(features) == 3 and len(torch.unique(features, dim=0)) == 3


def test_training_a_sequence_leaves_the_rest_of_the_network(setup, recipe, tmp_path):
    torch.manual_seed(recipe.seed)
    before = start_detector(recipe.config, None, False).state_dict()
    folder = tmp_path / recipe.name / "fold0"
    train_network(recipe, ["100", "101"], ["102"], setup, folder)
    after = safetensors.torch.load_file(folder / BEST)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith(LEARNING) for name in changed)
