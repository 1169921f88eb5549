"""One function over many items, in processes beside this one."""

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_workers(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, chunk: int = 1
) -> Iterator[Result]:
    """Yield ``function(item)`` of every item, in order.

    An error, Ctrl-C or the end of the reader's interest drops the items that no worker has begun.

    Args:
        function: Must be importable, or a ``partial`` of such a function.
        items: Must pickle, as must the results.
        workers: Processes; with 1 or 0 this process does it all.
        chunk: Items that a worker takes at a time.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    # A fresh interpreter per worker: a forked OpenCV or torch thread pool can hang.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=keep_to_one_core)
    # The terminal sends Ctrl-C to every process. The workers inherit the mask, so this process alone answers it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        results = pool.map(function, items, chunksize=chunk)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield from results
    finally:
        pool.shutdown(cancel_futures=True)


def keep_to_one_core() -> None:
    cv2.setNumThreads(1)
