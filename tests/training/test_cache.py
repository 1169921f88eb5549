"""A cache is whole whoever fills it: one run, two at a time, one that was killed."""

import shutil

import numpy as np
import pydicom
import pytest

from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import DESCRIPTIONS
from tests.making.labelled_competition import write_competition
from training.data import cache
from training.data.labels import COORDINATES_FILE, read_coordinates
from training.data.study_headers import read_study_headers
from training.data.targets import place_targets
from training.errors import LabelError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_competition(tmp_path_factory.mktemp("cache") / "data", studies=2)


def build(data, folder) -> cache.Cache:
    return cache.build_cache(find_dataset(data, "train"), folder, workers=0)


def check_whole(built: cache.Cache, data) -> None:
    """The studies are as read, and nothing else is in the folder."""
    assert {path.name for path in built.folder.iterdir()} == {"cache.json", "100", "101"}
    for ref in find_dataset(data, "train").studies:
        read, cached = read_study(ref).volumes, built.volumes(ref.study_id)
        assert set(read) == set(cached) == set(DESCRIPTIONS)
        for description, volume in read.items():
            assert np.array_equal(cached[description].grid256, volume.grid256)
            assert np.array_equal(cached[description].grid512, volume.grid512)
            assert cached[description].headers == volume.headers


def test_two_runs_on_one_cache_do_not_trip_over_each_other(data, tmp_path, monkeypatch):
    """While one run has the first study in hand, another comes and fills the whole cache."""
    started = []

    def overtaken(ref):
        started.append(ref.study_id)
        if len(started) == 1:
            build(data, tmp_path)
        return read_study(ref)

    monkeypatch.setattr(cache, "read_study", overtaken)
    check_whole(build(data, tmp_path), data)
    assert started == ["100", "100", "101"]  # the slower run found the second finished


def test_a_run_that_dies_leaves_no_half_study(data, tmp_path, monkeypatch):
    writing = cache.write_with_holes

    def die(file, grid):
        if "axial" in file.name:
            raise KeyboardInterrupt
        writing(file, grid)

    monkeypatch.setattr(cache, "write_with_holes", die)
    with pytest.raises(KeyboardInterrupt):
        build(data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cache.json"]
    monkeypatch.setattr(cache, "write_with_holes", writing)
    check_whole(build(data, tmp_path), data)


def test_the_mark_is_written_once_and_refuses_other_data(data, tmp_path):
    build(data, tmp_path)
    mark = (tmp_path / "cache.json").stat()
    build(data, tmp_path)
    again = (tmp_path / "cache.json").stat()
    assert (mark.st_ino, mark.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)
    other = write_competition(tmp_path / "other", studies=1)
    with pytest.raises(LabelError, match="use another --cache"):
        build(other, tmp_path)


def test_a_study_that_is_listed_otherwise_now_is_not_taken_for_what_it_was(tmp_path):
    data = write_competition(tmp_path / "data", studies=2)
    build(data, tmp_path / "cache")
    table = data / "train_series_descriptions.csv"
    text = table.read_text()
    table.write_text(text.replace("100,100002,Axial T2\n", ""))
    with pytest.raises(LabelError, match="listing\\.json: got a study decoded from"):
        build(data, tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache" / "100")
    assert set(build(data, tmp_path / "cache").volumes("100")) == set(DESCRIPTIONS) - {"Axial T2"}


def test_headers_are_what_a_cache_says_without_pixels(tmp_path):
    """The same slices, faults and targets, also where a file can't be read and where one is odd."""
    data = write_competition(tmp_path / "data", studies=2)
    files = sorted((data / "train_images" / "100").rglob("*.dcm"))
    for number, file in enumerate(files[::4]):
        file.write_bytes(file.read_bytes()[:-50] if number % 2 else b"text")
    odd = pydicom.dcmread(files[1])
    del odd.PixelSpacing
    odd.save_as(files[1])
    built, read = build(data, tmp_path / "cache"), read_study_headers(find_dataset(data, "train"))
    assert read.study_ids == built.study_ids and read.faults == built.faults
    assert {fault.reason for fault in read.faults} == {"not_dicom", "truncated"}  # oddities cost no label
    assert any(h.spacing is None for v in read.volumes("100").values() for h in v.headers)
    for study in built.study_ids:
        assert headers(read.volumes(study)) == headers(built.volumes(study))
        assert all(v.grid256.size == v.grid512.size == 0 for v in read.volumes(study).values())
    coordinates, _ = read_coordinates(data / COORDINATES_FILE)
    (some, faults), (same, more) = (place_targets(coordinates, studies) for studies in (built, read))
    assert faults == more and faults and some.keys() == same.keys()
    for key, target in some.items():
        np.testing.assert_equal(vars(same[key]), vars(target))


def headers(volumes: dict) -> dict:
    return {description: (volume.headers, volume.order_key) for description, volume in volumes.items()}
