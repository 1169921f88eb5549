"""Phantom files: RLE, the real files' oddities, the same bytes twice, read back by the kernel's reader."""

import csv
import hashlib
import json

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels.decoders.rle import _rle_decode_frame
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import DESCRIPTIONS, SITE_NAMES, SITES
from phantom import draw_study, study_truth, write_phantoms, write_study
from phantom.files import Tags, write_slice
from phantom.packbits import encode_rle


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 700),
    seed=st.integers(0, 10**6),
    run=st.sampled_from([1, 2, 3, 4, 127, 128, 129, 130, 256, 257, 400]),
)
def test_rle_is_what_pydicom_decodes(rows, columns, seed, run):
    rng = np.random.default_rng(seed)
    flat = np.repeat(rng.integers(0, 4096, rows * columns // run + 1), run)[: rows * columns]
    mixed = np.where(rng.random(flat.size) < 0.02, 4095, flat).astype(np.uint16)
    for values in (flat.astype(np.uint16), mixed):
        pixels = values.reshape(rows, columns)
        decoded = bytes(_rle_decode_frame(encode_rle(pixels), rows, columns, 1, 16))
        np.testing.assert_array_equal(np.frombuffer(decoded, "<u2").reshape(rows, columns), pixels)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two studies, written by two workers."""
    out = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantoms(out, studies=2, seed=8, workers=2)
    return out


def digests(folder):
    return {
        p.relative_to(folder): hashlib.sha256(p.read_bytes()).digest()
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.mark.slow
def test_same_bytes_on_any_number_of_workers(written, tmp_path):
    study = draw_study(8, 1)
    write_study(study, tmp_path, RLELossless)
    assert digests(tmp_path) == digests(written / "train_images" / str(study.study_id))


def test_the_competitions_layout(written):
    names = [
        "train.csv",
        "train_label_coordinates.csv",
        "train_series_descriptions.csv",
        "sample_submission.csv",
    ]
    tables = [list(csv.DictReader((written / name).open())) for name in names]
    labels, points, series, sample = tables
    assert list(labels[0]) == ["study_id", *SITE_NAMES] and len(labels) == 2
    assert {value for row in labels for value in row.values()} & {"Normal/Mild", "Moderate", "Severe"}
    assert list(points[0]) == ["study_id", "series_id", "instance_number", "condition", "level", "x", "y"]
    words = {(s.group.replace("_", " ").title(), s.level.upper().replace("_", "/")) for s in SITES}
    assert {(p["condition"], p["level"]) for p in points} <= words
    assert {row["series_description"] for row in series} == set(DESCRIPTIONS)
    assert len(sample) == 50 and {r["row_id"] for r in sample} == {
        f"{row['study_id']}_{name}" for row in labels for name in SITE_NAMES
    }
    truth = json.loads((written / "truth.json").read_text())["studies"]
    for row in labels:
        sites = truth[row["study_id"]]["sites"]
        for name in SITE_NAMES:
            expected = (
                ("Normal/Mild", "Moderate", "Severe")[sites[name]["grade"]] if sites[name]["labelled"] else ""
            )
            assert row[name] == expected
            assert sum(sites[name]["best_possible"]) == pytest.approx(1, abs=1e-5)


def test_real_files_oddities(written):
    for path in list(written.glob("train_images/*/*/1.dcm")):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == RLELossless
        assert dataset.file_meta.MediaStorageSOPClassUID.name == "Enhanced MR Image Storage"
        assert not {"SOPClassUID", "Modality", "Manufacturer", "RepetitionTime"} & set(dataset.dir())
        assert (dataset.BitsAllocated, dataset.BitsStored, dataset.PixelRepresentation) == (16, 12, 0)
        study, series, _ = path.parts[-3:]
        assert (
            dataset.PatientID == study and dataset.SOPInstanceUID == f"{study}.{series}.1"
        )  # not a real UID
        assert dataset.pixel_array.max() <= 4095


def test_read_back_by_the_kernel(written):
    """The reader's patient coordinates of a labelled point are the truth's."""
    truth = json.loads((written / "truth.json").read_text())["studies"]
    for ref in find_dataset(written, split="train").studies:
        study = read_study(ref)
        assert not study.faults and set(study.volumes) <= set(DESCRIPTIONS)
        for site in SITES:
            known = truth[study.study_id]["sites"][site.name]
            label, volume = known["on_slice"], study.volumes.get(site.description)
            if label is None or volume is None:
                continue
            keys = [(int(h.series_id), h.instance_number) for h in volume.headers]
            index = keys.index((label["series"], label["instance"]))
            at = volume.grid_to_patient(index, *volume.native_to_grid(index, label["y"], label["x"]))
            assert np.linalg.norm(np.subtract(at, known["point_mm"])) < 6.1  # the slice's distance
            # In the slice's plane exactly: the rest points across it.
            normal = np.cross(*np.reshape(volume.headers[index].orientation, (2, 3)))
            rest = np.subtract(at, known["point_mm"])
            assert np.linalg.norm(rest - (rest @ normal) * normal) < 0.01


@pytest.mark.parametrize(
    "syntax", [RLELossless, ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_transfer_syntax_holds_the_same_pixels(syntax, tmp_path):
    study = draw_study(8, 0)
    plan = next(iter(study.series.values()))
    pixels = np.random.default_rng(0).integers(0, 4096, plan.planes[0].shape).astype(np.uint16)
    tags = Tags(False, False, False, True, 1.0)
    write_slice(tmp_path / "1.dcm", pixels, plan.planes[0], plan, tags, (1, 2, 3), syntax)
    dataset = pydicom.dcmread(tmp_path / "1.dcm")
    np.testing.assert_array_equal(dataset.pixel_array, pixels)
    assert "SliceThickness" not in dataset and dataset.RescaleSlope == 1


def test_wrong_arguments_say_so(tmp_path):
    with pytest.raises(ValueError, match="transfer syntax"):
        write_phantoms(tmp_path / "a", 1, 0, transfer_syntax="1.2.3")
    with pytest.raises(ValueError, match="at least 1"):
        write_phantoms(tmp_path / "b", 0, 0)
    with pytest.raises(ValueError, match="got at least 4 axial series per study, expected 1 to 3"):
        write_phantoms(tmp_path / "b", 1, 0, axial_series=4)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="expected a new one"):
        write_phantoms(tmp_path, 1, 0)


def test_a_killed_run_leaves_nothing_that_stops_the_next(tmp_path, monkeypatch):
    def die(*_args, **_kwargs) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("phantom.dataset._write_tables", die)
        with pytest.raises(KeyboardInterrupt):
            write_phantoms(tmp_path / "new" / "a", 1, 0)
    assert not (tmp_path / "new" / "a").exists()
    write_phantoms(tmp_path / "new" / "a", 1, 0)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


def test_truth_knows_the_best_answer():
    study = draw_study(8, 0)
    sites = study_truth(study)["sites"]
    assert list(sites) == list(SITE_NAMES)
    np.testing.assert_allclose(
        [sites[n]["point_mm"] for n in SITE_NAMES], study.points + study.shift, atol=1e-3
    )
