"""All output of the commands reaches every terminal, also one of ASCII alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys; sys.path[:0] = ["kernel"]
from lumbar.command_line import write_any_text
write_any_text(); print(sys.argv[1], "printed"); print(sys.argv[1], "printed", file=sys.stderr)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
@pytest.mark.parametrize("name", ["plain", "repört", "腰椎", os.fsdecode(b"broken\xff")])
def test_any_text_is_printed(encoding, name):
    env = os.environ | {"PYTHONIOENCODING": encoding}
    run = subprocess.run(
        [sys.executable, "-c", CODE, name], cwd=ROOT, env=env, capture_output=True, check=True
    )
    for stream in (run.stdout, run.stderr):
        assert b"printed" in stream and (name != "plain" or stream.startswith(b"plain"))


@pytest.mark.parametrize(
    "script", ["kernel/infer.py", "kernel/train.py", "kernel/evaluate.py", "build_dataset.py"]
)
def test_every_entry_script_does_so(script):
    assert "    write_any_text()\n" in (ROOT / script).read_text("utf-8")


def test_a_message_with_a_path_that_ascii_lacks(tmp_path):
    """The given path is in the one line that names the fault."""
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [
        sys.executable,
        ROOT / "kernel/infer.py",
        "--data",
        tmp_path / "ö",
        "--out",
        tmp_path / "ö.csv",
    ]
    run = subprocess.run(command, env=env, capture_output=True, encoding="ascii")
    assert run.returncode == 5 and r"\xf6" in run.stderr.splitlines()[-1]
