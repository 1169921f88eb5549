"""The published ensemble, one of each architecture: files -> import -> build -> verify -> the notebook, offline.

The networks have full size and random weights. ``verify`` leaves its trial run out, because the notebook's run is one:
of the same data set, read-only and without a network.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from lumbar.bundle.manifest import read_manifest
from lumbar.outputs.submission import read_submission
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SITE_NAMES
from phantom import write_phantoms
from tests.kaggle import kaggle_machine
from tests.kaggle.kaggle_machine import OWNER, SLUG, lay_out
from tests.making.published_files import write_published

REPOSITORY = Path(__file__).resolve().parents[2]
DETECTORS = {
    ("family_a-fold1", SAGITTAL_T2): ("regnety_002", "lstm", 32),
    ("family_a-fold1", SAGITTAL_T1): ("regnety_002", "lstm", 32),
    ("family_a-fold1", AXIAL_T2): ("regnety_002", "lstm", 64),
    ("family_b-fold1", SAGITTAL_T2): ("tf_efficientnet_b5", "lstm", 29),
    ("family_b-fold1", SAGITTAL_T1): ("tf_efficientnet_b5", "lstm", 38),
    ("family_b-fold1", AXIAL_T2): ("regnety_002", "transformer", 192),
}
CLASSIFIERS = {
    "convnext_tiny-level-fold1": ("convnext_tiny", "level", "stretch"),
    "caformer_s18-level-fold1": ("caformer_s18", "level", "stretch"),
    "pvt_v2_b3-level-fold1": ("pvt_v2_b3", "level", "stretch"),
    "convnext_small-level-seed42-fold1": ("convnext_small", "level", "shift"),
    "convnext_small-level_skip-seed42-fold1": ("convnext_small", "level_skip", "shift"),
    "convnext_small-level_slices-seed42-fold1": ("convnext_small", "level_slices", "shift"),
}
MEMBERS = set(product({name for name, _ in DETECTORS}, CLASSIFIERS))
CARD = re.compile(r'(?s)<article class="site" id="(\w+)".*?</article>')
MEMBER_ROW = re.compile(r'<th scope="row">([^<]+) · ([^<]+)</th>' + 3 * "<td>([^<]+)</td>")
ROUNDING = 0.006  # 0.005 of the page's whole percentages, and the submission's own
SECONDS = 1800  # limit of the notebook; the slowest took 800, on two cores at a load of 14

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(2 * SECONDS),
    pytest.mark.skipif(
        not kaggle_machine.can_be_had(), reason="needs namespaces (unshare), or to be allowed to make /kaggle"
    ),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """Yield a folder that does not outlive the tests: weights, 1.35 GB at each step."""
    folder = tmp_path_factory.mktemp("published")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def dist(place) -> Path:
    """A data set and its notebook, by the commands that a user of the published files gives."""
    torch.manual_seed(0)
    files = write_published(place / "files")
    run_command("import", "--from", files, "--out", place / "bundle")
    shutil.rmtree(files)
    given = ("--owner", OWNER, "--slug", SLUG, "--no-wheels", "--out", place / "dist")
    run_command("build", "--bundle", place / "bundle", *given)
    return place / "dist"


def run_command(*arguments: str | Path) -> None:
    """Run ``build_dataset.py`` in a process of its own, on all cores."""
    command = [sys.executable, "build_dataset.py", *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_every_file_becomes_the_member_of_its_architecture_in_float32(dist):
    manifest = read_manifest(dist / "dataset")
    networks = {
        (detector["name"], description): network
        for detector in manifest.detectors
        for description, network in detector["networks"].items()
    }
    fields = ("encoder", "pointer", "max_length")
    assert {key: configured(network, fields) for key, network in networks.items()} == DETECTORS
    classifiers = {member["name"]: member for member in manifest.classifiers}
    fields = ("backbone", "sequence", "border")
    assert {name: configured(member, fields) for name, member in classifiers.items()} == CLASSIFIERS
    for member in (*networks.values(), *classifiers.values()):
        with safe_open(dist / "dataset" / member["file"], "pt") as file:
            kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118  no mapping
        assert "F32" in kinds


def configured(member: dict, fields: tuple[str, ...]) -> tuple:
    return tuple(member["config"][field] for field in fields)


def test_the_data_set_is_fit_for_upload(dist):
    run_command("verify", dist / "dataset", dist / "notebook", "--no-trial")


def test_the_notebook_submits_the_mean_of_all_members(dist, place):
    """Before submitting: a member that is left out or a study with a fallback would be an error."""
    write_phantoms(place / "competition", 1, seed=7, split="test")
    kaggle = lay_out(place, "new", dist, place / "competition")
    notebook = dist / "notebook/submission.ipynb"
    done = kaggle_machine.execute_notebook(notebook, kaggle, {}, SECONDS)
    assert done.returncode == 0, done.stderr[-3000:]
    if kaggle_machine.has_namespaces():
        assert done.stdout.split() == ["network:", "lo"]

    run = json.loads((kaggle / "working/run.json").read_text())
    assert (run["studies"], run["left_out"], run["fewer_members"]) == (1, [], {})
    assert run["fallbacks"] == run["faults"] == [] and run["fallback_sites"] == {}

    ids, rows = read_submission(kaggle / "working/submission.csv")
    number = {row_id.partition("_")[2]: index for index, row_id in enumerate(ids)}
    submitted = rows[[number[site] for site in SITE_NAMES]]
    (page,) = (kaggle / "working/report/studies").glob("*.html")
    members = read_members(page.read_text("utf-8"))
    assert members.keys() == MEMBERS
    said = np.stack(list(members.values()))  # (member, site, severity)
    assert np.isfinite(said).all() and (abs(said.sum(axis=-1) - 1) < 0.02).all()
    prior = read_manifest(dist / "dataset").prior
    assert (abs(said - prior).max(axis=(1, 2)) > 0.1).all()
    assert abs(said.mean(axis=0) - submitted).max() < ROUNDING
    for member in range(len(said)):
        others = np.delete(said, member, axis=0).mean(axis=0)
        assert abs(others - submitted).max() > ROUNDING, "the submission does not depend on this member"


def read_members(page: str) -> dict[tuple[str, str], np.ndarray]:
    """Read the members' probabilities from a study's page.

    Returns:
        By detector and classifier, (25, 3) in steps of 0.01; NaN at a site without a row of the member.
    """
    members: dict[tuple[str, str], np.ndarray] = {}
    for card in CARD.finditer(page):
        for detector, classifier, *row in MEMBER_ROW.findall(card[0]):
            rows = members.setdefault((detector, classifier), np.full((len(SITE_NAMES), 3), np.nan))
            rows[SITE_NAMES.index(card[1])] = [probability(text) for text in row]
    return members


def probability(percentage: str) -> float:
    """Return the probability that a percentage of the page stands for, within 0.005."""
    ends = {"&lt;1": 0.0, "&gt;99": 1.0}
    return ends[percentage] if percentage in ends else float(percentage) / 100
