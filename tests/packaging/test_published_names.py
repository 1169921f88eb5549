"""Checkpoints under the published names come back as the networks that they were written from, to the bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from dataset.importing import borders_of
from dataset.published.files import ClassifierFile
from dataset.published.names import read_name
from dataset.published.networks import import_classifier_network, import_detector_network
from dataset.published.shapes import CheckpointShape, shape_of
from dataset.published.timm_shapes import WeightsOnMeta
from lumbar.faults import BundleError
from lumbar.networks.architecture import DetectorConfig
from lumbar.networks.families import FAMILY_A, FAMILY_B
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.published_files import (
    SMALL_A,
    SMALL_AXIAL_B,
    SMALL_B,
    published_classifier,
    published_detector,
    save,
)
from tests.making.random_bundle import random_classifier, random_network

DETECTORS = {
    "family a": (SAGITTAL_T2, SMALL_A, "a"),
    "family b, sagittal": (SAGITTAL_T1, SMALL_B, "b"),
    "family b, axial": (AXIAL_T2, SMALL_AXIAL_B, "b"),
}


def assert_same(network, read) -> None:
    expected = network.state_dict()
    assert read.state_dict().keys() == expected.keys()
    for key, tensor in read.state_dict().items():
        assert torch.allclose(tensor, expected[key], rtol=0, atol=1e-6), key


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_detector_comes_back(tmp_path, kind):
    """Position vectors are folded with the token type's: their sum is rounded once more."""
    description, parts, family = DETECTORS[kind]
    network = random_network(DetectorConfig(description=description, max_length=6, **parts))
    file = save(tmp_path / "checkpoint.bin", published_detector(network))
    read, recognised = import_detector_network(file, description, 6)
    assert recognised.name == family and read.config == network.config
    assert_same(network, read)


@pytest.mark.parametrize("sequence", ["level", "level_skip", "level_slices"])
def test_a_classifier_comes_back(tmp_path, sequence):
    network = random_classifier("random", "convnext_atto", sequence, "shift").network
    file = save(tmp_path / "checkpoint.pth", published_classifier(network))
    read = import_classifier_network(file, sequence, "shift")
    assert read.config == network.config
    assert_same(network, read)


@pytest.mark.parametrize(
    ("backbone", "border"),
    [
        ("convnext_tiny", "stretch"),
        ("caformer_s18", "stretch"),
        ("pvt_v2_b3", "stretch"),
        ("convnext_small", "shift"),
    ],
)
def test_a_published_backbone_says_its_family_s_border(backbone, border):
    """Whichever families the detectors are of; another backbone takes theirs, if they are of one."""
    with WeightsOnMeta():
        network = timm.create_model(backbone, num_classes=0, in_chans=1)
    tensors = {f"cnn.backbone.{key}": tensor for key, tensor in network.state_dict().items()}
    shape, facts = shape_of(tensors, Path("file")), read_name(Path("file"))
    assert shape.backbone == backbone
    known = ClassifierFile(Path("file"), "file", facts, shape, "level", border=None)
    other = replace(known, shape=CheckpointShape("resnet18", family=None))
    assert borders_of([known, other], {FAMILY_A}, None) == [border, "stretch"]
    assert borders_of([known, replace(other, border="shift")], {FAMILY_A, FAMILY_B}, None) == [
        border,
        "shift",
    ]
    with pytest.raises(BundleError, match="resnet18 is of neither family"):
        borders_of([known, other], {FAMILY_A, FAMILY_B}, None)
