"""Folders of DICOM without a table: grouped by UIDs or folders, described by their headers."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from lumbar.faults import DataNotFoundError
from lumbar.reading.header_scan import scan_files
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.dicom_writer import AXIAL, CORONAL, SAGITTAL, enhanced_dataset, picture, write, write_slice
from tests.making.small_study import write_studies

REAL = Path(__file__).parents[2] / "../shared/real/studies"
T1 = {"EchoTime": 10, "RepetitionTime": 600}
T2 = {"EchoTime": 100, "RepetitionTime": 3500}


def write_plain(
    folder: Path, study: str | None, series: str | None, count: int = 3, first: int = 0, **tags
) -> None:
    """Write ``count`` slices with nameless files from the place ``first`` on; orientation sagittal by default."""
    orientation = tags.pop("ImageOrientationPatient", SAGITTAL)
    for n in range(first, first + count):
        position = [0.0, 0.0, 0.0]
        position[2 if orientation is AXIAL else 0] = 5.0 * n
        where = {"ImagePositionPatient": position, "ImageOrientationPatient": orientation}
        where |= {"PixelSpacing": [0.5, 0.7]}
        uids = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "InstanceNumber": n + 1}
        name = f"IM{series or ''}{len(list(folder.glob('*'))) if folder.is_dir() else 0:05d}"
        write_slice(folder / name, picture(seed=n), **({"Modality": "MR"} | where | uids | tags))


def told(root: Path, **options) -> dict[str, dict[str, str]]:
    """Return the inferred description of every series, or why it was left out, by study and series."""
    found = find_dataset(root, **options)
    result: dict[str, dict[str, str]] = {}
    for d in found.decisions:
        result.setdefault(d["study_id"], {})[d["series_id"]] = d["description"] or d["reason"]
    used = {s.study_id: {one.series_id: one.description for one in s.series} for s in found.studies}
    assert all(used[study].items() <= series.items() for study, series in result.items())
    json.dumps(found.decisions, allow_nan=False)
    return result


def assert_same_volumes(one, two) -> None:
    assert one.volumes.keys() == two.volumes.keys()
    for description, volume in one.volumes.items():
        other = two.volumes[description]
        assert np.array_equal(volume.grid256, other.grid256) and volume.order_key == other.order_key
        assert [h.position for h in volume.headers] == [h.position for h in other.headers]


def test_files_anywhere_are_grouped_by_uid(tmp_path):
    for number, tags in enumerate((T1, T2, T2 | {"ImageOrientationPatient": AXIAL}), start=1):
        for study in (
            "1.2.3",
            "1.2.4",
        ):  # two studies in one folder, and each series in a folder of its own too
            write_plain(tmp_path / "all", study, f"{study}.{number}", **tags)
            write_plain(tmp_path / f"deep/{study}/x{number}", study, f"{study}.{number}", 1, 3, **tags)
    (tmp_path / "README.txt").write_text("no image")
    (tmp_path / ".hidden").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "loop").symlink_to(tmp_path)
    for study, series in told(tmp_path).items():
        assert series == {f"{study}.1": SAGITTAL_T1, f"{study}.2": SAGITTAL_T2, f"{study}.3": AXIAL_T2}
    found = find_dataset(tmp_path)
    assert [s.study_id for s in found.studies] == ["1.2.3", "1.2.4"] and found.sample_ids is None
    study = read_study(found.studies[0])
    assert {d: len(v) for d, v in study.volumes.items()} == {SAGITTAL_T1: 4, SAGITTAL_T2: 4, AXIAL_T2: 4}
    assert {h.series_id for h in study.volumes[AXIAL_T2].headers} == {"1.2.3.3"}
    assert not study.faults


def test_what_is_left_out_is_a_fault_of_its_study(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    series = {
        "1": T2,
        "2": T2 | {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        "3": T2 | {"ImageType": ["DERIVED", "SECONDARY", "MIP"]},
        "4": T2 | {"BodyPartExamined": "CSPINE"},
        "5": T2 | {"ImageOrientationPatient": CORONAL},
        "6": T1 | {"ImageOrientationPatient": AXIAL},
        "7": {},
        "8": T2 | {"ScanOptions": "FS"},
        "9": T1 | {"ContrastBolusAgent": "Gadovist"},
    }
    for number, tags in series.items():
        write_plain(tmp_path / number, "1.2", f"1.2.{number}", **tags)
    (tmp_path / "1/broken").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    reasons = ["localizer", "derived", "other_body_part", "other_plane", "other_sequence", "unknown_sequence"]
    expected = [SAGITTAL_T2, *reasons, "second_choice", SAGITTAL_T1]  # contrast: there is no plain T1
    assert list(told(tmp_path)["1.2"].values()) == expected
    (ref,) = find_dataset(tmp_path).studies
    faults = read_study(ref).faults
    assert {*reasons, "second_choice"} < {fault.reason for fault in faults}
    assert any("broken" in fault.file for fault in faults)
    assert "TE 100 ms" in caplog.text and "names 'cspine'" in caplog.text


def test_a_whole_study_is_not_blamed_for_what_it_holds_besides(tmp_path):
    """Every patient's folder has a localizer: it is among the decisions, and no fault as long as nothing lacks."""
    for number, tags in enumerate((T1, T2, T2 | {"ImageOrientationPatient": AXIAL}), start=1):
        write_plain(tmp_path, "1.2", f"1.2.{number}", SeriesNumber=number, SeriesDescription="x", **tags)
    write_plain(tmp_path, "1.2", "1.2.4", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **T2)
    write_plain(tmp_path, "1.2", "1.2.5", ImageOrientationPatient=CORONAL, **T2)
    found = find_dataset(tmp_path)
    assert found.studies[0].faults == ()
    assert [d["reason"] for d in found.decisions] == ["", "", "", "localizer", "other_plane"]
    assert [d["number"] for d in found.decisions] == [1, 2, 3, None, None]
    assert [d["files"] for d in found.decisions] == [3] * 5
    assert found.decisions[0]["text"] == "x" and str(tmp_path) not in found.decisions[3]["why"]
    write_plain(tmp_path, "1.2", "1.2.6")  # of an unknown kind: to be checked
    (ref,) = find_dataset(tmp_path).studies
    assert [fault.reason for fault in ref.faults] == ["unknown_sequence"]


