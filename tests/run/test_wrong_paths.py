"""Paths that can't serve are refused before anything is read or written: one message, its remedy, a status."""

import subprocess
import sys
from pathlib import Path

import pytest

import infer
from lumbar.faults import DataNotFoundError
from lumbar.reading.listing import find_dataset
from tests.making.small_study import write_studies

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


def status_of(*line: object) -> int:
    try:
        return infer.main([str(part) for part in line])
    except SystemExit as end:
        return end.code


def test_data_that_is_not_there_is_refused_at_once():
    """Before torch is imported, which takes seconds."""
    code = "import sys, infer; s = infer.main(['--data', '/nope']); sys.exit(99 if 'torch' in sys.modules else s)"
    done = subprocess.run([sys.executable, "-c", code], cwd=KERNEL, capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    assert done.stderr == (
        "infer.py: /nope: no such folder or file, expected the competition's folder, or a folder or .zip of DICOM; "
        "check --data\n"
    )


@pytest.mark.parametrize("root", ["nope", "a_file/below", "a_link"])
def test_find_dataset_refuses_it_in_the_same_words(tmp_path, root):
    (tmp_path / "a_file").touch()
    (tmp_path / "a_link").symlink_to("nowhere")
    for split in (None, "test"):
        with pytest.raises(DataNotFoundError, match="no such folder or file"):
            find_dataset(tmp_path / root, split)


def test_an_out_that_is_a_folder_is_refused(tmp_path, capsys):
    data, out = write_studies(tmp_path / "data"), tmp_path / "out"
    out.mkdir()
    assert status_of("--data", data, "--out", out) == 2
    assert (
        f"--out: {out} is a folder, expected a file to write; give a name in it, such as {out}/submission.csv"
        in (capsys.readouterr().err)
    )
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out"} and not list(out.iterdir())


@pytest.mark.parametrize("flag", ["--dump", "--report"])
def test_a_file_where_a_folder_is_to_be_written_is_refused(tmp_path, capsys, flag):
    data, taken = write_studies(tmp_path / "data"), tmp_path / "taken"
    taken.write_text("mine")
    assert status_of("--data", data, "--out", tmp_path / "s.csv", flag, taken) == 2
    assert f"{flag}: {taken} is a file, expected a folder; give another name" in capsys.readouterr().err
    assert taken.read_text() == "mine" and not (tmp_path / "s.csv").exists()


def test_a_split_that_is_not_there_names_the_one_that_is(tmp_path):
    data = write_studies(tmp_path / "data")
    with pytest.raises(DataNotFoundError) as raised:
        find_dataset(data, "train")
    assert str(raised.value) == (
        f"{data}: got no train_series_descriptions.csv, but test_series_descriptions.csv; give --split test, "
        "or leave --split out"
    )
    (data / "test_series_descriptions.csv").unlink()
    with pytest.raises(DataNotFoundError, match="or leave --split out for a folder of DICOM"):
        find_dataset(data, "train")
