"""Archives need packages of their own; without them their tests are skipped, with a word."""

import importlib.util

import pytest

collect_ignore_glob: list[str] = []


def pytest_ignore_collect(collection_path):
    """Leave out modules that import pyarrow where it is missing; test_packages.py tests that."""
    missing = importlib.util.find_spec("pyarrow") is None
    return (
        True
        if missing and collection_path.name.startswith("test_") and not _needs_none(collection_path)
        else None
    )


def _needs_none(path) -> bool:
    return path.name == "test_packages.py"


@pytest.fixture
def ids() -> list[str]:
    return [f"study-{number:03d}" for number in range(40)]
