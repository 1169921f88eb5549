"""Studies of an S3 server: prefixes and .zip objects, as from disk."""

import logging
import shutil
from functools import partial
from pathlib import Path

import pytest

from lumbar.faults import DataNotFoundError
from lumbar.reading.sources.opening import open_source
from lumbar.reading.study import read_study
from tests.making.orthanc import free_port
from tests.remote.conftest import grades, same_grades
from tests.remote.vanishing import check_that_one_is_gone

pytestmark = pytest.mark.slow

KEY, SECRET = "AKIAREADER", "swordfish77"


@pytest.fixture(scope="module")
def server():
    """The address of an S3 server of this module's own."""
    pytest.importorskip("s3fs", reason="no s3fs: pip install s3fs")
    moto = pytest.importorskip("moto.server", reason="no moto: pip install 'moto[server]'")
    port = free_port()
    server = moto.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def store(server, monkeypatch):
    """Access to the server by the environment alone, and an empty bucket "studies"."""
    import fsspec

    settings = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": server}
    for name, value in (settings | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    if fs.exists("studies"):
        fs.rm("studies", recursive=True)
    fs.mkdir("studies")
    return fs


def put(store, images: Path, names: list[str] | None = None) -> None:
    for folder in sorted(images.iterdir()):
        if names is None or folder.name in names:
            store.put(str(folder), f"studies/lumbar/{folder.name}", recursive=True)


def all_references(source) -> list:
    return [ref for task in source.tasks() for ref in source.references(task)]


def test_prefixes_and_zips_are_graded_as_from_disk(store, images, bundle, from_disk, tmp_path, caplog, capfd):
    first, *others = sorted(folder.name for folder in images.iterdir())
    put(store, images, others)
    packed = shutil.make_archive(str(tmp_path / first), "zip", images / first)
    store.put(packed, f"studies/lumbar/{first}.zip")
    store.pipe("studies/lumbar/readme.txt", b"text")
    caplog.set_level(logging.DEBUG, "lumbar")
    out = tmp_path / "out"
    found = grades("s3://studies/lumbar", bundle, out / "s3.csv", "--dump", str(out))
    assert same_grades(found, from_disk)
    assert "1 objects belong to no study's prefix" in caplog.text
    streams = capfd.readouterr()
    shown = caplog.text + streams.out + streams.err
    shown += "".join(file.read_text(errors="replace") for file in out.rglob("*") if file.is_file())
    assert "s3://studies/lumbar" in shown and SECRET not in shown and KEY not in shown


def test_references_have_sizes_and_no_credentials(store, images):
    put(store, images)
    refs = all_references(open_source("s3://studies/lumbar/"))
    for ref, folder in zip(refs, sorted(images.iterdir()), strict=True):
        files = list(folder.rglob("*.dcm"))
        assert (ref.files, ref.bytes) == (len(files), sum(file.stat().st_size for file in files))
        assert ref.location == f"s3://studies/lumbar/{folder.name}"
        content = ref.to_json()
        assert type(ref).from_json(content) == ref and SECRET not in str(content)


def test_a_study_that_vanished_is_a_fault(store, images, no_pauses):
    put(store, images, [sorted(images.iterdir())[0].name])
    (ref,) = all_references(open_source("s3://studies/lumbar"))
    store.rm("studies/lumbar", recursive=True)
    study = read_study(ref)
    assert [fault.reason for fault in study.faults] == ["study_gone"] and not study.volumes


def test_an_object_that_vanishes_after_index_costs_its_study_alone(
    store, images, bundle, from_disk, tmp_path
):
    put(store, images)
    lost = sorted(images.iterdir())[1].name
    remove = partial(store.rm, f"studies/lumbar/{lost}", recursive=True)
    check_that_one_is_gone("s3://studies/lumbar", lost, remove, bundle, from_disk, tmp_path / "archive")


def test_a_prefix_of_several_studies_is_refused_by_name(store, images, no_pauses):
    for folder in sorted(images.iterdir())[:2]:
        store.put(str(folder), f"studies/lumbar/both/{folder.name}", recursive=True)
    (ref,) = all_references(open_source("s3://studies/lumbar"))
    (fault,) = read_study(ref).faults
    assert fault.reason == "other_studies" and "got 2 studies" in fault.message


def test_a_damaged_zip_and_one_without_studies(store, no_pauses):
    store.pipe("studies/lumbar/broken.zip", b"no archive")
    store.pipe("studies/lumbar/text/readme.txt", b"text")
    reasons = [read_study(ref).faults[0].reason for ref in all_references(open_source("s3://studies/lumbar"))]
    assert reasons == ["bad_archive", "other_studies"]


def test_a_name_that_leads_out_of_the_folder_is_refused(store, no_pauses, tmp_path):
    store.pipe("studies/lumbar/7/../../escaped.dcm", b"x")
    for ref in all_references(open_source("s3://studies/lumbar")):
        assert read_study(ref).faults[0].reason in ("not_fetched", "other_studies", "study_gone")
    assert not list(tmp_path.rglob("escaped.dcm"))


def test_lists_that_are_refused(store, no_pauses):
    with pytest.raises(DataNotFoundError, match="no such object"):
        list(open_source("s3://nobody/lumbar").tasks())
    store.pipe("studies/lumbar/readme.txt", b"text")
    with pytest.raises(DataNotFoundError, match=r"no prefix and no \.zip"):
        list(open_source("s3://studies/lumbar").tasks())
    store.pipe("studies/lumbar/train_series_descriptions.csv", b"study_id")
    with pytest.raises(DataNotFoundError, match="train_images"):
        list(open_source("s3://studies/lumbar").tasks())
    with pytest.raises(DataNotFoundError, match="--split"):
        open_source("s3://studies/lumbar", "test")
    with pytest.raises(DataNotFoundError, match="expected s3://"):
        list(open_source("nonsense://studies").tasks())
