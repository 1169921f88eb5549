"""The plain reference reproduces the results of the authors' notebooks (golden data, where it is at hand)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SITES
from tests.reference import reference
from tests.reference.reference_bundle import load_published
from tests.reference.reference_networks import build_classifier, build_detector

GOLDEN = Path(__file__).resolve().parents[2] / "../shared/golden"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared/golden is not at hand")

FAMILY_A = {
    "encoder": "regnety_002",
    "feature_levels": 5,
    "decoder_channels": (256, 128, 64, 32, 16),
    "pointer_encoder": "regnety_002",
    "pointer": "lstm",
    "hidden": 256,
    "max_length": 32,
}
DETECTORS = {
    "family_a/sagittal_t1": (SAGITTAL_T1, FAMILY_A),
    "family_b/sagittal_t1": (
        SAGITTAL_T1,
        FAMILY_A
        | {"encoder": "tf_efficientnet_b0", "feature_levels": 4, "decoder_channels": (256, 128, 64, 32)}
        | {"max_length": 38},
    ),
    "family_b/axial_t2": (AXIAL_T2, FAMILY_A | {"pointer": "transformer", "max_length": 192}),
}
MARGIN = 1e-4  # a point is compared where its value beats the next best voxel's by more


def published_state(name: str) -> dict[str, torch.Tensor]:
    state = load_file(GOLDEN / f"{name}.safetensors")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def grid256(description: str, length: int) -> torch.Tensor:
    folders = reference.study_folders(GOLDEN / "study", "4100")
    return reference.squeeze(reference.read_volume(folders[description], description, 256), length)


def assert_same_picture(grid: torch.Tensor, expected: np.ndarray) -> None:
    """Within one grey level on 99.9% of the pixels; slices beyond the volume are zero."""
    padded = np.zeros(expected.shape)
    padded[: len(grid)] = np.rint(grid.numpy()[: len(expected)] * 255)
    assert (np.abs(padded - expected) <= 1).mean() >= 0.999


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n.startswith("family_b") else n for n in DETECTORS]
)
def test_detector_gives_what_the_notebooks_give(name):
    description, config = DETECTORS[name]
    golden = np.load(GOLDEN / f"{name}.npz")
    network = load_published(build_detector(config, classes=10), published_state(name))
    grid = grid256(description, config["max_length"])
    assert_same_picture(grid, golden["input"])
    slices, present = reference.network_input(grid, config["max_length"])
    computed = len(grid) + 3  # the other padded slices show the same zeros
    with torch.inference_mode():
        pointer = network.pointer(slices, present).T
        segmenter = network.segmenter(slices[:computed]).transpose(0, 1)
        heatmap = reference.to_heatmap(segmenter, pointer[:, :computed], present[:computed])
    assert np.abs(pointer.numpy() - golden["pointer_logits"]).max() < 1e-3
    sampled = golden["sample_index"][:, 1] < computed
    at = tuple(golden["sample_index"][sampled].T)
    assert np.abs(segmenter.numpy()[at] - golden["sample_segmenter_logit"][sampled]).max() < 1e-3
    assert np.abs(heatmap.numpy()[at] - golden["sample_heatmap"][sampled]).max() < 1e-3
    assert not golden["sample_heatmap"][~sampled].any()
    points = reference.find_points(heatmap, len(grid), "fixed")
    clear = reference.margins(heatmap, points, len(grid), "fixed")[:, 2] > MARGIN
    assert clear.sum() >= 6
    np.testing.assert_array_equal(points[clear, 2], golden["points"][clear])
    if "value_at_point" in golden:
        value = heatmap.numpy()[(np.arange(10), *golden["points"].T)]
        assert np.abs(value - golden["value_at_point"]).max() < 1e-3


@pytest.mark.parametrize(
    ("key", "description", "length"), [("sagittal_t2", SAGITTAL_T2, 32), ("axial_t2", AXIAL_T2, 64)]
)
def test_volumes_are_the_notebooks(key, description, length):
    assert_same_picture(grid256(description, length), np.load(GOLDEN / "family_a/inputs.npz")[key])


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    """Crops (25, 5, 128, 128) at the golden points, on volumes squeezed as family A does."""
    lengths = {SAGITTAL_T2: 32, SAGITTAL_T1: 32, AXIAL_T2: 64}
    folders = reference.study_folders(GOLDEN / "study", "4100")
    grids = {d: reference.squeeze(reference.read_volume(folders[d], d, 512), lengths[d]) for d in lengths}
    points = np.load(GOLDEN / "classifier/expected.npz")["points"]
    stacks = [[(z + offset, y, x) for offset in reference.OFFSETS] for z, y, x in points]
    return torch.stack(
        [reference.crop(grids[site.description], np.array(stacks[site.index]), "stretch") for site in SITES]
    )


def test_stretched_crops_are_the_notebooks(crops):
    expected = np.load(GOLDEN / "classifier/expected.npz")["crops_stretch"].astype(np.float32)
    assert np.quantile(np.abs(crops.numpy() - expected), 0.999) < 2 / 255


@pytest.mark.parametrize("sequence", ["level", "level_skip", "level_slices"])
def test_classifier_gives_what_the_notebooks_give(crops, sequence):
    config = {
        "backbone": "convnext_atto",
        "sequence": sequence,
        "border": "stretch",
        "dropout": (0.2, 0.2, 0.2),
    }
    network = load_published(build_classifier(config), published_state("classifier/classifier"))
    with torch.inference_mode():
        probabilities = network(crops).softmax(dim=1).numpy()
    expected = np.load(GOLDEN / "classifier/expected.npz")[f"probabilities_{sequence}"]
    assert np.abs(probabilities - expected).max() < 1e-3
