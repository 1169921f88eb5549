"""Archives need packages of their own; without them their tests are skipped, with a word."""

import importlib.util
import os

import pytest

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="needs Ray: pip install -r kernel/requirements-archive.txt",
)

NEEDS_NONE = "test_packages.py"  # it tests the messages where they are missing


class SkippedModule(pytest.Module):
    """A module that is not imported."""

    def collect(self):
        pytest.skip("needs pyarrow: pip install -r kernel/requirements-archive.txt", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    """Skip modules that import pyarrow where it is missing."""
    if importlib.util.find_spec("pyarrow") is None and module_path.name != NEEDS_NONE:
        return SkippedModule.from_parent(parent, path=module_path)
    return None


@pytest.fixture
def ids() -> list[str]:
    return [f"study-{number:03d}" for number in range(40)]


@pytest.fixture(params=["local", pytest.param("ray", marks=[needs_ray, pytest.mark.slow])])
def engine(request, monkeypatch) -> list[str]:
    """The flags of each engine, on the CPU."""
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    if request.param == "local":
        return ["--device", "cpu"]
    return ["--engine", "ray", "--gpus-per-worker", "0", "--workers", "1"]
