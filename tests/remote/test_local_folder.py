"""A local folder in tasks: the studies of ``infer.py``, whichever way they lie."""

import shutil
from functools import partial
from pathlib import Path

import pytest

from lumbar.faults import DataNotFoundError
from lumbar.reading.listing import find_dataset
from lumbar.reading.sources import local_folder
from lumbar.reading.sources.opening import open_source
from lumbar.reading.study import read_study
from tests.making.dicom_writer import SAGITTAL, image_dataset, picture
from tests.making.small_study import write_studies
from tests.remote.vanishing import check_that_one_is_gone

pytestmark = pytest.mark.slow


def all_references(source) -> list:
    return [ref for task in source.tasks() for ref in source.references(task)]


def write_study(folder: Path, uid: str) -> None:
    """Write a study of a sagittal T2 series."""
    folder.mkdir(parents=True, exist_ok=True)
    tags = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "Modality": "MR"}
    tags |= {"EchoTime": 100, "RepetitionTime": 3000, "SeriesDescription": "SAG T2", "PixelSpacing": [1, 1]}
    for number in range(4):
        place = {"ImagePositionPatient": [4.0 * number, 0, 0], "ImageOrientationPatient": SAGITTAL}
        dataset = image_dataset(picture(seed=number), InstanceNumber=number + 1, **tags, **place)
        dataset.save_as(folder / f"{uid}.{number}.dcm", enforce_file_format=True)


@pytest.fixture
def layouts(tmp_path) -> Path:
    """A study per folder, two in one, one in a .zip, loose files, an empty folder and other files."""
    root = tmp_path / "data"
    write_study(root / "a/series", "1.1")
    write_study(root / "b/one", "1.2")
    write_study(root / "b/two", "1.3")
    write_study(tmp_path / "packed", "1.4")
    shutil.make_archive(str(root / "c"), "zip", tmp_path / "packed")
    write_study(root, "1.5")
    (root / "empty").mkdir()
    (root / "notes.txt").write_text("text")
    (root / ".hidden").mkdir()
    return root


def test_every_study_is_listed_once_and_read_as_from_the_whole_folder(layouts):
    source = open_source(layouts)
    assert list(source.tasks()) == ["a", "b", "c.zip", "empty", "."]
    refs = {ref.study_id: ref for ref in all_references(source)}
    whole = {ref.study_id: ref for ref in find_dataset(layouts).studies}
    assert refs.keys() == whole.keys() == {"1.1", "1.2", "1.3", "1.4", "1.5"}
    for study_id, ref in refs.items():
        assert (ref.files, ref.bytes > 0, type(ref).from_json(ref.to_json())) == (4, True, ref)
        study, expected = read_study(ref), read_study(whole[study_id])
        (volume,) = study.volumes.values()
        assert (volume.grid512 == next(iter(expected.volumes.values())).grid512).all()


def test_a_single_archive_is_one_task(layouts):
    source = open_source(layouts / "c.zip")
    assert [ref.study_id for ref in all_references(source)] == ["1.4"]


def test_the_competition_s_folder_in_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(local_folder, "PAGE", 2)
    source = open_source(write_studies(tmp_path))
    assert list(source.tasks()) == ["0", "2"]
    refs = all_references(source)
    assert tuple(refs) == find_dataset(tmp_path).studies
    assert [type(ref).from_json(ref.to_json()) for ref in refs] == refs


def test_a_folder_that_vanished_is_a_fault(layouts):
    (ref,) = open_source(layouts).references("a")
    shutil.rmtree(layouts / "a")
    study = read_study(ref)
    assert [fault.reason for fault in study.faults] == ["study_gone"] and not study.volumes
    with pytest.raises(DataNotFoundError, match="list it again"):
        list(open_source(layouts).references("a"))


def test_a_table_of_series_overrides_headers_at_a_location(layouts):
    from dataclasses import replace

    (ref,) = open_source(layouts).references("a")
    named = replace(ref, named=(("1.1.1", "Sagittal T1"),))
    assert list(read_study(named).volumes) == ["Sagittal T1"]
    assert type(named).from_json(named.to_json()) == named


def test_nothing_there_is_refused(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such folder"):
        open_source(tmp_path / "none")


@pytest.mark.parametrize("packed", [False, True])
def test_a_study_that_vanishes_after_index_costs_itself_alone(images, bundle, from_disk, tmp_path, packed):
    data = Path(shutil.copytree(images, tmp_path / "data"))
    folder = sorted(data.iterdir())[0]
    remove = partial(shutil.rmtree, folder)
    if packed:
        remove = Path(shutil.make_archive(str(folder), "zip", folder)).unlink
        shutil.rmtree(folder)
    check_that_one_is_gone(data, folder.name, remove, bundle, from_disk, tmp_path / "archive")
