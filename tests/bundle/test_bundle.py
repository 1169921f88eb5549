"""A bundle comes back as it was written, and everything that is wrong with one has its own message."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from lumbar.bundle.loading import load_bundle
from lumbar.bundle.manifest import MANIFEST
from lumbar.bundle.writing import write_bundle
from lumbar.faults import BundleError
from tests.making.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def bundle(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


def edit(bundle: Path, change) -> None:
    """Change the manifest's dictionary in place."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    change(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def first_network(manifest: dict) -> dict:
    return manifest["detectors"][0]["networks"]["Sagittal T1"]


def rewrite_weights(bundle: Path, change) -> None:
    """Change a classifier's tensors and make the manifest agree with the new file."""
    tensors = safetensors.torch.load_file(bundle / "weights/level.safetensors")
    change(tensors)
    safetensors.torch.save_file(tensors, bundle / "weights/level.safetensors")
    raw = (bundle / "weights/level.safetensors").read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    edit(bundle, lambda m: m["classifiers"][0].update(sha256=digest, bytes=len(raw)))


def test_a_bundle_comes_back_to_the_bit(pristine, tmp_path):
    first = replace(load_bundle(pristine), attribution=("Spines by A, CC BY 4.0",))
    write_bundle(first, tmp_path, figures={"level": {"score": 0.5}})
    second = load_bundle(tmp_path)
    assert second.attribution == first.attribution
    assert [m.name for m in second.classifiers] == ["level"]
    assert np.allclose(second.prior, first.prior)
    for a, b in zip(first.detectors[0].networks.values(), second.detectors[0].networks.values(), strict=True):
        assert a.config == b.config
        for key, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[key])
    assert json.loads((tmp_path / MANIFEST).read_text())["classifiers"][0]["figures"] == {"score": 0.5}


def test_detectors_may_share_a_network(pristine, tmp_path):
    first = load_bundle(pristine)
    twin = type(first.detectors[0])("twin", "fixed", first.detectors[0].networks, 3.0, joint_levels=True)
    write_bundle(type(first)(first.name, "", (*first.detectors, twin), (), first.prior, ""), tmp_path)
    assert len(list((tmp_path / "weights").iterdir())) == 3
    loaded = load_bundle(tmp_path).detectors
    assert [detector.sagittal_prior_mm for detector in loaded] == [None, 3.0]
    assert [detector.joint_levels for detector in loaded] == [False, True]
    entries = json.loads((tmp_path / MANIFEST).read_text())["detectors"]
    for option in ("sagittal_prior_mm", "joint_levels"):
        assert [option in entry for entry in entries] == [False, True]
    assert all(loaded[0].networks[d] is loaded[1].networks[d] for d in loaded[0].networks)


MANIFEST_FAULTS = {
    "unknown field": (lambda m: m.update(extra=1), "unknown field"),
    "prior of no width": (lambda m: m["detectors"][0].update(sagittal_prior_mm=0), "got sagittal_prior_mm 0"),
    "prior in words": (
        lambda m: m["detectors"][0].update(sagittal_prior_mm="3"),
        "got sagittal_prior_mm '3'",
    ),
    "levels chosen by a word": (
        lambda m: m["detectors"][0].update(joint_levels="yes"),
        "got joint_levels 'yes', expected true or false",
    ),
    "missing field": (lambda m: m.pop("prior"), "missing field"),
    "other format": (lambda m: m.update(format=2), "format 2"),
    "unknown field of a configuration": (
        lambda m: first_network(m)["config"].update(depth=3),
        "unknown field",
    ),
    "missing field of a configuration": (
        lambda m: first_network(m)["config"].pop("pointer"),
        "missing field",
    ),
    "unknown encoder": (lambda m: first_network(m)["config"].update(encoder="nonsense"), "can't be built"),
    "unknown pointer": (lambda m: first_network(m)["config"].update(pointer="gru"), "can't be built"),
    "unknown point kind": (lambda m: m["detectors"][0].update(xy="both"), "xy 'both'"),
    "missing weight": (lambda m: m["classifiers"][0].pop("weight"), "missing field"),
    "weight of zero": (lambda m: m["classifiers"][0].update(weight=0), "weight 0"),
    "window of no size": (
        lambda m: m["classifiers"][0]["config"].update(window_mm=0),
        "window_mm: got 0, expected a number above 0.*correct the manifest",
    ),
    "unknown border": (lambda m: m["classifiers"][0]["config"].update(border="wrap"), "border: got 'wrap'"),
    "missing file": (lambda m: first_network(m).update(file="weights/none.safetensors"), "is missing"),
    "wrong hash": (lambda m: first_network(m).update(sha256="0" * 64), "expected"),
    "wrong size": (lambda m: first_network(m).update(bytes=1), "expected 1"),
    "path upwards": (lambda m: first_network(m).update(file="../level.safetensors"), "inside the bundle"),
    "absolute path": (lambda m: first_network(m).update(file="/etc/passwd"), "inside the bundle"),
    "prior of another shape": (lambda m: m.update(prior=[[1, 0, 0]]), "prior"),
    "prior that sums to 2": (lambda m: m.update(prior=[[1, 0.5, 0.5]] * 25), "prior"),
    "attribution that is no list": (lambda m: m.update(attribution="Spines by A"), "attribution"),
    "attribution without words": (lambda m: m.update(attribution=[" "]), "attribution"),
    "no detector": (lambda m: m.update(detectors=[]), "no detector"),
    "a name twice": (lambda m: m["classifiers"].append(m["classifiers"][0]), "each name once"),
    "another description": (
        lambda m: m["detectors"][0]["networks"].update({"Axial T2": first_network(m)}),
        "its own description",
    ),
}


