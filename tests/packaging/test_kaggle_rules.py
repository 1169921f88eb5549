"""What Kaggle refuses is refused before the upload."""

import json
import time
import zipfile

import pytest

from dataset import metadata, upload_flags, verifying
from tests.making.tiny_bundle import OWNER, SLUG, build


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--owner", "some one"], "user name"),
        (["--slug", "short"], "6 to 50"),
        (["--slug", "x" * 51], "6 to 50"),
        (["--slug", "Lumbar_Spine"], "small letters"),
        (["--slug", "lumbar--spine"], "single dashes"),
        (["--title", "short"], "6 to 50"),
        (["--title", "x" * 51], "6 to 50"),
        (["--title", "   pad   "], "6 to 50"),
        (["--subtitle", "x" * 19], "20 to 80"),
        (["--subtitle", "x" * 81], "20 to 80"),
        (["--licence", "MIT"], "expected one of CC0-1.0"),
    ],
)
def test_what_kaggle_refuses_is_refused_first(tmp_path, bundle, flags, reason, capsys):
    assert build(tmp_path / "dist", bundle, *flags) == 4
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()


def test_longest_and_shortest_slug_make_valid_metadata():
    for slug in ("a-b-cd", "lumbar-5th-place", "x" * 50, "1-2-3-4"):
        described = metadata.dataset_metadata(OWNER, slug, None, upload_flags.SUBTITLE, "CC0-1.0", "text")
        assert metadata.dataset_faults(described) == []
        assert metadata.notebook_faults(metadata.notebook_metadata(OWNER, slug)) == []
    assert metadata.title_of("lumbar-5th-place") == "Lumbar 5th Place"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("enable_internet", None),
        ("enable_internet", True),
        ("enable_internet", "false"),
        ("machine_shape", "NvidiaL4"),
        ("docker_image_pinning_type", "latest"),
        ("docker_image_pinning_type", None),
        ("docker_image", "gcr.io/kaggle-gpu-images/python:latest"),
        ("title", "Something else"),
        ("competition_sources", []),
        ("dataset_sources", []),
        ("code_file", "other.ipynb"),
        ("id", "no-owner"),
        ("id", f"{OWNER}/{SLUG}/3"),
        ("surplus", 1),
    ],
)
def test_notebook_metadata_is_checked(field, value):
    content = metadata.notebook_metadata(OWNER, SLUG) | {field: value}
    if value is None:
        del content[field]
    assert any(field in fault or "slug" in fault for fault in metadata.notebook_faults(content))


def test_the_notebook_keeps_the_image_of_its_first_push_or_a_given_one(tmp_path, bundle):
    pushed = "dist/notebook/kernel-metadata.json"
    assert build(tmp_path / "dist", bundle) == 0
    content = json.loads((tmp_path / pushed).read_text())
    assert content["docker_image_pinning_type"] == "original" and "docker_image" not in content
    image = f"gcr.io/kaggle-gpu-images/python@sha256:{'0' * 64}"
    assert build(tmp_path / "dist", bundle, "--docker-image", image) == 0
    assert json.loads((tmp_path / pushed).read_text())["docker_image"] == image
    assert build(tmp_path / "other", bundle, "--docker-image", "python:latest") == 4


@pytest.mark.parametrize("licences", [[], None, [{"name": "CC0-1.0"}, {"name": "other"}], ["CC0-1.0"]])
def test_exactly_one_licence(licences):
    described = metadata.dataset_metadata(OWNER, SLUG, None, upload_flags.SUBTITLE, "other", "")
    assert metadata.dataset_faults(described | {"licenses": licences})


@pytest.mark.parametrize(("flags", "name"), [([], "other"), (["--licence", "CC0-1.0"], "CC0-1.0")])
def test_a_given_bundle_is_under_its_makers_licence(tmp_path, bundle, flags, name):
    assert build(tmp_path / "dist", bundle, *flags) == 0
    described = json.loads((tmp_path / "dist/dataset/dataset-metadata.json").read_text())
    assert described["licenses"] == [{"name": name}]
    told = "code Apache License 2.0; the weights keep the licence" if name == "other" else "Licence: CC0-1.0"
    assert told in described["description"]


def test_limits_of_kaggle(dist, monkeypatch):
    dataset = dist / "dataset"
    assert verifying.limit_faults(dataset) == []
    for number in range(50):
        (dataset / f"{number}.txt").write_text("x")
    (dataset / "dataset-cover-image.png").write_text("x")
    (dataset / "kernel/.cache").mkdir()
    (dataset / "kernel/.cache/x").write_text("x")
    monkeypatch.setattr(verifying, "MOST_BYTES", 10)
    said = " ".join(verifying.limit_faults(dataset))
    for part in ("at most 50", "GB, expected at most", "dataset-cover-image.png", ".cache/x"):
        assert part in said


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone can't be set here")
def test_zip_of_the_command_line_takes_the_times_everywhere(dist, tmp_path, monkeypatch):
    """zip knows no time before 1980, and counts in local time."""
    for zone in ("Pacific/Honolulu", "Pacific/Auckland"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        with zipfile.ZipFile(tmp_path / "kernel.zip", "w") as archive:
            archive.write(dist / "dataset/kernel/infer.py", "infer.py")
    monkeypatch.delenv("TZ")
    time.tzset()
