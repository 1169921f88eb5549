"""Workers on this machine: a process each, so that a study that kills one costs neither the driver nor the others.

A worker and its readers are a process group: they end together, also a reader that waits for a broken disk.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait

from archiving.engine import Died, Message, Ready
from archiving.study_index import IndexedStudy
from archiving.worker import WorkerSettings, make_worker

SECONDS_TO_EXIT = 0.1
SECONDS_TO_DIE = 5.0  # after a kill


class LocalEngine:
    """Processes of this machine; see ``Engine``.

    Attributes:
        devices: The device of each worker; one that is hired after a death takes over the dead one's.
    """

    def __init__(self, devices: Sequence[str], settings: WorkerSettings):
        self.workers = len(devices)
        self.free = list(devices)
        self.settings = settings
        self.processes: dict[int, tuple[multiprocessing.process.BaseProcess, Connection, str]] = {}
        self.hired = 0

    def hire(self) -> int:
        context = multiprocessing.get_context("spawn")  # a fork would copy CUDA's and OpenMP's state
        ours, theirs = context.Pipe()
        device = self.free.pop(0)
        level = logging.getLogger().getEffectiveLevel()
        # Not a daemon: those may not have processes of their own, which the readers are.
        process = context.Process(target=serve, args=(theirs, self.settings, device, level))
        try:
            process.start()
        finally:
            theirs.close()
        self.hired += 1
        self.processes[self.hired] = process, ours, device
        return self.hired

    def give(self, worker: int, studies: Sequence[IndexedStudy]) -> None:
        with contextlib.suppress(OSError):  # its end of the pipe closes at its death, which messages() meets
            self.processes[worker][1].send(list(studies))

    def messages(self, seconds: float) -> list[tuple[int, Message]]:
        places = {connection: number for number, (_, connection, _) in self.processes.items()}
        found: list[tuple[int, Message]] = []
        for connection in wait(list(places), timeout=seconds):
            worker = places[connection]
            try:
                while connection.poll():
                    found.append((worker, connection.recv()))
            except (EOFError, OSError):
                status = self.release(worker)
                found.append((worker, Died(f"its process ended with status {status}")))
        return found

    def end(self, worker: int) -> None:
        if worker in self.processes:
            self.release(worker)

    def release(self, worker: int) -> int | None:
        """Kill a worker's process, if it still lives, and its readers; return its exit status."""
        process, connection, device = self.processes.pop(worker)
        # Its end of the pipe may be closed: it is then about to die, by a status of its own.
        wait([process.sentinel], timeout=SECONDS_TO_EXIT)
        kill_group(process)
        process.join(SECONDS_TO_DIE)
        connection.close()
        self.free.append(device)
        return process.exitcode

    def close(self) -> None:
        for process, _, _ in self.processes.values():
            kill_group(process)
        for worker in list(self.processes):
            self.release(worker)


def kill_group(process: multiprocessing.process.BaseProcess) -> None:
    """Kill a worker that was not joined yet, so that its number is still its own, and its readers."""
    with contextlib.suppress(ProcessLookupError):  # it has not made its group yet
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def serve(connection: Connection, settings: WorkerSettings, device: str, level: int) -> None:
    """Grade the studies that the driver sends; end at once, with all readers, when the driver is gone."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.basicConfig(level=level, format=f"%(levelname)s %(name)s, {device} worker: %(message)s")
    try:
        worker = make_worker(settings, device)
    except Exception as error:
        with contextlib.suppress(OSError):
            connection.send(Died(f"{type(error).__name__}: {error}"))
        os._exit(1)

    def receive() -> None:
        try:
            while True:
                worker.give(connection.recv())
        except (EOFError, OSError):
            os.killpg(0, signal.SIGKILL)

    try:
        connection.send(Ready(worker.facts))
        threading.Thread(target=receive, daemon=True).start()
        for rows in worker.rows():
            connection.send(rows)
    except ConnectionError:  # the driver is gone
        os.killpg(0, signal.SIGKILL)
    except BaseException:
        logging.getLogger(__name__).exception("%s: the worker ends", device)
        os._exit(1)
