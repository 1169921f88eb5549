"""A member that can't be built or read here is left out where that is requested; a wrong bundle never loads."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import infer
from lumbar.bundle.loading import load_bundle
from lumbar.bundle.manifest import MANIFEST
from lumbar.faults import BundleError, MemberError
from lumbar.outputs.submission import read_submission
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, DESCRIPTIONS
from tests.making.random_bundle import random_classifier, random_detector, write_random_bundle
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import NETWORK


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """Two detectors and two classifiers."""
    torch.manual_seed(0)
    detectors = [random_detector(name, "fixed", dict.fromkeys(DESCRIPTIONS, 6), NETWORK) for name in "ab"]
    classifiers = [
        random_classifier(name, "test_convnext", "level", "shift", factor=20) for name in ("c", "d")
    ]
    return write_random_bundle(tmp_path_factory.mktemp("pristine"), detectors, classifiers)


@pytest.fixture
def bundle(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


def network_of(manifest: dict) -> dict:
    return manifest["detectors"][1]["networks"][AXIAL_T2]


def classifier_of(manifest: dict) -> dict:
    return manifest["classifiers"][1]


def edited(change):
    """Return a harm of the bundle's manifest."""

    def harm(bundle: Path, member) -> None:
        manifest = json.loads((bundle / MANIFEST).read_text())
        change(bundle, member(manifest))
        (bundle / MANIFEST).write_text(json.dumps(manifest))

    return harm


def configured(**values):
    """Return a harm of a member's configuration; only the fields that the member has are changed."""

    def change(bundle: Path, entry: dict) -> None:
        entry["config"].update({key: value for key, value in values.items() if key in entry["config"]})

    return edited(change)


def rewritten(content):
    """Return a harm of a member's file that the manifest agrees with: ``content`` of its tensors, as bytes."""

    def change(bundle: Path, entry: dict) -> None:
        raw = content(safetensors.torch.load_file(bundle / entry["file"]))
        (bundle / entry["file"]).write_bytes(raw)
        entry.update(bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest())

    return edited(change)


def not_finite(tensors: dict) -> bytes:
    first = next(key for key, tensor in tensors.items() if tensor.is_floating_point())
    return safetensors.torch.save(tensors | {first: torch.full_like(tensors[first], float("nan"))})


def renamed(tensors: dict) -> bytes:
    first = sorted(tensors)[0]
    return safetensors.torch.save(
        {f"{key}.renamed" if key == first else key: t for key, t in tensors.items()}
    )


NOT_HERE = {  # these cost one member
    "a backbone that this timm lacks": (
        configured(backbone="of_nobody", encoder="of_nobody"),
        "can't be built",
    ),
    "a backbone that is built differently": (
        configured(backbone="test_byobnet", encoder="test_resnet"),
        "do not fit the architecture",
    ),
    "other keys": (rewritten(renamed), "Missing keys"),
    "NaN": (rewritten(not_finite), "NaN or Inf"),
    "no safetensors": (rewritten(lambda tensors: b"GIF89a"), "not a safetensors file"),
    "no file": (edited(lambda bundle, entry: (bundle / entry["file"]).unlink()), "is missing"),
}
WRONG = {  # these cost the bundle
    "another hash": edited(lambda bundle, entry: entry.update(sha256="0" * 64)),
    "another size": edited(lambda bundle, entry: entry.update(bytes=1)),
    "a path upwards": edited(lambda bundle, entry: entry.update(file="../x.safetensors")),
    "an absolute path": edited(lambda bundle, entry: entry.update(file="/etc/passwd")),
    "an unknown field": edited(lambda bundle, entry: entry.update(extra=1)),
    "a hub's backbone": configured(backbone="hf-hub:x", encoder="hf-hub:x"),
}
MEMBERS = {"classifier 'd'": classifier_of, f"detector 'b', {AXIAL_T2}": network_of}


def to_a_link(bundle: Path, entry: dict) -> None:
    path = bundle / entry["file"]
    path.rename(bundle.parent / path.name)
    path.symlink_to(bundle.parent / path.name)


WRONG["a link"] = edited(to_a_link)


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("name", NOT_HERE)
def test_one_member_is_left_out_and_named(bundle, name, member):
    harm, why = NOT_HERE[name]
    harm(bundle, MEMBERS[member])
    with pytest.raises(MemberError, match=why):
        load_bundle(bundle)
    loaded = load_bundle(bundle, strict=False)
    (left_out,) = loaded.left_out
    assert left_out.member == member and why in left_out.message
    assert [one.name for one in loaded.classifiers] == (["c"] if "classifier" in member else ["c", "d"])
    lacking = {AXIAL_T2} if "detector" in member else set()
    assert [set(one.networks) for one in loaded.detectors] == [set(DESCRIPTIONS), set(DESCRIPTIONS) - lacking]


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_bundle_is_refused_even_so(bundle, name, member):
    WRONG[name](bundle, MEMBERS[member])
    with pytest.raises(BundleError) as raised:
        load_bundle(bundle, strict=False)
    assert not isinstance(raised.value, MemberError)


