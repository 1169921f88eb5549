"""The built notebook, executed as Kaggle does: every mount, read-only inputs, no network, working folder elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

import build_dataset
from dataset import building
from dataset.notebook import FIND
from lumbar.bundle.manifest import read_manifest
from lumbar.outputs.submission import read_submission
from lumbar.sites import SITE_NAMES
from tests.kaggle import kaggle_machine
from tests.kaggle.kaggle_machine import MOUNTS, OWNER, SLUG, lay_out, printed
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import copy_checkout, downloaded_wheels, write_tiny_bundle

ONE_THREAD = {"OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.skipif(
    not kaggle_machine.can_be_had(), reason="needs namespaces (unshare), or to be allowed to make /kaggle"
)


@pytest.fixture(scope="module")
def dist(tmp_path_factory, request) -> Path:
    """A data set and its notebook; with the wheels where they can be downloaded."""
    place = tmp_path_factory.mktemp("build")
    bundle = write_tiny_bundle(place / "bundle")
    wheels = downloaded_wheels(request.config)
    flags = ["--no-wheels"] if wheels is None else ["--wheels", str(wheels)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "CHECKOUT", copy_checkout(place / "checkout"))
        given = ["--owner", OWNER, "--slug", SLUG, "--bundle", str(bundle), "--out", str(place / "dist")]
        assert build_dataset.main(["build", *given, *flags]) == 0
    return place / "dist"


@pytest.fixture(scope="module")
def competition(tmp_path_factory) -> Path:
    """Three small studies, one without an axial series, in RLE Lossless; a sample in an order of its own."""
    root = write_studies(tmp_path_factory.mktemp("competition"))
    for path in sorted(root.rglob("*.dcm")):
        file = dcmread(path)
        file.compress(RLELossless, encoding_plugin="pydicom")
        file.save_as(path)
    rows = [f"{study}_{site},0.4,0.3,0.3" for study in (3, 1, 2) for site in sorted(SITE_NAMES)]
    (root / "sample_submission.csv").write_text("\n".join(["row_id,normal_mild,moderate,severe", *rows, ""]))
    return root


@pytest.fixture(scope="module")
def expected(dist, competition, tmp_path_factory):
    """The submission of the checkout's own kernel, without any of Kaggle."""
    out = tmp_path_factory.mktemp("expected") / "submission.csv"
    kernel = [sys.executable, dist / "dataset/kernel/infer.py", "--data", competition, "--out", out]
    environment = os.environ | ONE_THREAD | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*kernel, "--max-fallback-share", "0.5"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return read_submission(out)


def read_notebook(dist: Path) -> nbformat.NotebookNode:
    return nbformat.read(dist / "notebook/submission.ipynb", as_version=4)


