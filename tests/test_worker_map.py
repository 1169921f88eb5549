"""Results come in order from any number of processes, an error reaches the caller, and waiting items are dropped."""

import os
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
