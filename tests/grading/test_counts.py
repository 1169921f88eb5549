"""The savings of the exact short cuts: slices that are never segmented, images that are graded once."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lumbar.bundle.members import Classifier
from lumbar.grading.crops import extract_windows
from lumbar.grading.ensemble import classify, distinct_images
from lumbar.grading.point_search import find_points
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.detector import neighbours, present_slices
from lumbar.networks.device_choice import choose_device
from lumbar.networks.heatmap import logits_to_heatmap
from lumbar.sites import SAGITTAL_T1
from tests.grading.test_parity import FIVE_LEVELS, LSTM
from tests.making.heatmap_points import heatmap_to_points
from tests.making.random_bundle import pictures, random_classifier, random_detector

SLICES, LENGTH = 12, 16


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    detector = random_detector("one", "fixed", {SAGITTAL_T1: LENGTH}, FIVE_LEVELS | LSTM)
    return detector.networks[SAGITTAL_T1]


@pytest.fixture(scope="module")
def grid() -> torch.Tensor:
    """Return (SLICES, 256, 256); the fourth slice is black."""
    grid = pictures(SLICES // 4, 256).flatten(0, 1)
    grid[3] = 0
    return grid


def peaked(network, images: torch.Tensor, present: torch.Tensor, factor: float) -> None:
    """Make the pointer as sure of one slice a class as a trained one is: 1/2 there, next to nothing elsewhere."""
    with torch.inference_mode():
        network.pointer.head.weight.mul_(factor)
        logits = network.pointer(images, present)[0]
        network.pointer.head.bias.sub_(logits[:, present[0]].amax(dim=1))


@pytest.mark.parametrize("factor", [1.0, 100.0])
@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_only_necessary_slices_are_segmented(network, grid, kind, factor):
    """A slice is necessary if its pointer probability reaches some class's peak; for a dynamic detector
    also if a crop needs its place. A black slice never is. A dynamic detector may look at the crop around a slice
    that could have won and lost, too, and at nothing else."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    padded = torch.cat([grid, torch.zeros(LENGTH - SLICES, 256, 256)])
    if factor > 1:
        peaked(network, neighbours(padded[None]), present_slices(padded[None]), factor)
    with torch.inference_mode():
        segmenter, pointer = (logits[0] for logits in network(padded[None]))
    present = padded.flatten(1).any(dim=1)
    heatmap = logits_to_heatmap(segmenter, pointer, present)
    points, values = heatmap_to_points(heatmap, SLICES, kind)
    found = find_points(network, grid, {kind}, BatchRunner(choose_device("cpu", "fp32")))[kind]
    network.load_state_dict(before)

    bound, peak = pointer.sigmoid() * present, heatmap.flatten(1).amax(dim=1)
    necessary = (bound > peak[:, None]).any(dim=0)
    necessary[torch.tensor(points[:, 2, 0])] = True
    around = F.max_pool1d(necessary[None].float(), 5, 1, 2)[0] > 0  # the crops of all that could win
    if kind == "dynamic":
        necessary[torch.tensor(points[..., 0]).clamp(0, SLICES - 1).flatten()] = True
    needed = int((necessary & present).sum())
    assert needed <= found.segmented <= int((around & present).sum())
    assert found.segmented < SLICES
    if kind == "fixed":
        assert found.segmented == needed
    if factor > 1 and kind == "fixed":
        assert found.segmented == len(set(points[:, 2, 0]))
    np.testing.assert_array_equal(found.points[:, 2, 0], points[:, 2, 0])
    np.testing.assert_allclose(found.values, values, atol=1e-5)


def test_windows_seen_alike_are_one_image():
    """Sites of one point, repeated end slices and missing volumes cost one pass each."""
    grid512 = np.random.default_rng(0).random((6, 512, 512), dtype=np.float32)
    point = [(z, 100, 90) for z in (-2, -1, 0, 1, 2)]
    windows = extract_windows(grid512, np.array([point] * 10), "shift")
    windows = np.concatenate([windows, np.zeros((15, 5, 64, 64), np.float32)])
    images, index = distinct_images(windows)
    assert len(images) == 4  # slices 0, 1, 2 and black
    np.testing.assert_array_equal(images[index].reshape(windows.shape), windows)


def test_sharing_images_changes_no_answer():
    """Two detectors with the same crops cost the backbone nothing more, and get the same grades."""
    torch.manual_seed(0)
    classifier: Classifier = random_classifier("one", "test_byobnet", "level", "shift", factor=20)
    seen = []
    backbone = classifier.network.features
    classifier.network.features = lambda images: seen.append(len(images)) or backbone(images)
    windows = np.random.default_rng(0).random((25, 5, 64, 64), dtype=np.float32)
    runner = BatchRunner(choose_device("cpu", "fp32"))
    alone = classify(classifier, windows[None], runner)
    both = classify(classifier, np.stack([windows, windows]), runner)
    assert seen and sum(seen) == 2 * 125
    np.testing.assert_allclose(both[0], alone[0], atol=1e-6)
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)  # rows of one product may round apart
