"""The driver with stub workers: every study once, whatever dies, hangs or fails."""

import errno
import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from archiving import parts
from archiving.archive_folder import STUDIES, ArchiveError, ArchiveFolder
from archiving.merging import merge
from archiving.progress import read_progress
from archiving.verifying import problems
from lumbar.sites import SEVERITIES, SITE_NAMES
from tests.archiving.stub_archive import grade, index_of, make_archive
from tests.archiving.stub_worker import PRIOR, SlowStub, stub_rows


def check_whole(archive: ArchiveFolder, ids: list[str], failed: dict[str, str]) -> None:
    """Check that each study is there once, with its own grades, and the failed ones with the prior and the reason."""
    index = index_of(archive)
    assert list(problems(archive, index)) == []
    sites, _, studies = (pq.read_table(path) for path in merge(archive, index))
    assert Counter(studies["study_id"].to_pylist()) == Counter(ids)
    assert sites["site"].to_pylist() == list(SITE_NAMES) * len(ids)
    grades = np.column_stack([sites[name].to_numpy() for name in SEVERITIES]).reshape(len(ids), -1, 3)
    order = studies["study_id"].to_pylist()
    for study_id, rows in zip(order, grades, strict=True):
        expected = PRIOR if study_id in failed else stub_rows(study_id).probabilities
        assert np.array_equal(rows, expected), study_id
    reasons = {
        row["study_id"]: row["faults"][0]["reason"]
        for row in studies.select(["study_id", "fallback", "faults"]).to_pylist()
        if row["fallback"] == "prior"
    }
    assert reasons == failed


def test_every_study_is_graded_once(tmp_path, ids, monkeypatch):
    monkeypatch.setattr(parts, "PART_STUDIES", 7)
    archive = make_archive(tmp_path / "a", ids)
    grade(archive)
    check_whole(archive, ids, {})
    progress = read_progress(archive, index_of(archive))
    assert (progress.done, progress.failed, progress.running) == (40, 0, False)
    written = {path: path.read_bytes() for path in merge(archive, index_of(archive), csv=True)}
    grade(archive)  # nothing is left: no worker starts, no part is added
    assert {path: path.read_bytes() for path in merge(archive, index_of(archive), csv=True)} == written


def test_poison_costs_its_study_alone_and_deaths_outlive_the_driver(tmp_path, ids):
    ids[5], ids[6], ids[30] = "poison-a", "poison-b", "gone"  # two in one chunk
    archive = make_archive(tmp_path / "a", ids)
    (archive.path / "deaths.jsonl").write_text(json.dumps({"study_id": "poison-a"}) + '\n{"torn')
    grade(archive, tries=2)
    failed = {"poison-a": "worker_died", "poison-b": "worker_died", "gone": "study_gone"}
    check_whole(archive, ids, failed)
    lines = archive.deaths.read_text().splitlines()
    named = Counter(json.loads(line)["study_id"] for line in lines if line.endswith("}"))
    assert named == {"poison-a": 2, "poison-b": 2}  # one of them from before


def test_a_hanging_study_ends_by_its_own_limit(tmp_path, ids):
    ids[9] = "hang"
    archive = make_archive(tmp_path / "a", ids[:12])
    grade(archive, tries=1, seconds=1.0)
    check_whole(archive, ids[:12], {"hang": "worker_hung"})


def test_a_study_that_is_not_fetched_is_tried_again_and_a_source_that_is_down_stops(tmp_path, ids):
    ids[3] = "unfetched"
    archive = make_archive(tmp_path / "a", ids)
    grade(archive)
    check_whole(archive, ids, {"unfetched": "not_fetched"})
    down = make_archive(tmp_path / "b", [f"unfetched-{number}" for number in range(120)])
    with pytest.raises(ArchiveError, match=r"could not be fetched.*check the source"):
        grade(down)
    assert read_progress(down, index_of(down)).done == 0  # none got the prior for good


def test_a_full_disk_stops_and_the_same_command_goes_on(tmp_path, ids, monkeypatch):
    monkeypatch.setattr(parts, "PART_STUDIES", 8)
    archive = make_archive(tmp_path / "a", ids)
    write, count = parts.write_table, 0

    def full(path, table):
        nonlocal count
        count += 1
        if count == 5:  # the points of the second part
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, table)

    monkeypatch.setattr(parts, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        grade(archive)
    assert read_progress(archive, index_of(archive)).done == 8
    monkeypatch.setattr(parts, "write_table", write)
    grade(archive)
    check_whole(archive, ids, {})


def test_another_bundle_precision_or_index_is_refused_by_name(tmp_path, ids):
    archive = make_archive(tmp_path / "a", ids)
    grade(archive)
    for part in (archive.path / STUDIES).iterdir():
        part.unlink()  # as if there were work left
    with pytest.raises(ArchiveError, match=r"results of another bundle"):
        grade(archive, bundle="other")
    with pytest.raises(ArchiveError, match=r"results of another precision.*'amp'.*'fp32'"):
        grade(archive, precision="amp")
    file = archive.index / "index.json"
    file.write_text(file.read_text().replace(index_of(archive).sha256, "0" * 64))
    with pytest.raises(ArchiveError, match=r"results of another index"):
        grade(archive)


def test_a_second_driver_is_refused(tmp_path, ids):
    archive = make_archive(tmp_path / "a", ids)
    with archive.lock(), pytest.raises(ArchiveError, match="another index or grade command"):
        grade(ArchiveFolder(archive.path))


def test_a_worker_that_cannot_start_is_named(tmp_path, ids, monkeypatch):
    monkeypatch.setattr("archiving.driver.SECONDS_TO_NEXT_START", 0.0)
    archive = make_archive(tmp_path / "a", ids)
    with pytest.raises(ArchiveError, match=r"no worker starts.*no such bundle"):
        grade(archive, maker=broken, workers=1)


def broken(*_):
    raise ValueError("no such bundle")


def test_verify_names_what_is_damaged(tmp_path, ids):
    archive = make_archive(tmp_path / "a", ids)
    assert "no such file" in next(problems(archive, index_of(archive)))
    grade(archive, SlowStub)
    (name,) = archive.part_names()
    sites = archive.part("sites", name)
    content = sites.read_bytes()
    sites.write_bytes(content[:-9] + b"x" + content[-8:])
    assert "is not as it was written" in next(problems(archive, index_of(archive)))
    sites.unlink()
    assert "no such file" in next(problems(archive, index_of(archive)))
    sites.write_bytes(content)
    for table in ("sites", "points", "studies"):
        archive.part(table, f"copy-{name}").write_bytes(archive.part(table, name).read_bytes())
    assert "40 studies of other parts" in "".join(problems(archive, index_of(archive)))
    with pytest.raises(ArchiveError, match="expected each once"):
        merge(archive, index_of(archive))