def test_a_file_that_fails_to_be_read_costs_its_member(bundle, monkeypatch):
    file = json.loads((bundle / MANIFEST).read_text())["classifiers"][1]["file"]
    read_bytes = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path == bundle / file:
            raise OSError(5, "Input/output error", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    (left_out,) = load_bundle(bundle, strict=False).left_out
    assert left_out.member == "classifier 'd'" and "Input/output error" in left_out.message


@pytest.mark.parametrize("kind", ["classifier", "detector"])
def test_without_any_classifier_or_detector_the_bundle_is_refused(bundle, kind):
    manifest = json.loads((bundle / MANIFEST).read_text())
    for entry in manifest["classifiers"]:
        entry["config"]["backbone"] = "of_nobody" if kind == "classifier" else entry["config"]["backbone"]
    for entry in manifest["detectors"]:
        for network in entry["networks"].values():
            network["config"]["encoder"] = "of_nobody" if kind == "detector" else network["config"]["encoder"]
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=f"no {kind} can be used here; .*of_nobody"):
        load_bundle(bundle, strict=False)


def run(data: Path, bundle: Path, out: Path) -> tuple[int, dict, np.ndarray]:
    """Run the kernel; return its status, run.json and the rows by study, (3, 25, 3)."""
    flags = {"--data": data, "--bundle": bundle, "--out": out / "s.csv", "--report": out / "report"}
    flags |= {"--device": "cpu", "--precision": "fp32", "--workers": 1, "--max-fallback-share": 1}
    status = infer.main([str(part) for flag in flags.items() for part in flag])
    return (
        status,
        json.loads((out / "run.json").read_text()),
        read_submission(out / "s.csv")[1].reshape(3, 25, 3),
    )


@pytest.mark.slow
def test_the_others_grade_and_the_run_says_which_is_missing(pristine, bundle, tmp_path, capsys):
    """The rows are those of a bundle without the member."""
    data = write_studies(tmp_path / "data")
    for change in (
        lambda m: classifier_of(m)["config"].update(backbone="of_nobody"),
        lambda m: network_of(m)["config"].update(encoder="of_nobody"),
    ):
        manifest = json.loads((bundle / MANIFEST).read_text())
        change(manifest)
        (bundle / MANIFEST).write_text(json.dumps(manifest))
    status, about, rows = run(data, bundle, tmp_path / "harmed")
    assert status == 3
    said = capsys.readouterr().out
    assert (
        f"left out, can't be used here (run.json has the reasons): detector 'b', {AXIAL_T2}; classifier 'd'"
        in said
    )
    assert "2 detectors x 1 classifiers" in said and "graded by fewer" not in said
    assert [one["member"] for one in about["left_out"]] == [f"detector 'b', {AXIAL_T2}", "classifier 'd'"]
    assert all("of_nobody" in one["message"] for one in about["left_out"])
    assert f"detector &#39;b&#39;, {AXIAL_T2}" in (tmp_path / "harmed/report/index.html").read_text()

    smaller = Path(shutil.copytree(pristine, tmp_path / "smaller"))
    manifest = json.loads((smaller / MANIFEST).read_text())
    del manifest["classifiers"][1], manifest["detectors"][1]["networks"][AXIAL_T2]
    (smaller / MANIFEST).write_text(json.dumps(manifest))
    status, about, expected = run(data, smaller, tmp_path / "smaller-out")
    assert status == 0 and about["left_out"] == []
    np.testing.assert_array_equal(rows, expected)
    alone = np.abs(rows[0, DESCRIPTION_SITES[AXIAL_T2]] - 1 / 3).max(axis=1)
    assert (alone > 1e-6).all()  # the first detector still grades them


def test_when_no_classifier_is_left_the_prior_stays_with_status_4(bundle, tmp_path, capsys):
    manifest = json.loads((bundle / MANIFEST).read_text())
    for entry in manifest["classifiers"]:
        entry["config"]["backbone"] = "of_nobody"
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    out = tmp_path / "s.csv"
    flags = {"--data": write_studies(tmp_path / "data"), "--bundle": bundle, "--out": out, "--device": "cpu"}
    assert infer.main([str(part) for flag in flags.items() for part in flag]) == 4
    assert "no classifier can be used here" in capsys.readouterr().err
    np.testing.assert_allclose(read_submission(out)[1], 1 / 3, atol=1e-8)
