"""A build has the given content, is the same every time, and is whole or absent."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

import build_dataset
from dataset import building, metadata, verifying, wheels
from dataset.card import card_text
from lumbar.bundle.loading import load_bundle
from lumbar.bundle.manifest import read_manifest
from lumbar.bundle.writing import write_bundle
from lumbar.faults import BundleError
from tests.making.tiny_bundle import OWNER, SLUG, build, copy_checkout, downloaded_wheels


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A copy of the test's own, to be harmed."""
    folder = copy_checkout(tmp_path / "checkout")
    monkeypatch.setattr(building, "CHECKOUT", folder)
    return folder


def snapshot(folder: Path) -> dict[str, tuple]:
    """Return every path's kind, mode, time and bytes."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for name, path in paths.items()
    }


def test_same_inputs_give_same_bytes_modes_and_times(tmp_path, bundle, dist):
    mask = os.umask(0o077)
    try:
        assert build(tmp_path / "again", bundle) == 0
    finally:
        os.umask(mask)
    assert snapshot(tmp_path / "again") == snapshot(dist)


def test_the_card_names_the_data_learnt_from(bundle):
    described = metadata.dataset_metadata(OWNER, SLUG, None, "", metadata.LICENCE, "")
    plain = read_manifest(bundle)
    named = replace(plain, attribution=("Spines by A, CC BY 4.0", "Discs by B"))
    heading = "## Data that the weights learnt from"
    assert heading not in card_text(described, plain, [])
    assert f"{heading}\n\n* Spines by A, CC BY 4.0\n* Discs by B\n\n## Use" in card_text(described, named, [])


def test_dataset_holds_known_files_alone_and_loads(tmp_path, bundle, checkout):
    sources = {name for name in verifying.listed_files(checkout) if name.startswith("kernel/")}
    stray = (
        "kernel/lumbar/__pycache__/a.pyc",
        "kernel/lumbar.egg-info/PKG-INFO",
        "kernel/.editor.swp",
        "notes.txt",
    )
    for name in stray:
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text("x")
    assert build(tmp_path / "dist", bundle) == 0
    dataset = tmp_path / "dist/dataset"
    names = set(verifying.listed_files(dataset))
    own = {
        "README.md",
        "SHA256SUMS",
        "dataset-metadata.json",
        "weights_manifest.json",
        "requirements.txt",
        "LICENSE",
    }
    assert names == sources | own | read_manifest(bundle).files
    assert "Apache License" in (dataset / "LICENSE").read_text()
    assert load_bundle(dataset).fingerprint == load_bundle(bundle).fingerprint
    assert "random" in (dataset / "README.md").read_text()


def test_a_checkout_that_ships_a_bundle_needs_no_flag(tmp_path, bundle, checkout):
    """The manifest lies on top, the weights under kernel/; one that the manifest does not name stays behind."""
    write_bundle(load_bundle(bundle), checkout, weights="kernel/weights")
    (checkout / "kernel/weights/of_an_older_bundle.safetensors").write_bytes(b"x")
    given = ["--owner", OWNER, "--slug", SLUG, "--no-wheels", "--out", str(tmp_path / "dist")]
    assert build_dataset.main(["build", *given]) == 0
    dataset = tmp_path / "dist/dataset"
    described = json.loads((dataset / "dataset-metadata.json").read_text())
    assert (
        described["licenses"] == [{"name": "apache-2.0"}]
        and "Licence: apache-2.0" in described["description"]
    )
    packed = {name for name in verifying.listed_files(dataset) if name.endswith(".safetensors")}
    assert packed == read_manifest(checkout).files
    assert {str(Path(name).parent) for name in packed} == {"kernel/weights"}
    assert load_bundle(dataset).fingerprint == load_bundle(checkout).fingerprint


def test_sums_are_those_of_sha256sum_and_verify_sees_every_difference(dist, capsys):
    dataset = dist / "dataset"
    assert build_dataset.main(["verify", "--no-trial", str(dataset), str(dist / "notebook")]) == 0
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=dataset, check=True)
    with (dataset / "kernel/infer.py").open("a") as file:
        file.write("#")
    (dataset / "requirements.txt").unlink()
    (dataset / "kernel/new.py").write_text("")
    assert build_dataset.main(["verify", "--no-trial", str(dataset)]) == 4
    said = capsys.readouterr().err
    for fault in ("kernel/infer.py: changed", "requirements.txt: missing", "kernel/new.py: surplus"):
        assert fault in said
    (dataset / "kernel/new.py").unlink()
    (dataset / "kernel/new.py").symlink_to("/etc/hostname")
    assert verifying.content_faults(dataset) == ["kernel/new.py: is a link, expected plain files and folders"]


@pytest.mark.parametrize("link", ["kernel/lumbar/linked.py", "kernel/linked", "requirements.txt"])
def test_no_link_is_followed(tmp_path, bundle, checkout, link, capsys):
    (checkout / link).unlink(missing_ok=True)
    (checkout / link).symlink_to("/etc" if link == "kernel/linked" else "/etc/hostname")
    assert build(tmp_path / "dist", bundle) == 4
    assert "link" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize("stray", ["lumbar/data.bin", "submission.csv", "run.json"])
def test_unknown_kind_of_file_in_the_kernel_is_refused(tmp_path, bundle, checkout, stray, capsys):
    (checkout / "kernel" / stray).write_text("x")
    assert build(tmp_path / "dist", bundle) == 4
    assert stray in capsys.readouterr().err


@pytest.mark.parametrize(
    "file", ["../outside.safetensors", "/etc/passwd", ".cache/x.safetensors", "kernel/infer.py"]
)
def test_manifest_paths_stay_inside_and_are_uploaded(tmp_path, bundle, file, capsys):
    harmed = tmp_path / "inner/harmed"
    shutil.copytree(bundle, harmed)
    manifest = json.loads((harmed / "weights_manifest.json").read_text())
    member = manifest["classifiers"][0]
    target = harmed / file
    if not file.startswith("/"):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(harmed / member["file"], target)
    member["file"] = file
    (harmed / "weights_manifest.json").write_text(json.dumps(manifest))
    assert build(tmp_path / "dist", harmed) == 4
    assert file in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "made"), 5, "make room"),
    ],
)
def test_interrupted_build_leaves_the_older_one_or_none(
    tmp_path, bundle, dist, monkeypatch, capsys, error, status, message
):
    def fail(*_: object) -> None:
        raise error

    before = snapshot(dist)
    monkeypatch.setattr(building, "fill_notebook", fail)
    for out in (dist, tmp_path / "other"):
        assert build(out, bundle) == status
        assert message in capsys.readouterr().err
    assert snapshot(dist) == before
    assert [path.name for path in tmp_path.iterdir()] == ["dist"]


def test_a_place_that_can_not_be_written_is_named(tmp_path, bundle, capsys):
    """Below a file, whoever runs the test: root may write into any folder."""
    (tmp_path / "file").write_text("x")
    assert build(tmp_path / "file/dist", bundle) == 5
    said = capsys.readouterr().err
    assert (
        said.startswith("build_dataset.py: ")
        and str(tmp_path / "file") in said
        and "correct the path" in said
    )


def test_only_a_build_is_replaced(tmp_path, bundle, dist, capsys):
    (dist / "dataset/kernel/__pycache__").mkdir()
    (dist / "dataset/kernel/__pycache__/infer.pyc").write_text("tried out in place")
    assert build(dist, bundle, "--title", "Another title") == 0
    assert json.loads((dist / "dataset/dataset-metadata.json").read_text())["title"] == "Another title"
    (dist / "dataset/mine.txt").write_text("x")
    assert build(dist, bundle) == 4
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.tex").write_text("x")
    assert build(tmp_path / "home", bundle) == 4
    said = capsys.readouterr().err
    assert "mine.txt" in said and "thesis.tex" in said
    assert (dist / "dataset/mine.txt").exists() and (tmp_path / "home/thesis.tex").exists()


def test_commands_are_complete(tmp_path, bundle, capsys):
    assert build(tmp_path / "dist", bundle) == 0
    said = capsys.readouterr().out
    dataset, notebook = tmp_path / "dist/dataset", tmp_path / "dist/notebook"
    competition = "rsna-2024-lumbar-spine-degenerative-classification"
    for command in (
        f"kaggle datasets create -p {dataset} -r zip",
        f"kaggle datasets version -p {dataset} -r zip -m",
        f"kaggle kernels push -p {notebook}",
        f"kaggle competitions submit {competition} -k {OWNER}/{SLUG} -f submission.csv -v N -m",
    ):
        assert command in said


def test_notebook_is_valid_and_stable(dist):
    content = nbformat.read(dist / "notebook/submission.ipynb", as_version=4)
    nbformat.validate(content)
    code = [cell.source for cell in content.cells if cell.cell_type == "code"]
    for source in code:
        compile(source, "cell", "exec")
    assert not any(SLUG in source for source in code)  # the mount is found, not known


def fake_wheels(folder: Path, monkeypatch) -> None:
    folder.mkdir()
    (folder / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    digest = verifying.sha256_of(folder / "a-1-py3-none-any.whl")
    fake = (wheels.Wheel("a", "1", "3.12", "a-1-py3-none-any.whl", digest),)
    monkeypatch.setattr(wheels, "WHEELS", fake)
    monkeypatch.setattr(building, "WHEELS", fake)


def test_wheels_are_checked_by_hash(tmp_path, bundle, monkeypatch, capsys):
    fake_wheels(tmp_path / "w", monkeypatch)
    assert build(tmp_path / "dist", bundle, "--wheels", str(tmp_path / "w")) == 0
    assert (tmp_path / "dist/dataset/wheels/a-1-py3-none-any.whl").read_bytes() == b"wheel"
    (tmp_path / "w/a-1-py3-none-any.whl").write_bytes(b"other")
    assert build(tmp_path / "other", bundle, "--wheels", str(tmp_path / "w")) == 4
    (tmp_path / "w/a-1-py3-none-any.whl").unlink()
    assert build(tmp_path / "other", bundle, "--wheels", str(tmp_path / "w")) == 4
    said = capsys.readouterr().err
    assert "got SHA-256" in said and "no such file" in said
    assert not (tmp_path / "other").exists()


def test_wheels_that_pip_can_not_bring_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels.sys, "executable", shutil.which("false") or sys.executable)
    with pytest.raises(BundleError, match="--no-wheels"):
        wheels.download_wheels(tmp_path)


def test_wheels_written_down_are_those_of_the_registry(request):
    folder = downloaded_wheels(request.config)
    if folder is None:
        pytest.skip("no network to download wheels from")
    wheels.check_wheels(folder)
    tags = {wheel.python for wheel in wheels.WHEELS if wheel.package == "pylibjpeg-rle"}
    assert tags == {"3.11", "3.12", "3.13"}
