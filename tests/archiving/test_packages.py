"""Without the optional packages: the command that needs one names it, and nothing else needs any."""

import subprocess
import sys
from pathlib import Path

import pytest

import archive
from archiving import optional_packages

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


@pytest.mark.parametrize("command", ["grade", "status", "merge", "verify"])
def test_a_missing_package_is_asked_for_by_name(tmp_path, capsys, monkeypatch, command):
    monkeypatch.setattr(optional_packages.importlib.util, "find_spec", lambda name: None)
    assert archive.main([command, str(tmp_path)]) == archive.EXIT_USAGE
    message = capsys.readouterr().err
    assert "pyarrow" in message and "pip install -r kernel/requirements-archive.txt" in message


def test_a_folder_that_is_not_there_is_a_wrong_command_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        archive.main(["status", str(tmp_path / "none")])
    assert ended.value.code == 2
    assert "archive.py index makes it" in capsys.readouterr().err


def test_infer_loads_none_of_the_packages():
    names = ("ray", "pyarrow", "fsspec", "s3fs", "dicomweb_client", "archiving")
    code = f"import sys, infer, lumbar.run.pipeline; print(*[m for m in {names} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=KERNEL, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split()) - {"pyarrow", "fsspec"}  # pandas and torch load those two where they are
    assert loaded == set()
