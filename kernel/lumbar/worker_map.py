"""One function over many items, in processes beside this one."""

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

no_more: Event | None = None  # in a worker: set when nobody wants results any more


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
    context = get_context("spawn")
    # The pool hands out more items than there are workers, and can't take those back.
    unwanted = context.Event()
    pool = ProcessPoolExecutor(workers, context, prepare_worker, (unwanted,))
    # The terminal sends Ctrl-C to every process. The workers inherit the mask, so this process alone answers it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        results = pool.map(partial(done_if_wanted, function), items, chunksize=chunk)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield from results
    finally:
        unwanted.set()
        pool.shutdown(cancel_futures=True)


def prepare_worker(unwanted: Event) -> None:
    """Keep a worker to one core, and let it know of the event."""
    global no_more
    no_more = unwanted
    cv2.setNumThreads(1)


def done_if_wanted(function: Callable[[Item], Result], item: Item) -> Result:
    """Return ``function(item)``, in a worker; CancelledError, which nobody reads, once no result is wanted."""
    if no_more and no_more.is_set():
        raise CancelledError
    return function(item)
