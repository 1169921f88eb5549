"""An archive's grades are infer.py's, bit for bit, by both engines; its faults and fallbacks too."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import archive
import infer
from lumbar.sites import SEVERITIES
from phantom import write_phantoms
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.slow

FLAGS = ["--precision", "fp32"]
PHANTOMS = 40


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A competition's folder with a damaged file, a bundle, and what infer.py makes of them."""
    root = tmp_path_factory.mktemp("graded")
    data = write_studies(root / "data")
    (data / "test_images/1/11/3.dcm").write_bytes(b"no dicom")
    (data / "test_images/3/33/1.dcm").unlink()
    return with_grades(root)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Forty phantoms, a bundle, and what infer.py makes of them."""
    root = tmp_path_factory.mktemp("phantoms")
    write_phantoms(root / "data", PHANTOMS, seed=23, split="test")
    return with_grades(root)


def with_grades(root):
    """Write a bundle and what infer.py makes of a folder's ``data``."""
    bundle, out = write_tiny_bundle(root / "bundle"), root / "infer"
    flags = ["--data", root / "data", "--bundle", bundle, "--out", out / "submission.csv", "--dump", out]
    infer.main([*map(str, flags), "--devices", "cpu", "--workers", "1", *FLAGS])
    return root


def grade(folders, path, *engine: str):
    assert archive.main(["index", "--data", str(folders / "data"), "--out", str(path), "--workers", "1"]) == 0
    flags = ["--bundle", str(folders / "bundle"), "--readers", "1", *FLAGS, *engine]
    assert archive.main(["grade", str(path), *flags]) == 0
    assert archive.main(["merge", str(path), "--csv"]) == 0
    assert archive.main(["verify", str(path)]) == 0
    return path / "merged"


def check_equal(folders, merged) -> int:
    """Check all tables; return the number of sites with grades."""
    out = folders / "infer"
    # A sample submission, which phantoms have, gives infer.py an order of its own.
    ours, theirs = ((folder / "submission.csv").read_bytes() for folder in (merged, out))
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())
    sites = pq.read_table(merged / "sites.parquet").to_pylist()
    findings = {}
    for file in (out / "findings").glob("*.json"):
        findings |= {(file.stem, one["site"]): one for one in json.loads(file.read_text())["findings"]}
    graded = 0
    for row in sites:
        found = findings[row["study_id"], row["site"]]
        if found["probabilities"] is None:
            assert row["fallback"] == "prior"
            continue
        graded += 1
        assert {name: row[name] for name in SEVERITIES} == found["probabilities"]  # all 64 bits
        point = found["points"][0]
        assert (row["row"], row["column"]) == (point["row"], point["column"])
        assert [row["x_mm"], row["y_mm"], row["z_mm"]] == (point["patient_mm"] or [None] * 3)
    run = json.loads((out / "run.json").read_text())
    studies = pq.read_table(merged / "studies.parquet").to_pylist()
    told = [{"study_id": row["study_id"]} | fault for row in studies for fault in row["faults"]]
    assert sorted(map(str, told)) == sorted(map(str, run["faults"]))
    assert {r["study_id"]: r["fallback"] for r in studies if r["fallback"]} == {
        fallback["study_id"]: fallback["fallback"] for fallback in run["fallbacks"]
    }
    with (out / "points.csv").open() as file:
        expected = sorted(
            (r["study_id"], r["detector"], r["site"], int(r["offset"])) for r in csv.DictReader(file)
        )
    points = pq.read_table(merged / "points.parquet")
    assert (
        sorted((r["study_id"], r["detector"], r["site"], r["offset"]) for r in points.to_pylist()) == expected
    )
    assert np.isfinite(points["value"].to_numpy()).all()
    return graded


def test_damaged_studies(folders, tmp_path, engine):
    assert check_equal(folders, grade(folders, tmp_path / "a", *engine)) > 40


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_forty_phantoms(phantoms, tmp_path, engine):
    assert check_equal(phantoms, grade(phantoms, tmp_path / "a", *engine)) == 25 * PHANTOMS
