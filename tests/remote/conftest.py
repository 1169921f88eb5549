"""Phantoms in an Orthanc with DICOMweb, and their grades from disk."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

import infer
from lumbar.outputs.submission import read_submission
from lumbar.reading.sources import retries
from lumbar.reading.sources.spool import PREFIX
from phantom import write_phantoms
from tests.making.tiny_bundle import write_tiny_bundle
from tests.remote.dicomweb_server import Orthanc, running_dicomweb

STUDIES = 3


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("remote-bundle"))


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """A folder per phantom, without tables."""
    folder = tmp_path_factory.mktemp("remote-phantoms") / "data"
    write_phantoms(folder, studies=STUDIES, seed=5)
    return folder / "train_images"


@pytest.fixture(scope="session")
def from_disk(images, bundle, tmp_path_factory) -> dict[str, np.ndarray]:
    """The grades of the same files in a folder."""
    return grades(images, bundle, tmp_path_factory.mktemp("remote-disk") / "disk.csv")


@pytest.fixture(scope="session")
def dicomweb() -> None:
    """Skip without the package."""
    pytest.importorskip("dicomweb_client", reason="no dicomweb-client: pip install dicomweb-client")


@pytest.fixture(scope="session")
def server(dicomweb, tmp_path_factory) -> Iterator[Orthanc]:
    with running_dicomweb(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(server, images) -> Orthanc:
    """A server that has the phantoms, and nothing else."""
    for study in server.rest("studies"):
        server.rest(f"studies/{study}", "DELETE")
    store_by_rest(server, images)
    return server


@pytest.fixture(autouse=True)
def spools(tmp_path, monkeypatch) -> Iterator[Path]:
    """The folder for spools; it has none at the end of a test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert [path.name for path in folder.glob(f"{PREFIX}*") if not path.name.endswith("-new")] == []


@pytest.fixture
def no_pauses(monkeypatch) -> None:
    """Try again at once, in this process."""
    monkeypatch.setattr(retries, "SECONDS_BETWEEN", (0.0, 0.0, 0.0))


def store_by_rest(server: Orthanc, images: Path) -> None:
    for file in sorted(images.rglob("*.dcm")):
        assert server.rest("instances", "POST", file.read_bytes())["Status"] in ("Success", "AlreadyStored")


def orthanc_ids(server: Orthanc) -> dict[str, str]:
    """Return Orthanc's own study ids by StudyInstanceUID."""
    about = {one: server.rest(f"studies/{one}") for one in server.rest("studies")}
    return {told["MainDicomTags"]["StudyInstanceUID"]: one for one, told in about.items()}


def study_uids(images: Path) -> list[str]:
    firsts = [next(folder.rglob("*.dcm")) for folder in sorted(images.iterdir())]
    return [str(pydicom.dcmread(file, stop_before_pixels=True).StudyInstanceUID) for file in firsts]


def grades(data: str | Path, bundle: Path, out: Path, *more: str) -> dict[str, np.ndarray]:
    """Grade with ``infer.py``; return the probabilities by row id."""
    flags = {"--data": data, "--bundle": bundle, "--out": out, "--device": "cpu", "--precision": "fp32"}
    arguments = [str(part) for flag in flags.items() for part in flag]
    assert infer.main([*arguments, "--workers", "1", *more]) == 0
    return dict(zip(*read_submission(out), strict=True))


def same_grades(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Return whether all probabilities of the same sites are equal, bit for bit."""
    return one.keys() == other.keys() and all((one[key] == other[key]).all() for key in one)
