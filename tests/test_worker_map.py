"""Results come in order from any number of processes, an error reaches the caller, and waiting items are dropped."""

import os
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from lumbar.worker_map import map_in_workers


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def note(number: int, folder: Path) -> int:
    if number == 2:
        raise ValueError("two")
    (folder / str(number)).touch()
    return number


def note_at_the_gate(number: int, folder: Path) -> None:
    """Note an item; from the third on, wait for the gate first."""
    while number > 1 and not (folder / "gate").exists():
        time.sleep(0.05)
    (folder / str(number)).touch()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_are_in_order_whoever_computes_them(workers):
    results = list(map_in_workers(square, range(20), workers, chunk=3))
    assert [value for value, _ in results] == [number * number for number in range(20)]
    processes = {process for _, process in results}
    assert len(processes) <= max(1, workers) and (os.getpid() in processes) == (workers <= 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_ends_the_work(tmp_path, workers):
    results = map_in_workers(partial(note, folder=tmp_path), range(10_000), workers)
    with pytest.raises(ValueError, match="two"):
        list(results)
    assert len(list(tmp_path.iterdir())) < 10_000


def test_items_that_no_worker_has_begun_are_dropped(tmp_path):
    """Also those that the pool has handed out ahead: each phantom among them took seconds after Ctrl-C."""
    results = map_in_workers(partial(note_at_the_gate, folder=tmp_path), range(100), 2)
    next(results), next(results)
    gate = threading.Timer(2.0, (tmp_path / "gate").touch)
    gate.start()
    results.close()
    gate.join()
    assert {"0", "1"} < {path.name for path in tmp_path.iterdir()} <= {"0", "1", "2", "3", "gate"}
