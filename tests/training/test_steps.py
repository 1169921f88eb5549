"""A detector's step learns from the recipe's slices and pointer share, and from another network's weights."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from lumbar.networks.detector import DetectorNetwork
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.labelled_competition import (
    tiny_detector,
    tiny_recipe,
    training_data_of,
    training_setup,
    write_competition,
)
from training.data.detector_dataset import join_volumes
from training.data.training_data import check_apart
from training.errors import LabelError
from training.fitting import detector_step as detector_training
from training.fitting.detector_step import PEAKS, detector_losses, epoch_batches
from training.fitting.loop import BEST
from training.fitting.member_starts import start_from
from training.fitting.out_of_fold_points import labelled_points
from training.fitting.train_detector import network_dataset


@pytest.fixture(scope="module")
def training_data(tmp_path_factory):
    root = tmp_path_factory.mktemp("steps")
    return training_data_of(write_competition(root / "data", studies=2), root)


@pytest.fixture(scope="module")
def batch(training_data):
    """Two volumes of sagittal T1: the left foramina's points lie on slice 4, the right ones' on slice 1."""
    (recipe,) = [r for r in tiny_recipe().networks if r.config.description == SAGITTAL_T1]
    dataset = network_dataset(recipe, ["100", "101"], training_setup(training_data))
    return join_volumes([dataset[0], dataset[1]])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return DetectorNetwork(tiny_detector(SAGITTAL_T1)).eval()


def test_peaks_are_the_slices_that_hold_a_point(batch, network, monkeypatch):
    segmenter, seen = network.segmenter.forward, []
    monkeypatch.setattr(network.segmenter, "forward", lambda images: seen.append(images) or segmenter(images))
    detector_losses(network, batch, "own", None, PEAKS)
    volumes = batch.grid
    expected = {volumes[v, z - 1 : z + 2].numpy().tobytes() for v in range(2) for z in (1, 4)}
    assert len(seen[0]) == 4 and {images.numpy().tobytes() for images in seen[0]} == expected  # in any order
    detector_losses(network, batch, "own", None)
    assert len(seen[1]) == int(volumes.flatten(2).any(dim=2).sum()) == 12


@pytest.mark.parametrize(("drawn", "learns"), [(0.24, True), (0.26, False)])
def test_the_pointer_learns_from_its_share_of_the_steps(batch, network, monkeypatch, drawn, learns):
    whole = detector_losses(network, batch, "own", None)
    monkeypatch.setattr(detector_training.torch, "rand", lambda _shape: torch.tensor(drawn))
    losses = detector_losses(network, batch, "own", None, pointer_share=0.25)
    losses["loss"].backward()
    assert losses["segmenter"] == whole["segmenter"]
    assert losses["pointer"] == (4 * whole["pointer"] if learns else 0)
    assert losses["loss"] == (whole["loss"] if learns else whole["segmenter"])
    assert (network.pointer.head.weight.grad is not None) == learns


def test_more_studies_are_learnt_from_where_the_recipe_takes_them(training_data, tmp_path):
    other = training_data_of(write_competition(tmp_path / "more", studies=3, seed=1, first=200), tmp_path)
    check_apart(training_data, other)
    setup, recipe = replace(training_setup(training_data), extra_data=other), tiny_recipe().networks[0]
    assert len(network_dataset(recipe, ["101"], setup)) == 1
    assert (
        len(network_dataset(replace(recipe, extra_studies=True), ["101"], training_setup(training_data))) == 1
    )
    recipe = replace(recipe, extra_studies=True)
    dataset = network_dataset(recipe, ["101"], setup)
    alone = network_dataset(recipe, other.study_ids, training_setup(other))
    batches = epoch_batches(dataset, 4, 0, setup.device, 0, join_volumes)
    for epoch in (0, 1):
        (batch,) = batches(epoch)
        alone.epoch = epoch
        for item in alone:  # augmented for this epoch
            assert (batch.grid == item.grid).flatten(1).all(dim=1).sum() == 1
    with pytest.raises(LabelError, match="--extra-studies: got 2 studies that --data has too"):
        check_apart(training_data, training_data)


def test_another_networks_weights_are_taken_over_where_they_fit(network, tmp_path):
    other = DetectorNetwork(tiny_detector(SAGITTAL_T2))
    (tmp_path / "other").mkdir()
    safetensors.torch.save_model(other, tmp_path / "other" / BEST)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    start_from(network, tmp_path / "other")
    for name, tensor in network.state_dict().items():
        own = name.startswith(("segmenter.head.", "pointer.head."))  # ten classes where the other has five
        assert torch.equal(tensor, before[name] if own else other.state_dict()[name]), name
    with pytest.raises(LabelError, match="train the member that this one starts from"):
        start_from(network, tmp_path / "none")


def test_labelled_points_are_the_labels_on_five_slices(training_data):
    found = labelled_points(training_data.targets, AXIAL_T2, 32)
    assert set(found.studies) == {"100", "101"}
    for study, kinds in found.studies.items():
        truth = training_data.targets[study, AXIAL_T2].points
        for points in kinds.values():
            assert (points.points[:, :, 1:] == np.rint(truth[:, None, 1:])).all()
            assert (points.points[..., 0] == np.rint(truth[:, :1]) + np.arange(-2, 3)).all()