def test_localizers_and_copies_inside_a_series(tmp_path):
    write_plain(tmp_path / "a", "1.2", "1.2.1", **T2)
    write_plain(tmp_path / "a", "1.2", "1.2.1", 1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **T2)
    shutil.copytree(tmp_path / "a", tmp_path / "copy of a")
    (ref,) = find_dataset(tmp_path).studies
    study = read_study(ref)
    assert len(study.volumes[SAGITTAL_T2]) == 3
    reasons = [fault.reason for fault in study.faults]
    assert reasons.count("duplicate") == 3 and reasons.count("localizer") == 2


def test_series_beside_one_another_are_joined_by_their_number(tmp_path):
    for series, number, first in (("1.2.1", 7, 0), ("1.2.2", 3, 3)):
        write_plain(tmp_path / series, "1.2", series, 3, first, SeriesNumber=number, **T2)
    (ref,) = find_dataset(tmp_path).studies
    assert [s.series_id for s in ref.series] == ["1.2.2", "1.2.1"]
    assert [h.series_id for h in read_study(ref).volumes[SAGITTAL_T2].headers] == ["1.2.1"] * 3 + [
        "1.2.2"
    ] * 3


def test_a_dual_echo_series_gives_its_t2(tmp_path):
    for echo in (20, 90):
        write_plain(tmp_path, "1.2", "1.2.1", EchoTime=echo, RepetitionTime=3500)
    assert told(tmp_path) == {"1.2": {"1.2.1": SAGITTAL_T2, "1.2.1-2": "other_sequence"}}
    assert len(read_study(find_dataset(tmp_path).studies[0]).volumes[SAGITTAL_T2]) == 3


def test_mutated_headers_are_read_or_refused(tmp_path):
    rng = np.random.default_rng(0)
    write_plain(tmp_path, "1.2", "1.2.1", 1, ImageType=["ORIGINAL", "PRIMARY"], **T2)
    dataset = enhanced_dataset(np.stack([picture(seed=n) for n in range(2)]), True)
    originals = [next(tmp_path.iterdir()).read_bytes(), write(dataset, tmp_path / "e").read_bytes()]
    for number in range(200):
        data = bytearray(originals[number % 2])
        for place in rng.integers(132, min(len(data), 1200), 1 + number % 8):
            data[place] = rng.integers(256)
        (tmp_path / "m").write_bytes(data)
        scan = scan_files([tmp_path])
        files = {str(header.path) for header in scan.headers} | {fault.file for fault in scan.faults}
        assert len(files) + scan.others.total() in (2, 3)
    told(tmp_path)


def test_folders_stand_for_missing_uids(tmp_path):
    for study in ("a b", "(c"):
        write_plain(tmp_path / study / "t1", None, None, SeriesDescription="T1")
        write_plain(tmp_path / study / "t2", None, None, SeriesDescription="T2")
    assert told(tmp_path) == {name: {"t1": SAGITTAL_T1, "t2": SAGITTAL_T2} for name in ("_c", "a_b")}
    assert list(told(tmp_path / "a b")) == ["a_b"]  # a study's own folder
    flat = tmp_path / "flat"
    for patient in ("x", "y"):
        write_plain(flat, None, None, SeriesDescription="T1", PatientID=patient)
    assert told(flat) == {"flat": {"flat": SAGITTAL_T1}, "flat-2": {"flat": SAGITTAL_T1}}