@pytest.mark.parametrize("name", MANIFEST_FAULTS)
def test_a_fault_in_the_manifest_is_named(bundle, name):
    change, message = MANIFEST_FAULTS[name]
    edit(bundle, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle)


TENSOR_FAULTS = {
    "a key too few": (lambda t: t.pop("heads.0.1.bias"), r"Missing keys: \['heads.0.1.bias'\]"),
    "a key too many": (lambda t: t.update(extra=torch.zeros(1)), r"keys too many: \['extra'\]"),
    "another shape": (lambda t: t.update({"heads.0.1.bias": torch.zeros(4)}), "shape"),
    "not finite": (lambda t: t["heads.0.1.bias"].fill_(float("nan")), "NaN"),
}


@pytest.mark.parametrize("name", TENSOR_FAULTS)
def test_a_fault_in_the_weights_is_named(bundle, name):
    change, message = TENSOR_FAULTS[name]
    rewrite_weights(bundle, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle)


def test_a_damaged_file_a_link_and_a_foreign_manifest_are_named(bundle, tmp_path):
    weights = bundle / "weights/level.safetensors"
    raw = weights.read_bytes()
    weights.write_bytes(raw[:-1] + b"x")
    digest = hashlib.sha256(raw[:-1] + b"x").hexdigest()[:12]
    with pytest.raises(BundleError, match=f"SHA-256 {digest}.*damaged"):
        load_bundle(bundle)
    weights.write_bytes(raw[:-1])  # of another size: nothing was hashed, so no hash is named
    with pytest.raises(
        BundleError, match=f"has {len(raw) - 1} bytes, expected {len(raw)}; .*damaged"
    ) as error:
        load_bundle(bundle)
    assert "SHA-256" not in str(error.value)
    (tmp_path / "elsewhere").write_bytes(raw)
    weights.unlink()
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="no link"):
        load_bundle(bundle)
    (bundle / MANIFEST).write_text("{")
    with pytest.raises(BundleError, match="not JSON"):
        load_bundle(bundle)
    with pytest.raises(BundleError, match="no such file"):
        load_bundle(tmp_path / "nowhere")


def test_half_rounds_and_without_it_only_exact_tensors_are_narrowed(pristine, tmp_path):
    """A bundle that was rounded once is written in half of the bytes ever after, and does not change."""
    first = load_bundle(pristine)
    network, key = first.classifiers[0].network, "pool.hidden.weight"
    half = write_bundle(first, tmp_path / "half", half=True).parent
    again = write_bundle(load_bundle(half), tmp_path / "again").parent
    file = "weights/level.safetensors"
    assert (again / file).read_bytes() == (half / file).read_bytes()
    tensors = {folder: safetensors.torch.load_file(folder / file) for folder in (pristine, half)}
    assert tensors[pristine][key].dtype == torch.float32 and tensors[half][key].dtype == torch.float16
    assert torch.equal(tensors[half][key], network.state_dict()[key].half())
    assert torch.equal(tensors[pristine][key], network.state_dict()[key])
    sizes = [(folder / file).stat().st_size for folder in (half, pristine)]
    assert 1.7 < sizes[1] / sizes[0] < 2.1


def test_weights_beyond_float16_are_kept_and_refused_with_half(pristine, tmp_path):
    bundle = load_bundle(pristine)
    bias = bundle.classifiers[0].network.heads[0][1].bias
    with torch.no_grad():
        bias.fill_(1e5)
    write_bundle(bundle, tmp_path / "whole")
    read = load_bundle(tmp_path / "whole").classifiers[0].network.heads[0][1].bias
    assert torch.equal(read, bias)
    with pytest.raises(BundleError, match=r"level: heads\.0\.1\.bias: got a weight of 100000, .* 65504"):
        write_bundle(bundle, tmp_path / "half", half=True)
    with torch.no_grad():
        bias.fill_(float("nan"))
    with pytest.raises(BundleError, match="NaN"):
        write_bundle(bundle, tmp_path / "nan")


def test_writing_again_removes_the_weights_of_members_that_are_gone(bundle, tmp_path):
    first = load_bundle(bundle)
    renamed = replace(first, classifiers=(replace(first.classifiers[0], name="renamed"),))
    (bundle / "weights/mine.safetensors").write_bytes(b"no member's")
    (tmp_path / "outside.safetensors").write_bytes(b"x")
    edit(bundle, lambda m: m["detectors"].append(m["detectors"][0] | {"name": "old", "networks": {
        "Axial T2": first_network(m) | {"file": "../outside.safetensors"}}}))  # fmt: skip
    write_bundle(renamed, bundle)
    left = {path.name for path in (bundle / "weights").iterdir()}
    assert "level.safetensors" not in left and {"renamed.safetensors", "mine.safetensors"} < left
    assert (tmp_path / "outside.safetensors").exists()
    assert [member.name for member in load_bundle(bundle).classifiers] == ["renamed"]
    (bundle / MANIFEST).write_text("{}")  # nobody's: nothing is known of what lies there
    write_bundle(first, bundle)
    assert (bundle / "weights/renamed.safetensors").exists()
