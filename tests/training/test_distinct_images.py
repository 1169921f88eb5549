"""The shortcuts of a training give the results of the long way."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lumbar.networks.architecture import SEQUENCES, ClassifierConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.device_choice import choose_device
from lumbar.sites import SAGITTAL_T2
from tests.making.labelled_competition import tiny_detector
from training.fitting.classifier_step import freeze_features, study_logits
from training.fitting.distinct_images import image_features


@pytest.mark.parametrize("zero", [(), (0, 3, 4), range(6)], ids=["none", "some", "all"])
@pytest.mark.parametrize("stage", ["pointer", "classifier"])
def test_zero_images_go_once_and_count_each(stage, zero):
    torch.manual_seed(0)
    if stage == "pointer":
        network = DetectorNetwork(tiny_detector(SAGITTAL_T2)).pointer.double().eval()
        encode, images = network.encode, torch.rand(6, 3, 64, 64).double()
    else:
        config = ClassifierConfig("test_byobnet", "level", "shift", (0.0, 0.0, 0.0))
        network = ClassifierNetwork(config).double().eval()
        encode, images = network.features, torch.rand(6, 1, 64, 64).double()
    images[list(zero)] = 0
    parameters = list(network.parameters())
    for parameter in parameters:
        if parameter.ndim == 1:  # fresh norms have no bias: a zero image would stay zero
            torch.nn.init.uniform_(parameter, 0.1, 1)
    passed = []

    def watched(distinct):
        passed.append(len(distinct))
        return encode(distinct)

    short, plain = image_features(watched, images), encode(images)
    assert passed == [6 - max(0, len(zero) - 1)]
    torch.testing.assert_close(short, plain, rtol=1e-9, atol=1e-12)
    factors = torch.rand_like(plain)  # each image pulls its own way
    gradients = [
        torch.autograd.grad((y * factors).sum(), parameters, allow_unused=True) for y in (short, plain)
    ]
    assert any(g is not None and g.any() for g in gradients[0])
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_heads_on_frozen_features_are_the_whole_network(sequence):
    torch.manual_seed(0)
    network = ClassifierNetwork(ClassifierConfig("test_byobnet", sequence, "shift", (0.2, 0.2, 0.2))).eval()
    studies = [(crops, None, 1.0) for crops in torch.rand(3, 25, 5, 32, 32)]
    studies[0][0][5:] = 0
    studies[2][0][:] = 0
    groups = np.array([[True, False, False, False, False], [True] * 5, [False] * 5])
    device = choose_device("cpu", "fp32")
    frozen = freeze_features(network, LabelledCrops(studies, torch.zeros(3, 25), groups), device)
    assert frozen.sites.shape == (3, 25, network.heads[0][1].in_features)
    with torch.inference_mode():
        whole = study_logits(network, torch.stack([crops for crops, *_ in studies]), groups)
        sites = np.repeat(groups, 5, axis=1)
        torch.testing.assert_close(network.head_logits(frozen.sites)[sites], whole[sites])
        assert network.head_logits(frozen.sites).isfinite().all()


@dataclass(frozen=True)
class LabelledCrops:
    """A data set of crops made in a test."""

    studies: list
    labels: torch.Tensor
    held: np.ndarray

    def groups(self, index: int) -> np.ndarray:
        return self.held[index]

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, index: int) -> tuple:
        return self.studies[index]
