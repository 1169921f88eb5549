"""The pointer that reads slice positions: its data, its training, and the way to a bundle and back."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lumbar.bundle.loading import load_bundle
from lumbar.bundle.members import Detector
from lumbar.grading.detection import detect_study, stage1_positions
from lumbar.networks.architecture import stored_fields
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.detector import DetectorNetwork, present_slices
from lumbar.networks.device_choice import choose_device
from lumbar.sites import SAGITTAL_T1
from tests.making.labelled_competition import (
    tiny_detector,
    tiny_recipe,
    training_data_of,
    training_setup,
    write_competition,
)
from tests.making.random_bundle import random_classifier, random_detector, write_random_bundle
from training.data.detector_dataset import join_volumes
from training.fitting.detector_step import pointer_logits
from training.fitting.losses import pointer_loss
from training.fitting.pointer_sequence import sequence_losses, sequence_task
from training.fitting.run_file import first_difference
from training.fitting.train_detector import network_dataset
from training.recipes.augmentation import Appearance, DetectorAugmentation

LOOK = Appearance(curve=0, field=0, coil=0, blur=0, noise=0, drop=1, black=0)
CONFIG = replace(tiny_detector(SAGITTAL_T1), max_length=12, slice_positions=True)
RIGHT, LEFT = -12.0, 12.0  # mm: where the sites of the learnt stacks are


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    root = tmp_path_factory.mktemp("positions")
    return training_setup(training_data_of(write_competition(root / "data", studies=3), root))


@pytest.fixture(scope="module")
def recipe():
    (recipe,) = [r for r in tiny_recipe().networks if r.config.description == SAGITTAL_T1]
    return replace(recipe, config=replace(recipe.config, slice_positions=True), augmentation=None)


def test_a_sample_has_the_positions_of_its_slices(setup, recipe):
    volume = setup.data.cache.volumes("100")[SAGITTAL_T1]
    expected = np.zeros(recipe.config.max_length)
    expected[: len(volume)] = stage1_positions(volume, recipe.config.max_length)
    sample = network_dataset(recipe, ["100"], setup)[0]
    np.testing.assert_array_equal(sample.positions, expected)
    assert np.ptp(expected) > 0 and sample.positions.dtype == torch.float32


def test_a_squeezed_volume_has_squeezed_positions(setup, recipe):
    volume = setup.data.cache.volumes("100")[SAGITTAL_T1]
    whole, length = stage1_positions(volume, len(volume)), len(volume) - 1
    expected = F.interpolate(torch.tensor(whole)[None, None], length, mode="linear", align_corners=False)[
        0, 0
    ]
    np.testing.assert_allclose(stage1_positions(volume, length), expected, atol=1e-5)


@pytest.mark.parametrize("unplaced", [0.0, 1.0])
def test_dropped_slices_take_their_positions_with_them(setup, recipe, unplaced):
    """The gaps that are left are gaps of the stack, and the middle moves with the ends; unplaced ones are 0."""
    augmented = replace(recipe, augmentation=DetectorAugmentation(appearance=LOOK, unplaced=unplaced))
    dataset = network_dataset(augmented, ["100"], setup)
    whole = stage1_positions(setup.data.cache.volumes("100")[SAGITTAL_T1], recipe.config.max_length)
    step, lengths = whole[1] - whole[0], set()
    for dataset.epoch in range(12):
        sample = dataset[0]
        count = int(present_slices(sample.grid[None]).sum())
        found = sample.positions[:count].numpy()
        lengths.add(count)
        assert not sample.positions[count:].any()
        if unplaced:
            assert not found.any()
        else:
            np.testing.assert_allclose(found[0], -found[-1], atol=1e-4)
            gaps = np.diff(found) / step
            np.testing.assert_allclose(gaps, np.rint(gaps), atol=1e-4)
    assert len(lengths) > 1


def even_stacks(network: DetectorNetwork, count: int, random: np.random.Generator) -> list[torch.Tensor]:
    """Return rows of ``feature_rows`` of stacks of equal pictures, each with its own gap between slices.

    A site lies on the slice nearest to its place in mm, so its number from either end is that of the gap.
    """
    length = CONFIG.max_length
    positions = (np.arange(length) - (length - 1) / 2) * random.uniform(3, 8, count)[:, None]
    target = np.zeros((count, 10, length), np.float32)
    for sites, place in ((slice(0, 5), LEFT), (slice(5, 10), RIGHT)):
        target[np.arange(count), sites, np.abs(positions - place).argmin(axis=1)] = 1
    with torch.no_grad():
        picture = network.pointer.encode(torch.full((1, 3, 32, 32), 0.5))
    return [
        picture.expand(count, length, -1),
        torch.ones(count, length, dtype=torch.bool),
        torch.tensor(positions, dtype=torch.float32),
        torch.from_numpy(target),
        torch.ones(count, 10, dtype=torch.bool),
    ]


@pytest.mark.parametrize("reads", [True, False])
def test_only_a_pointer_that_reads_positions_learns_what_they_alone_show(reads):
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    network = DetectorNetwork(replace(CONFIG, slice_positions=reads)).eval()
    optimizer = torch.optim.AdamW(network.pointer.parameters(), lr=1e-2)
    for _ in range(200):
        loss = sequence_losses(network, even_stacks(network, 32, random))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    features, present, positions, target, _ = even_stacks(network, 64, np.random.default_rng(1))
    found = network.pointer.point(features, present, positions).argmax(dim=2)
    right = (found == target.argmax(dim=2)).float().mean()
    assert right > 0.8 if reads else right < 0.6


def test_a_sequence_trained_alone_learns_positions_too(setup, recipe):
    torch.manual_seed(0)
    network = DetectorNetwork(recipe.config).eval()
    torch.nn.init.normal_(network.pointer.position)
    volumes = network_dataset(recipe, ["100", "101"], setup)
    batch = join_volumes([volumes[0], volumes[1]])
    whole = pointer_loss(*pointer_logits(network, batch, present_slices(batch.grid)))
    task = sequence_task(network, volumes, replace(recipe.schedule, batch=2), setup.device, seed=0)
    (rows,) = task["batches"](0)
    loss = task["losses"](rows)["loss"]
    torch.testing.assert_close(loss, whole)
    loss.backward()
    assert network.pointer.position.grad.abs().max() > 0


def test_a_bundle_keeps_the_option_and_positions_change_its_points(setup, tmp_path):
    torch.manual_seed(0)
    parts = {k: v for k, v in stored_fields(CONFIG).items() if k not in ("description", "max_length")}
    build = partial(random_detector, xy="fixed", lengths={SAGITTAL_T1: 12})
    detectors = [build("reads", parts=parts), build("plain", parts=parts | {"slice_positions": False})]
    classifier = random_classifier("level", "test_convnext", "level", "shift")
    bundle = load_bundle(write_random_bundle(tmp_path / "bundle", detectors, [classifier]))
    text = (tmp_path / "bundle" / "weights_manifest.json").read_text()
    assert text.count("slice_positions") == 1  # an option that is off is not written
    assert [d.networks[SAGITTAL_T1].config.slice_positions for d in bundle.detectors] == [True, False]
    runner, volumes = BatchRunner(choose_device("cpu", "fp32")), setup.data.cache.volumes("100")
    nowhere = volumes | {
        SAGITTAL_T1: replace(
            volumes[SAGITTAL_T1],
            headers=tuple(replace(h, position=None) for h in volumes[SAGITTAL_T1].headers),
        )
    }
    known, unknown = (detect_study(bundle.detectors, found, runner) for found in (volumes, nowhere))
    values = [[found[n].points[SAGITTAL_T1].values for found in (known, unknown)] for n in ("reads", "plain")]
    assert not np.allclose(*values[0]) and np.array_equal(*values[1])
    written = detect_study([Detector(d.name, d.xy, d.networks) for d in detectors], volumes, runner)
    np.testing.assert_allclose(written["reads"].points[SAGITTAL_T1].values, values[0][0], atol=1e-6)


def test_a_run_begun_before_an_option_goes_on_without_it():
    before = {"config": {"hidden": 8}}
    assert first_difference(before, {"config": {"hidden": 8, "slice_positions": False}}, "recipe") is None
    assert "slice_positions" in first_difference(
        before, {"config": {"hidden": 8, "slice_positions": True}}, "recipe"
    )
