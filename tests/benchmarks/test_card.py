"""The card's script without a card: its stages are there, and all that benchmarks import while they run."""

import ast
import importlib
from pathlib import Path

import pytest

from tests.benchmarks.card import __main__ as card
from tests.benchmarks.card.published import T4_RATE, TEST_STUDIES, t4_minutes
from tests.benchmarks.card.stage import bundle_folders
from tests.benchmarks.card.table import lines

BENCHMARKS = Path(__file__).parent
FILES = sorted(BENCHMARKS.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(BENCHMARKS)))
def test_all_imports_of_the_benchmarks_are_there(file):
    """Those within functions, too: a stage of the card's script imports when it starts, on a rented card."""
    imports = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    if any((node.module or "").startswith("archiving") for node in imports):
        pytest.importorskip("pyarrow", reason="needs pyarrow: pip install -r kernel/requirements-archive.txt")
    for node in imports:
        assert node.module
        module = importlib.import_module(node.module)
        for alias in node.names:
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")


def test_stages_have_a_function_and_their_bundles_a_folder(tmp_path):
    folders = bundle_folders(tmp_path)
    for stage in card.STAGES:
        kind, _, what = stage.partition(":")
        assert kind in card.KINDS
        assert kind not in ("run", "first") or what in folders
    assert card.COPIES.keys() == folders.keys()


def test_a_table_without_results_is_empty():
    """A stage that failed, or had no time left, has no lines."""
    assert lines({name: {"status": "time limit", "stage_seconds": 9.0} for name in card.STAGES}) == []


def test_a_t4_is_slower_by_what_it_lacks_most():
    seconds = 60 / TEST_STUDIES
    assert t4_minutes(seconds, T4_RATE, 1e9, cards=1) == pytest.approx(1)
    assert t4_minutes(seconds, 10 * T4_RATE, 4 * 320e9, cards=2) == pytest.approx(5)
    assert t4_minutes(seconds, 2 * T4_RATE, 4 * 320e9, cards=1) == pytest.approx(4)