@pytest.mark.parametrize(
    "style", ["new", *(pytest.param(s, marks=pytest.mark.slow) for s in MOUNTS if s != "new")]
)
def test_notebook_submits_what_the_kernel_gives(tmp_path, dist, competition, expected, style):
    """A third of these studies get a fallback: in the scored rerun the file is submitted all the same."""
    kaggle = lay_out(tmp_path, style, dist, competition)
    done = kaggle_machine.execute_notebook(
        dist / "notebook/submission.ipynb", kaggle, ONE_THREAD | {"KAGGLE_IS_COMPETITION_RERUN": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    if kaggle_machine.has_namespaces():
        assert done.stdout.split() == ["network:", "lo"]
    ids, rows = read_submission(kaggle / "working/submission.csv")
    assert ids == expected[0] and (rows == expected[1]).all()
    assert ids[0].startswith("3_") and len(ids) == 75
    run = json.loads((kaggle / "working/run.json").read_text())
    assert (run["studies"], len(run["fallbacks"])) == (3, 1)
    said = printed(kaggle)
    for part in (f"bundle: /kaggle/input/{MOUNTS[style][1]}", "3 studies in", "75 rows", "normal_mild"):
        assert part in said
    assert ("wheels: fast RLE decoding" in said) == (dist / "dataset/wheels").is_dir()


@pytest.mark.slow
def test_the_shipped_weights_go_all_the_way(tmp_path, competition):
    """``build`` without ``--bundle`` -> the notebook, offline -> a submission by every member."""
    if not (building.CHECKOUT / "weights_manifest.json").is_file():
        pytest.skip("this checkout ships no bundle")
    given = ["build", "--owner", OWNER, "--slug", SLUG, "--no-wheels", "--out", str(tmp_path / "dist")]
    assert build_dataset.main(given) == 0
    kaggle = lay_out(tmp_path, "new", tmp_path / "dist", competition)
    done = kaggle_machine.execute_notebook(
        tmp_path / "dist/notebook/submission.ipynb", kaggle, ONE_THREAD | {"KAGGLE_IS_COMPETITION_RERUN": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ids, rows = read_submission(kaggle / "working/submission.csv")
    manifest = read_manifest(building.CHECKOUT)
    assert len(ids) == 75 and not (rows[:25] == manifest.prior).all()
    run = json.loads((kaggle / "working/run.json").read_text())
    assert run["bundle_sha256"] == manifest.fingerprint and run["fewer_members"] == {}


@pytest.mark.parametrize(
    ("status", "rerun", "passes"), [(0, False, True), (3, False, False), (3, True, True), (1, True, False)]
)
def test_what_becomes_of_the_kernel_s_status(tmp_path, dist, status, rerun, passes):
    """Many fallbacks before submitting are an error for somebody to look at; in the rerun, better than none."""
    source = next(cell.source for cell in read_notebook(dist).cells if cell.id == "run-kernel")
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/infer.py").write_text(f"print('the kernel was here')\nraise SystemExit({status})")
    ready = "import os, subprocess, sys, pathlib\nenvironment = dict(os.environ)\n"
    ready += f"bundle = pathlib.Path({str(tmp_path)!r})"
    environment = os.environ | ({"KAGGLE_IS_COMPETITION_RERUN": "1"} if rerun else {})
    done = subprocess.run(
        [sys.executable, "-c", f"{ready}\n{source}"], env=environment, capture_output=True, text=True
    )
    assert "the kernel was here" in done.stdout
    assert (done.returncode == 0) == passes, done.stderr
    assert passes or f"status {status}" in done.stderr


def execute_start(tmp_path: Path, dist: Path, kaggle: Path, last_cell: str) -> str:
    """Execute the cells before the kernel runs and one more; return their output."""
    notebook = read_notebook(dist)
    notebook.cells = [*notebook.cells[:3], nbformat.v4.new_code_cell(last_cell)]
    nbformat.write(notebook, tmp_path / "start.ipynb")
    done = kaggle_machine.execute_notebook(tmp_path / "start.ipynb", kaggle, ONE_THREAD)
    assert done.returncode == 0, done.stderr[-3000:]
    return printed(kaggle)


WHERE_RLE = """\
code = "import rle, pylibjpeg; print('rle', rle.__file__)"
print(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout)
print("path", environment.get("PYTHONPATH"))
"""


def test_wheels_go_to_a_scratch_folder_of_the_kernel_alone(tmp_path, dist, competition):
    if not (dist / "dataset/wheels").is_dir():
        pytest.skip("no network to download wheels from")
    said = execute_start(tmp_path, dist, lay_out(tmp_path, "new", dist, competition), WHERE_RLE)
    scratch = said.partition("installed in ")[2].split()[0]
    assert f"rle {scratch}/rle/" in said and f"path {scratch}" in said
    assert not scratch.startswith(sys.prefix)


@pytest.mark.parametrize("wheels", ["damaged", "of another Python", "none"])
def test_kernel_runs_without_wheels_that_do_not_fit(tmp_path, dist, competition, wheels):
    kaggle = lay_out(tmp_path, "old", dist, competition)
    folder = kaggle / "input" / SLUG / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    if wheels != "none":
        folder.mkdir()
        (folder / "pylibjpeg-2.1.0-py3-none-any.whl").write_bytes(b"not a zip")
        tag = "py3-none-any" if wheels == "damaged" else "cp27-cp27m-win32"
        (folder / f"pylibjpeg_rle-2.2.0-{tag}.whl").write_bytes(b"not a zip")
    said = execute_start(tmp_path, dist, kaggle, WHERE_RLE)
    assert "the kernel runs without" in said and "path None" in said


def test_bundle_is_found_at_any_depth_or_it_is_said_what_was(tmp_path):
    """None and two are distinguished; the competition's images are not searched."""
    found: dict = {"__name__": "cell"}
    exec(FIND.partition("\n\nbundle = ")[0], found)
    (tmp_path / "competitions/c/test_images/1").mkdir(parents=True)

    def mount(name: str) -> Path:
        (tmp_path / name / "kernel").mkdir(parents=True)
        (tmp_path / name / "weights_manifest.json").write_text("{}")
        (tmp_path / name / "kernel/infer.py").write_text("")
        return tmp_path / name

    for name in ("s", "datasets/o/s", "a/b/c/s", "competitions/c/test_images/s", "a/b/c/d/s"):
        with pytest.raises(FileNotFoundError, match="found 0 data sets"):
            found["find_bundle"](tmp_path)
        folder = mount(name)
        if "_images" not in name and name.count("/") < 4:
            assert found["find_bundle"](tmp_path) == folder
            shutil.rmtree(folder)
    mount("s")
    mount("datasets/o/s")
    with pytest.raises(FileNotFoundError, match="found 2 data sets"):
        found["find_bundle"](tmp_path)
