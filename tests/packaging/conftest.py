"""Shared by the tests of a build: a tiny bundle, a checkout that nobody changes, a build of both."""

from pathlib import Path

import pytest

from dataset import building
from tests.making.tiny_bundle import build, copy_checkout, write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module", autouse=True)
def copied_checkout(tmp_path_factory):
    """Build from a copy, which nobody changes while the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "CHECKOUT", copy_checkout(tmp_path_factory.mktemp("checkout")))
        yield


@pytest.fixture
def dist(tmp_path, bundle) -> Path:
    assert build(tmp_path / "dist", bundle) == 0
    return tmp_path / "dist"
