"""Archives: the folder they hold, no path out of it, no bomb, damage named."""

import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from lumbar.faults import DataNotFoundError
from lumbar.reading import zip_archive as archive
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from tests.making.dicom_writer import write_series
from tests.making.small_study import write_studies
from tests.reading.test_dicom_folder import assert_same_volumes


def zipped(folder: Path, path: Path) -> Path:
    return Path(shutil.make_archive(str(path.with_suffix("")), "zip", folder))


def test_a_zip_is_the_folder_it_holds(tmp_path):
    write_series(tmp_path / "data/x", SeriesDescription="T1", StudyInstanceUID="1.2", SeriesInstanceUID="1.3")
    path = zipped(tmp_path / "data", tmp_path / "plain.zip")
    found = find_dataset(path)
    assert (found.root, found.images, found.split) == (path, path, "plain")
    assert_same_volumes(*(read_study(find_dataset(p).studies[0]) for p in (path, tmp_path / "data")))
    root = write_studies(tmp_path / "tables/inside")
    found = find_dataset(zipped(root.parent, tmp_path / "tables.zip"))
    assert found.split == "test"
    assert_same_volumes(read_study(found.studies[0]), read_study(find_dataset(root).studies[0]))


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "..\\out", "C:\\out"])
def test_no_path_leads_out_of_a_zip(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(name, "x")
    with pytest.raises(DataNotFoundError, match="below the folder"):
        archive.unpack(tmp_path / "a.zip")
    assert not (tmp_path / "out").exists()


def test_links_bombs_and_damage_in_a_zip(tmp_path, monkeypatch):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(link, "/etc/passwd")
        file.writestr("zeros", b"\0" * 10**6)
    assert [p.name for p in archive.unpack(tmp_path / "a.zip").iterdir()] == ["zeros"]
    data = (tmp_path / "a.zip").read_bytes()
    for harmed in (b"text", data[:-30], data[:60] + b"\xff" * 20 + data[80:]):
        (tmp_path / "b.zip").write_bytes(harmed)
        with pytest.raises(DataNotFoundError, match=r"b\.zip"):
            archive.unpack(tmp_path / "b.zip")
    monkeypatch.setattr(archive, "MAX_BYTES", 10**5)
    with pytest.raises(DataNotFoundError, match="unpack it yourself"):
        archive.unpack(tmp_path / "a.zip")
