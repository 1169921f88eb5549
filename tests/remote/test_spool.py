"""Temporary folders of fetched studies: none outlives its reader, however that ends."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lumbar.reading.references import StudyRef
from lumbar.reading.sources.spool import LOCK, PREFIX, remove_abandoned, spool
from lumbar.reading.study import Study
from lumbar.run.read_ahead import read_ahead
from lumbar.run.reader_process import Unreadable

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder that spools lie in, here and in processes beside."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def spools(temporary: Path) -> list[Path]:
    return list(temporary.glob(f"{PREFIX}*"))


def read_in_spool(ref: StudyRef) -> Study:
    """Spool some files; the reader of the study "killed" dies amid them."""
    with spool() as folder:
        (folder / "file").write_bytes(b"x")
        if ref.study_id == "killed":
            os.kill(os.getpid(), 9)
        if ref.study_id == "broken":
            raise ValueError("broken")
        return Study(ref.study_id)


def test_a_spool_goes_with_its_block_and_with_an_error(temporary):
    with pytest.raises(ValueError, match="x"), spool() as folder:
        (folder / "inner").mkdir()
        (folder / "inner/file").write_bytes(b"x")
        raise ValueError("x")
    assert spools(temporary) == []


def test_a_dead_reader_leaves_no_spool_and_its_neighbours_are_read(temporary):
    refs = [StudyRef(name) for name in ("a", "killed", "b", "broken", "c")]
    answers = {ref.study_id: answer for ref, answer in read_ahead(refs, 2, read_in_spool)}
    assert answers["killed"].reason == "reader_died" and answers["broken"].reason == "reader_error"
    assert not any(isinstance(answers[name], Unreadable) for name in "abc")
    assert spools(temporary) == []


def test_the_spools_of_living_processes_stay(temporary):
    code = "import time\nfrom lumbar.reading.sources.spool import spool\n"
    code += "with spool(): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=KERNEL, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"held\n"
        with spool() as own:
            remove_abandoned()
            assert own.is_dir() and len(spools(temporary)) == 2
        process.kill()
        process.wait()
        assert len(spools(temporary)) == 1
        remove_abandoned()
        assert spools(temporary) == []


def test_a_folder_without_a_lock_may_be_new(temporary):
    """A process that was killed before it had its lock leaves a folder for a minute."""
    new, old = temporary / f"{PREFIX}new", temporary / f"{PREFIX}old"
    new.mkdir()
    old.mkdir()
    os.utime(old, (time.time() - 3600,) * 2)
    remove_abandoned()
    assert spools(temporary) == [new] and not (new / LOCK).exists()


def test_folders_of_other_programs_stay(temporary):
    (temporary / "other").mkdir()
    remove_abandoned()
    assert (temporary / "other").is_dir()
