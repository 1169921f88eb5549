"""A pointer's sequence trained alone: the very gradients of the whole, from phantoms that are drawn and forgotten."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from lumbar.detector import present_slices
from lumbar.phantom import write_phantoms
from lumbar.sites import AXIAL_T2, SAGITTAL_T1
from tests.labelled_competition import materials_of, tiny_recipe, workshop, write_competition
from training import drawn_phantoms, sequence_training
from training.detector_data import join_volumes
from training.detector_training import pointer_logits
from training.drawn_phantoms import SEED, draw_volume
from training.loop import BEST
from training.losses import pointer_loss
from training.pretrained import start_detector
from training.sequence_training import sequence_dataset, sequence_losses
from training.stage1 import network_dataset, train_network

LEARNING = ("pointer.sequence.", "pointer.head.")


@pytest.fixture(scope="module")
def materials(tmp_path_factory):
    root = tmp_path_factory.mktemp("sequence")
    return materials_of(write_competition(root / "data", studies=3), root)


@pytest.fixture(scope="module")
def recipe():
    (recipe,) = [r for r in tiny_recipe().networks if r.config.description == SAGITTAL_T1]
    return replace(recipe, augmentation=None, drawn=5)


@pytest.fixture
def drawn(materials, monkeypatch):
    """Study 102 in place of every phantom; returns the numbers of those that were drawn."""
    numbers = []

    def volumes(description, some, workers):
        numbers.extend(some)
        for _ in some:
            yield materials.cache.volumes("102")[description], materials.targets["102", description]

    monkeypatch.setattr(sequence_training, "drawn_volumes", volumes)
    monkeypatch.setattr(sequence_training, "CHUNK", 2)
    return numbers


def test_a_drawn_volume_is_that_of_the_phantom_written_and_read(tmp_path):
    write_phantoms(tmp_path / "data", 1, SEED, axial_series=drawn_phantoms.AXIAL_SERIES)
    materials = materials_of(tmp_path / "data", tmp_path)
    (study,) = materials.study_ids
    expected, target = materials.cache.volumes(study)[AXIAL_T2], materials.targets[study, AXIAL_T2]
    volume, drawn_target = draw_volume(0, AXIAL_T2)
    assert expected.series_count >= 2
    np.testing.assert_array_equal(volume.grid256, expected.grid256)
    assert [h.position for h in volume.headers] == [h.position for h in expected.headers]
    np.testing.assert_array_equal(drawn_target.points, target.points)
    np.testing.assert_array_equal(drawn_target.amplitude, target.amplitude)


def test_a_sequence_learns_on_features_what_it_would_learn_on_the_slices(materials, recipe, drawn, tmp_path):
    shop = workshop(materials)
    torch.manual_seed(0)
    network = start_detector(recipe.config, None, False).eval()
    own = network_dataset(recipe, ["100", "101"], shop)
    batch = join_volumes([own[0], own[1]])
    whole = pointer_loss(*pointer_logits(network, batch, present_slices(batch.grid)))
    whole.backward()
    expected = {name: p.grad for name, p in network.named_parameters() if name.startswith(LEARNING)}
    network.zero_grad()
    dataset = sequence_dataset(recipe, network, own, shop.device, 1, tmp_path)
    assert len(dataset) == 2 + recipe.drawn
    rows = [torch.stack(column) for column in zip(dataset[0], dataset[1], strict=True)]
    loss = sequence_losses(network, rows)["loss"]
    torch.testing.assert_close(loss, whole)
    loss.backward()
    learnt = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    torch.testing.assert_close(learnt, expected)


def test_what_is_drawn_already_is_not_drawn_again(materials, recipe, drawn, tmp_path):
    shop = workshop(materials)
    network = start_detector(recipe.config, None, False)
    own = network_dataset(recipe, ["100"], shop)
    first = sequence_dataset(recipe, network, own, shop.device, 1, tmp_path)
    assert drawn == [0, 1, 2, 3, 4]
    (tmp_path / "phantoms-00002.safetensors").unlink()
    again = sequence_dataset(recipe, network, own, shop.device, 1, tmp_path)
    assert drawn[5:] == [2, 3]
    for one, other in zip(first, again, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_training_a_sequence_leaves_the_rest_of_the_network(materials, recipe, drawn, tmp_path):
    torch.manual_seed(recipe.seed)
    before = start_detector(recipe.config, None, False).state_dict()
    folder = tmp_path / recipe.name / "fold0"
    train_network(recipe, ["100"], ["101"], workshop(materials), folder)
    after = safetensors.torch.load_file(folder / BEST)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith(LEARNING) for name in changed)
    assert not (folder / "features").exists()
