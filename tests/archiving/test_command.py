"""``archive.py`` as users run it: files that kill readers, interrupts, and a study that is listed twice."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import archive
import infer
from archiving.study_index import StudyIndex
from phantom import write_phantoms
from tests.archiving.file_traps import BARRIER, POISON, set_traps
from tests.benchmarks.scaling import repeat_study
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import write_tiny_bundle

KERNEL = Path(archive.__file__).parent
FLAGS = ["--readers", "1", "--precision", "fp32"]
ON_CPU = [*FLAGS, "--device", "cpu"]
STUDIES, BARRED = 8, 6
SECONDS = 240  # for a busy machine: seconds at most, of each step


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("command-bundle"))


@pytest.fixture
def index(tmp_path) -> Path:
    return tmp_path / "archive"


def run(*arguments: object) -> None:
    assert archive.main([*map(str, arguments)]) == 0


def merged(place: Path) -> dict[str, bytes]:
    run("merge", place, "--csv")
    run("verify", place)
    return {file.name: file.read_bytes() for file in (place / "merged").iterdir()}


def ungraded(place: Path) -> dict[str, list[str]]:
    rows = pq.read_table(place / "merged/studies.parquet").to_pylist()
    return {r["study_id"]: [one["reason"] for one in r["faults"]] for r in rows if r["fallback"] == "prior"}


def test_a_file_that_kills_its_reader_costs_its_study_alone(bundle, index, tmp_path, monkeypatch, engine):
    data = write_studies(tmp_path / "data")
    (data / "test_images/2/21/2.dcm").rename(data / f"test_images/2/21/{POISON}")
    set_traps(tmp_path / "traps", monkeypatch)
    out = tmp_path / "infer/submission.csv"
    flags = ["--data", data, "--bundle", bundle, "--out", out, "--max-fallback-share", "1"]
    assert infer.main([*map(str, flags), "--devices", "cpu", "--workers", "1", "--precision", "fp32"]) == 0
    run("index", "--data", data, "--out", index, "--workers", "1")  # its sample of 20 has the file, too
    run("grade", index, "--bundle", bundle, *FLAGS, *engine)
    assert merged(index)["submission.csv"] == out.read_bytes()
    assert ungraded(index) == {"2": ["reader_died"]}
    assert not (index / "deaths.jsonl").exists()  # no worker died


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS)
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)]
)
def test_interrupted_and_run_again_the_tables_are_the_same(
    bundle, index, tmp_path, monkeypatch, number, status
):
    data = repeat_study(write_studies(tmp_path / "small"), "3", STUDIES, tmp_path / "data")
    barrier = data / f"test_images/{BARRED}/31/{BARRIER}"
    (barrier.parent / "1.dcm").rename(barrier)
    run("index", "--data", data, "--out", index, "--workers", "1")
    unbroken, traps = tmp_path / "unbroken", tmp_path / "traps"
    shutil.copytree(index, unbroken)
    run("grade", unbroken, "--bundle", bundle, *ON_CPU)
    set_traps(traps, monkeypatch)
    command = [sys.executable, KERNEL / "archive.py", "grade", index, "--bundle", bundle, *ON_CPU]
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True) as driver:
        wait_until((traps / "reached").exists)
        time.sleep(2.0)  # for the studies before to be graded
        workers = descendants(driver.pid)
        driver.send_signal(number)
        _, log = driver.communicate(timeout=SECONDS)
    assert driver.returncode == status, log
    assert log.splitlines()[-1].endswith("graded studies are committed. The same command goes on from there.")
    assert len(workers) >= 2
    wait_until(lambda: not [pid for pid in workers if Path(f"/proc/{pid}").exists()])
    left = sorted(path.name for path in index.rglob("*") if path.name.startswith("."))
    assert left == []
    run("verify", index)
    done = sum(pq.read_metadata(part).num_rows for part in (index / "studies").iterdir())
    assert 0 < done < STUDIES
    (traps / "open").touch()
    run("grade", index, "--bundle", bundle, *ON_CPU)
    assert merged(index) == merged(unbroken)
    assert len(list((index / "studies").iterdir())) == 2  # the first command's part, and the second one's


def wait_until(holds) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that these started."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def test_a_study_that_is_listed_twice_is_graded_once_and_both_places_are_named(index, tmp_path, capsys):
    write_phantoms(tmp_path / "phantoms", studies=2, seed=5)
    images = tmp_path / "phantoms/train_images"
    first, second = sorted(images.iterdir())
    shutil.copytree(first, images / "zz-copy")  # of the whole study
    series = sorted((images / second.name).iterdir())[-1]
    series.rename(images / "zz-part")  # a series of the other one lies apart
    run("index", "--data", images, "--out", index, "--workers", "1")
    assert "2 studies, " in (said := capsys.readouterr()).out.replace("\n", " ")
    assert "2 more entries repeat a study of these" in said.out and "repeated.csv" in said.out
    with (index / "index/repeated.csv").open() as file:
        rows = {row["not_graded"]: row for row in csv.DictReader(file)}
    files = {folder.name: str(len(list(folder.rglob("*.dcm")))) for folder in images.iterdir()}
    assert {Path(place).name for place in rows} == {"zz-copy", "zz-part"}
    for place, kept in (("zz-copy", first.name), ("zz-part", second.name)):
        row = rows[str(images / place)]
        assert row["graded_from"] == str(images / kept)
        assert (row["files"], row["files_not_graded"]) == (files[kept], files[place])
    found = StudyIndex(index / "index")
    assert (found.studies, found.rows) == (2, 4)
