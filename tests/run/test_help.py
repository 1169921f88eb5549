"""``--help`` and ``--version`` of every entry answer at once: no library is imported before a command runs."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ENTRIES = {
    "kernel/infer.py": ((),),
    "kernel/train.py": ((), ("phantoms",), ("recipe",), ("detector",), ("classifier",), ("export",)),
    "kernel/evaluate.py": ((),),
    "kernel/archive.py": ((), ("index",), ("grade",), ("status",), ("merge",), ("verify",)),
    "build_dataset.py": ((), ("import",), ("build",), ("verify",)),
}
COMMANDS = [(entry, *words, "--help") for entry, commands in ENTRIES.items() for words in commands]
COMMANDS += [(entry, "--version") for entry in ENTRIES]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_imports_no_library(command):
    """Modules are counted, not seconds, because tests run side by side; ``RESULTS.md`` has the seconds."""
    code = f"""
import runpy, sys
before = set(sys.modules)
sys.argv = {list(command)}
sys.path.insert(0, {str((CHECKOUT / command[0]).parent)!r})
try:
    runpy.run_path({str(CHECKOUT / command[0])!r}, run_name="__main__")
finally:
    loaded = {{name.split(".")[0] for name in set(sys.modules) - before}}
    print("LIBRARIES", *sorted(loaded - sys.stdlib_module_names))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    *text, libraries = done.stdout.splitlines()
    own = {
        "lumbar",
        "archiving",
        "archive",
        "training",
        "dataset",
        "phantom",
        "infer",
        "train",
        "evaluate",
        "build_dataset",
    }
    assert set(libraries.split()[1:]) <= own
    assert "usage:" in text[0] or text[0].startswith("lumbar ")
