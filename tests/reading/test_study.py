"""The competition's folder and its tables, however they are written; a study never raises for its data."""

import logging
import time
from pathlib import Path

import numpy as np
import pytest

from lumbar.faults import DataNotFoundError
from lumbar.reading import listing
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SITE_NAMES
from tests.making.dicom_writer import AXIAL, SAGITTAL, write_series, write_slice

REAL = Path(__file__).parents[2] / "../shared/real/studies"
HEADER = "study_id,series_id,series_description"


def make_competition(
    root: Path, rows: list[str], split: str = "test", header: str = HEADER, images=True
) -> Path:
    """Write the table, and a series of two slices for each of its rows with plain ids."""
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{split}_series_descriptions.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / f"{split}_images").mkdir(exist_ok=True)
    for row in rows if images else []:
        study_id, series_id, *_ = row.split(",")
        write_series(root / f"{split}_images" / study_id / series_id, 2)
    return root


def listed(root: Path) -> dict[str, list[tuple[str, str]]]:
    found = find_dataset(root).studies
    return {study.study_id: [(s.series_id, s.description) for s in study.series] for study in found}


# --- finding


@pytest.mark.parametrize("mount", ["rsna-2024", "competitions/rsna-2024", "datasets/somebody/copy"])
def test_both_mount_styles_of_kaggle(tmp_path, monkeypatch, mount):
    make_competition(tmp_path / mount, ["1,2,Axial T2"])
    (tmp_path / "datasets/somebody/weights").mkdir(parents=True)
    monkeypatch.setattr(listing, "KAGGLE_INPUT", tmp_path)
    found = find_dataset()
    assert (found.root, found.split, found.images) == (
        tmp_path / mount,
        "test",
        tmp_path / mount / "test_images",
    )


def test_of_several_the_first_is_taken_and_said(tmp_path, monkeypatch, caplog):
    for name in ("b", "a"):
        make_competition(tmp_path / name, ["1,2,Axial T2"])
    monkeypatch.setattr(listing, "KAGGLE_INPUT", tmp_path)
    assert find_dataset().root == tmp_path / "a"
    assert "2 folders" in caplog.text


