"""File names at which a process that opens one dies or waits: for processes that a test starts indirectly.

Python imports ``sitecustomize`` at every start, also in workers and their readers.
"""

from pathlib import Path

import pytest

POISON, BARRIER = "poison.dcm", "barrier.dcm"
HOOK = f"""
import os, pathlib, signal, sys, time

folder = pathlib.Path(__file__).parent

def trap(event, arguments):
    if event != "open":
        return
    path = str(arguments[0])
    if path.endswith({POISON!r}):
        os.kill(os.getpid(), signal.SIGKILL)
    if path.endswith({BARRIER!r}) and not (folder / "open").exists():
        os.close(os.open(folder / "reached", os.O_CREAT))
        while not (folder / "open").exists():
            time.sleep(0.05)

sys.addaudithook(trap)
"""


def set_traps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes that this one starts from now on meet the traps.

    Args:
        folder: Has a file "reached" once a process waits; a file "open" lets all pass.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", str(folder))
