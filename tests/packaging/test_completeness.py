"""Nothing passes that can't grade every site: not an import, not a build, not an upload, unless it is meant."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import build_dataset
from dataset import trial, verifying
from lumbar.bundle.loading import load_bundle
from lumbar.bundle.manifest import MANIFEST
from lumbar.bundle.writing import write_bundle
from lumbar.sites import AXIAL_T2
from tests.making.published_files import write_family_a
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import build


def without_classifiers(bundle):
    return replace(bundle, classifiers=())


def without_axial(bundle):
    networks = {d: n for d, n in bundle.detectors[0].networks.items() if d != AXIAL_T2}
    return replace(bundle, detectors=(replace(bundle.detectors[0], networks=networks),))


LACKING = {"any classifier": without_classifiers, "a detector of Axial T2": without_axial}


@pytest.mark.parametrize("part", LACKING)
def test_a_bundle_that_lacks_a_part_is_neither_built_nor_verified(tmp_path, bundle, part, capsys):
    lacking, out = tmp_path / "lacking", tmp_path / "dist"
    write_bundle(LACKING[part](load_bundle(bundle)), lacking)
    assert build(out, lacking) == 4
    assert f"lacks {part}, so sites would get the prior" in capsys.readouterr().err
    assert not out.exists()
    assert build(out, lacking, "--partial") == 0
    verify = ["verify", "--no-trial", str(out / "dataset")]
    assert build_dataset.main(verify) == 4
    assert f"lacks {part}" in capsys.readouterr().err
    assert build_dataset.main([*verify, "--partial"]) == 0


@pytest.mark.parametrize(
    ("left_out", "part"), [("convnext_level/*", "any classifier"), ("axial_t2/*", "a detector of Axial T2")]
)
def test_an_import_that_lacks_a_part_is_refused_before_anything_is_written(tmp_path, left_out, part, capsys):
    files, out = write_family_a(tmp_path / "files"), tmp_path / "out"
    command = ["import", "--from", str(files), "--skip", left_out, "--out", str(out)]
    assert build_dataset.main(command) == 4
    assert f"import: lacks {part}" in capsys.readouterr().err
    assert not out.exists()
    assert build_dataset.main([*command, "--partial"]) == 0


def harm(dataset: Path, file: str, change) -> None:
    """Change a file of a data set and make its sums agree."""
    (dataset / file).write_text(change((dataset / file).read_text()))
    verifying.write_sums(dataset)


def test_a_member_that_can_not_be_built_is_not_fit_for_upload(dist, capsys):
    def other_backbone(text: str) -> str:
        manifest = json.loads(text)
        manifest["classifiers"][0]["config"]["backbone"] = "backbone_of_nobody"
        return json.dumps(manifest)

    harm(dist / "dataset", MANIFEST, other_backbone)
    assert build_dataset.main(["verify", "--no-trial", str(dist / "dataset")]) == 4
    assert "classifier 'level', config: can't be built" in capsys.readouterr().err


@pytest.mark.slow
def test_the_trial_run_grades_three_phantoms_and_changes_nothing(dist, capsys):
    before = verifying.listed_files(dist)
    assert build_dataset.main(["verify", str(dist / "dataset"), str(dist / "notebook")]) == 0
    printed = capsys.readouterr().out
    assert "trial run: 3 phantoms graded in" in printed and "75 rows, 0 fallbacks" in printed
    assert verifying.listed_files(dist) == before


BROKEN_KERNELS = {
    "a kernel that ends early": ("raise SystemExit('this kernel is broken')\n", "this kernel is broken"),
    "a kernel that calls the network": (
        "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)\n",
        "a trial run has no network",
    ),
    "a kernel that looks up a host": (
        "import urllib.request\nurllib.request.urlopen('http://example.com')\n",
        "a trial run has no network",
    ),
}


@pytest.mark.parametrize("name", BROKEN_KERNELS)
def test_the_trial_run_refuses(dist, name, monkeypatch, capsys):
    lines, words = BROKEN_KERNELS[name]
    monkeypatch.setattr(trial, "write_phantoms", lambda folder, *_, **__: write_studies(folder))
    harm(dist / "dataset", "kernel/infer.py", lambda text: lines + text)
    assert build_dataset.main(["verify", "--no-trial", str(dist / "dataset")]) == 0
    assert build_dataset.main(["verify", str(dist / "dataset")]) == 4
    refused = capsys.readouterr().err
    assert "trial run: infer.py ended with status 1" in refused and words in refused


@pytest.mark.long
def test_the_trial_run_refuses_fallbacks_unless_partial(dist, monkeypatch, capsys):
    """One of the small studies lacks its axial series, as no phantom does."""
    monkeypatch.setattr(trial, "write_phantoms", lambda folder, *_, **__: write_studies(folder))
    assert build_dataset.main(["verify", str(dist / "dataset")]) == 4
    assert "status 3" in capsys.readouterr().err
    assert build_dataset.main(["verify", "--partial", str(dist / "dataset")]) == 0
    assert "1 fallbacks" in capsys.readouterr().out
