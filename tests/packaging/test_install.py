"""``pip install -e .`` in a fresh environment: the installed package, nothing else, and the console scripts."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from lumbar import __version__, command_line
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import write_tiny_bundle

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = ("lumbar-infer", "lumbar-train", "lumbar-evaluate", "lumbar-dataset")
NOT_INSTALLED = ("training", "dataset", "phantom", "infer", "train", "evaluate", "build_dataset")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A virtual environment's bin folder, with this checkout installed and this environment's libraries at hand."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (own,) = folder.glob("lib/python3*/site-packages")
    (own / "libraries.pth").write_text("\n".join(libraries) + "\n")
    pip = [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*pip, "-e", REPOSITORY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run a command from another folder, without this process's ``PYTHONPATH``."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    given = list(map(str, command))
    return subprocess.run(
        given, cwd=cwd, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )


def test_only_lumbar_is_installed_with_its_version_and_requirements(installed, tmp_path):
    code = f"""
import importlib.metadata, importlib.util, json, sys
before = set(sys.modules)
import lumbar
loaded = sorted({{name.split(".")[0] for name in set(sys.modules) - before}})
about = importlib.metadata.distribution("lumbar")
found = [name for name in {NOT_INSTALLED} if importlib.util.find_spec(name)]
print(json.dumps([about.version, about.metadata["License-Expression"], about.requires, found, loaded]))
"""
    done = run(installed / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    version, licence, requires, found, loaded = json.loads(done.stdout)
    assert (version, licence, found) == (__version__, "Apache-2.0", [])
    wanted = [line for line in (REPOSITORY / "requirements.txt").read_text().splitlines() if line[0] != "#"]
    always = [one for one in requires if "extra ==" not in one]
    assert len(always) == len(wanted) and {"torch>=2.8", "pandas>=2.2.2"} <= set(always)
    assert set(loaded) <= {
        *sys.stdlib_module_names,
        "lumbar",
    }  # torch and the others only where they are used


@pytest.mark.parametrize("command", COMMANDS)
def test_every_console_script_says_its_version(installed, tmp_path, command):
    done = run(installed / command, "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"lumbar {__version__}\n"), done.stderr


def test_a_console_script_grades_with_readers_in_processes(installed, tmp_path):
    """The readers import the console script anew: it must be one that a new process can import."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    data = write_studies(tmp_path / "data")
    done = run(
        installed / "lumbar-infer", "--data", data, "--bundle", bundle, "--device", "cpu", cwd=tmp_path
    )
    assert done.returncode in (0, 3), done.stderr[-2000:]  # 3: a study lacks a series
    assert len((tmp_path / "submission.csv").read_text().splitlines()) == 1 + 3 * 25
    assert "reader_died" not in done.stderr


def test_a_package_without_its_checkout_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command_line, "CHECKOUT", tmp_path)
    for console_script in (
        command_line.infer,
        command_line.train,
        command_line.evaluate,
        command_line.dataset,
    ):
        assert console_script() == command_line.EXIT_NO_CHECKOUT
        message = capsys.readouterr().err
        assert str(tmp_path) in message and "pip install -e" in message