def test_splits(tmp_path):
    make_competition(tmp_path, ["1,2,Axial T2"], "train")
    assert find_dataset(tmp_path).split == "train"
    make_competition(tmp_path, ["3,4,Axial T2"])
    assert find_dataset(tmp_path).split == "test"
    assert find_dataset(tmp_path, "train").studies[0].study_id == "1"


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "a,b\n1,2\n",
        HEADER + "\n",
        HEADER + "\n../1,2,Axial T2\n",
        HEADER + '\n"1,2,Axial T2\n',
        "\xff\xfe\0a",
    ],
)
def test_data_that_is_not_there_or_not_it(tmp_path, content):
    (tmp_path / "test_images").mkdir()
    if content is not None:
        (tmp_path / "test_series_descriptions.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataNotFoundError, match=str(tmp_path)):
        find_dataset(tmp_path)


def test_wrong_places(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "KAGGLE_INPUT", tmp_path)
    with pytest.raises(DataNotFoundError, match="--data"):
        find_dataset()
    make_competition(tmp_path, ["1,2,Axial T2"], images=False)
    (tmp_path / "test_images").rmdir()
    with pytest.raises(DataNotFoundError, match="test_images"):
        find_dataset(tmp_path)


# --- tables


def test_ids_are_text_and_rows_keep_their_order(tmp_path):
    make_competition(
        tmp_path, ["007,02,Axial T2", "007,01,Sagittal T1", "1e5,3,Axial T2", "007,002,Axial T2"]
    )
    expected = {"007": [("02", AXIAL_T2), ("01", SAGITTAL_T1), ("002", AXIAL_T2)], "1e5": [("3", AXIAL_T2)]}
    assert listed(tmp_path) == expected


@pytest.mark.parametrize(
    "bad", ["..", ".", "", "a/b", "/etc", "..\\x", "a\0b", "é", "a b", "-rf", "x" * 300, "nan/"]
)
def test_ids_that_could_be_paths_are_dropped(tmp_path, bad, caplog):
    make_competition(tmp_path, ["1,2,Axial T2"])
    with (tmp_path / "test_series_descriptions.csv").open("a") as table:
        table.write(f"{bad},3,Axial T2\n4,{bad},Axial T2\n")
    assert listed(tmp_path) == {"1": [("2", AXIAL_T2)]}
    assert "can not name folders" in caplog.text


def test_large_tables_read_in_seconds(tmp_path):
    rows = "".join(f"{i // 4},{i},Axial T2\n" for i in range(100_000))
    (tmp_path / "test_series_descriptions.csv").write_text(HEADER + "\n" + rows)
    (tmp_path / "test_images").mkdir()
    started = time.process_time()
    assert len(find_dataset(tmp_path).studies) == 25_000
    assert time.process_time() - started < 10  # a million rows: some 15 s


# --- the sample submission


def test_sample_rows_in_their_order(tmp_path, caplog):
    make_competition(tmp_path, ["1,2,Axial T2"])
    ids = [f"{study}_{name}" for study in ("9_b", "1") for name in reversed(SITE_NAMES)] + ["odd row"]
    (tmp_path / "sample_submission.csv").write_text("\n".join(["row_id,severe", *(f"{i},0.3" for i in ids)]))
    found = find_dataset(tmp_path)
    assert found.sample_ids == tuple(ids)
    assert [study.study_id for study in found.studies] == ["1", "9_b"]
    assert "odd row" in caplog.text
    lonely = read_study(found.studies[1])
    assert not lonely.volumes and [f.reason for f in lonely.faults] == ["no_series"]


def test_studies_that_the_sample_does_not_ask_for_are_named(tmp_path, caplog):
    make_competition(tmp_path, ["1,2,Axial T2", "2,3,Axial T2"])
    (tmp_path / "sample_submission.csv").write_text(f"row_id,severe\n1_{SITE_NAMES[0]},0.3\n")
    assert [study.study_id for study in find_dataset(tmp_path).studies] == ["1", "2"]
    assert "1 studies have no row in the sample submission" in caplog.text and "first: 2" in caplog.text


def test_no_sample_and_a_sample_without_rows_column(tmp_path):
    make_competition(tmp_path, ["1,2,Axial T2"])
    assert find_dataset(tmp_path).sample_ids is None
    (tmp_path / "sample_submission.csv").write_text("id,severe\n1,2\n")
    with pytest.raises(DataNotFoundError, match="row_id"):
        find_dataset(tmp_path)


# --- studies


def test_series_of_a_description_are_joined_in_patient_order(tmp_path):
    root = make_competition(tmp_path, ["1,10,Axial T2", "1,11,Sagittal T1", "1,12,Axial T2"])
    for series_id, bottom in (("10", 100.0), ("12", 0.0)):
        folder = root / "test_images/1" / series_id
        for n in (1, 2):
            write_slice(
                folder / f"{n}.dcm",
                InstanceNumber=n,
                ImageOrientationPatient=AXIAL,
                ImagePositionPatient=[0.0, 0.0, bottom + n],
                PixelSpacing=[0.5, 0.5],
            )
    study = read_study(find_dataset(root).studies[0])
    assert set(study.volumes) == {AXIAL_T2, SAGITTAL_T1} and not study.faults
    assert [h.series_id for h in study.volumes[AXIAL_T2].headers] == ["12", "12", "10", "10"]
    assert [h.position[2] for h in study.volumes[AXIAL_T2].headers] == [1, 2, 101, 102]


def test_a_study_never_raises_for_its_data(tmp_path, caplog):
    rows = [
        "1,10,Axial T2",
        "1,11,Sagittal T1",
        "1,12,Coronal T2",
        "1,13,",
        "1,14,sagittal T2/stir",
        "1,15,Axial T2",
    ]
    root = make_competition(tmp_path, rows)
    images = root / "test_images/1"
    for path in images.glob("10/*"):
        path.write_bytes(b"")
    for path in images.glob("11/*"):
        path.unlink()
    (images / "15/2.dcm").write_bytes(b"text")
    (images / "15/1.dcm").rename(images / "15/one")
    study = read_study(find_dataset(root).studies[0])
    assert set(study.volumes) == {SAGITTAL_T2, AXIAL_T2}
    assert len(study.volumes[AXIAL_T2]) == 1
    reasons = sorted((Path(fault.file).name, fault.reason) for fault in study.faults)
    assert reasons == [
        *[
            ("1.dcm", "empty_file"),
            ("10", "empty_file"),
            ("11", "empty_folder"),
            ("12", "unknown_description"),
        ],
        *[("13", "unknown_description"), ("2.dcm", "empty_file"), ("2.dcm", "not_dicom")],
    ]
    assert all(str(tmp_path) in fault.message or "study 1" in fault.message for fault in study.faults)


def test_study_without_images_and_images_without_study(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    root = make_competition(tmp_path, ["1,10,Axial T2", "2,20,Axial T2"])
    (root / "test_images/2").rename(root / "test_images/3")
    found = find_dataset(root)
    assert [study.study_id for study in found.studies] == ["1", "2"]
    assert "1 folders are not in the table" in caplog.text
    study = read_study(found.studies[1])
    assert not study.volumes and [fault.reason for fault in study.faults] == ["folder_missing"]


@pytest.mark.parametrize("tags", [{"ImagePositionPatient": None}, {"ImagePositionPatient": [1.0]}])
def test_an_order_without_positions_is_said(tmp_path, tags):
    root = make_competition(tmp_path, ["1,10,Sagittal T1"])
    folder = root / "test_images/1/10"
    for n in (3, 1, 2):
        write_slice(
            folder / f"{n}.dcm",
            InstanceNumber=4 - n,
            ImageOrientationPatient=SAGITTAL,
            PixelSpacing=[1, 1],
            **tags,
        )
    study = read_study(find_dataset(root).studies[0])
    volume = study.volumes[SAGITTAL_T1]
    assert volume.order_key == "InstanceNumber"
    assert [h.instance_number for h in volume.headers] == [1, 2, 3]
    malformed = {"malformed_tag"} if tags["ImagePositionPatient"] else set()
    assert {fault.reason for fault in study.faults} == {"no_position"} | malformed


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is not here")
def test_the_real_study(caplog):
    study = read_study(find_dataset(REAL).studies[0])
    assert not study.faults and not caplog.records
    assert {d: len(v) for d, v in study.volumes.items()} == {SAGITTAL_T2: 18, SAGITTAL_T1: 18, AXIAL_T2: 60}
    for description, volume in study.volumes.items():
        axis = 2 if description == AXIAL_T2 else 0
        along = np.array([h.position[axis] for h in volume.headers])
        assert (np.diff(along) >= 0).all() and volume.grid256.any(axis=(1, 2)).all()
        assert {h.orientation is not None and h.spacing is not None for h in volume.headers} == {True}