def test_hostile_uids_name_no_path(tmp_path):
    for number, uid in enumerate(("../../etc", "/etc/passwd", "..", "a,b\n", "=1")):
        write_plain(tmp_path / str(number), uid, uid, 1, SeriesDescription="T2")
    studies = find_dataset(tmp_path).studies
    assert len(studies) == 5
    for study in studies:
        assert Path(study.study_id).name == study.study_id and study.study_id not in ("..", ".")
        assert not set(study.study_id) & set("/\\,\n=")


def test_enhanced_files(tmp_path):
    dataset = enhanced_dataset(np.stack([picture(seed=n) for n in range(4)]), True)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SeriesDescription = "1.2", "1.2.1", "T2"
    write(dataset, tmp_path / "one")
    (ref,) = find_dataset(tmp_path).studies
    assert len(read_study(ref).volumes[AXIAL_T2]) == 4


def test_a_map_gives_what_the_table_gave(tmp_path, caplog):
    root = write_studies(tmp_path / "data")  # without UIDs, times and text: geometry alone
    studies = [read_study(ref) for ref in find_dataset(root).studies]
    table = shutil.move(root / "test_series_descriptions.csv", tmp_path / "map.csv")
    assert set(told(root)["1"].values()) == {"unknown_sequence"}
    with table.open("a") as file:
        file.write("9,9,Axial T2\n")
    for study, ref in zip(studies, find_dataset(root, series_map=table).studies, strict=True):
        assert study.study_id == ref.study_id
        assert_same_volumes(study, read_study(ref))
    assert "study 9, series 9" in caplog.text


def test_a_map_overrules_headers_and_tables(tmp_path, caplog):
    write_plain(
        tmp_path / "s", "1.2", "1.2.1", ImageType=["DERIVED", "SECONDARY"], BodyPartExamined="KNEE", **T1
    )
    write_plain(tmp_path / "s", "1.2", "1.2.2", **T1)
    table = tmp_path / "map.csv"
    table.write_text("study_id,series_id,series_description\n1.2,1.2.1,sag T2\n1.2,1.2.2,leave out\n")
    expected = {"1.2.1": SAGITTAL_T2, "1.2.2": "unknown_description"}
    assert told(tmp_path, series_map=table) == {"1.2": expected}
    root = write_studies(tmp_path / "data")
    table.write_text("study_id,series_id,series_description\n1,13,none\n7,7,Axial T2\n")
    first = find_dataset(root, series_map=table).studies[0]
    assert {s.series_id: s.description for s in first.series}["13"] == "none"
    assert "study 7, series 7" in caplog.text


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is not here")
def test_the_real_study_needs_no_table():
    (with_table,) = find_dataset(REAL).studies
    (without,) = find_dataset(REAL / "train_images").studies
    assert without.study_id == with_table.study_id
    study = read_study(without)
    assert_same_volumes(read_study(with_table), study)
    assert len(study.volumes) == 3 and not study.faults


def test_a_harmed_competition_is_no_plain_folder(tmp_path):
    root = write_studies(tmp_path)
    (root / "test_series_descriptions.csv").unlink()
    (root / "sample_submission.csv").write_text("row_id\n")
    with pytest.raises(DataNotFoundError, match="test_series_descriptions"):
        find_dataset(root)
    with pytest.raises(DataNotFoundError, match="--data"):
        find_dataset(tmp_path / "nowhere")


def spoil(path: Path) -> None:
    """Leave a file DICOM's mark, and nothing that can be read behind it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)


def test_unread_files_belong_to_somebody(tmp_path):
    """The study with files in the same folder, or the one with series beside it, or a study of their own."""
    write_plain(tmp_path / "a" / "t1", "1.1", "1.1.1", **T1)
    write_plain(tmp_path / "a" / "t2", "1.1", "1.1.2", **T2)
    for name in ("a/t1/bad", "a/axial/bad", "b/t1/bad", "b/t2/bad"):
        spoil(tmp_path / name)
    studies = {study.study_id: study for study in find_dataset(tmp_path).studies}
    assert {fault.file for fault in studies["1.1"].faults} == {
        str(tmp_path / "a/t1/bad"),
        str(tmp_path / "a/axial/bad"),
    }
    assert len(studies) == 2 and not studies["b"].series
    assert {fault.file for fault in read_study(studies["b"]).faults} >= {
        str(tmp_path / "b/t1/bad"),
        str(tmp_path / "b/t2/bad"),
    }


def test_series_right_under_the_root_share_what_is_unread_beside_them(tmp_path):
    write_plain(tmp_path / "t1", "1.1", "1.1.1", **T1)
    write_plain(tmp_path / "t2", "1.1", "1.1.2", **T2)
    spoil(tmp_path / "axial" / "bad")
    (study,) = find_dataset(tmp_path).studies
    assert [fault.file for fault in study.faults] == [str(tmp_path / "axial" / "bad")]


def test_an_unread_study_right_under_the_root_is_one(tmp_path):
    write_plain(tmp_path / "one", "1.1", "1.1.1", **T1)
    spoil(tmp_path / "two" / "bad")
    assert [study.study_id for study in find_dataset(tmp_path).studies] == ["1.1", "two"]
