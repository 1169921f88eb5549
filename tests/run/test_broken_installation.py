"""An entry script with a library that can't be imported ends with that library's error, not with one of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
LIBRARIES = ("numpy", "pandas", "torch")  # several, so that the first one comes soon
COMMANDS = {
    "kernel/infer.py": ["--data", "."],
    "kernel/train.py": ["recipe", "small", "--data", ".", "--out", "run"],
    "kernel/evaluate.py": ["--data", ".", "--submission", "submission.csv"],
    "kernel/archive.py": ["grade", "."],
    "build_dataset.py": ["build", "--owner", "a", "--slug", "b", "--out", "dist"],
}


@pytest.mark.parametrize("script", COMMANDS)
def test_the_error_names_the_library(script, tmp_path):
    if script == "kernel/archive.py":
        pytest.importorskip("pyarrow", reason="needs pyarrow, which is named where it is missing")
    path = CHECKOUT / script
    code = f"""
import runpy, sys
sys.modules |= dict.fromkeys({LIBRARIES})
sys.argv = {[script, *COMMANDS[script]]}
sys.path.insert(0, {str(path.parent)!r})
runpy.run_path({str(path)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    assert last.startswith("ModuleNotFoundError: import of "), done.stderr
    assert "During handling" not in done.stderr
