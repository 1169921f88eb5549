"""Workers as Ray Core actors, on one machine or a cluster.

Actors neither restart nor repeat a task: a restarting actor's handle raises for seconds, so the driver hires another.
References and rows travel; pixels never do.
"""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from archiving.archive_folder import ArchiveError
from archiving.engine import Died, Message, Ready
from archiving.optional_packages import need_packages
from archiving.study_index import IndexedStudy
from archiving.worker import WorkerSettings, make_worker
from lumbar.ray_cluster import ray_cluster

MOST_AT_ONCE = 64  # items of one worker per look, so that none waits for another


@dataclass(frozen=True)
class RayResources:
    """The share of a node that a worker takes.

    Attributes:
        address: Of the cluster; None starts one on this machine, "auto" finds that of this machine.
        gpus: Cards per worker; 0 computes on the CPU.
        workers: How many; None: as many as fit into the cluster now.
    """

    address: str | None = None
    gpus: float = 1.0
    workers: int | None = None


class RayEngine:
    """Actors of a Ray cluster; see ``Engine``."""

    def __init__(self, settings: WorkerSettings, resources: RayResources, device: str):
        """Connect to the cluster, or start one.

        Raises:
            MissingPackageError: Ray is not installed.
            ArchiveError: No cluster is at the address.
        """
        need_packages("ray")
        self.cluster = contextlib.ExitStack()
        try:
            self.ray = self.cluster.enter_context(ray_cluster(resources.address))
        except (ConnectionError, ValueError) as error:
            message = f"--address {resources.address}: got no Ray cluster ({error})"
            raise ArchiveError(f"{message}; start one: ray start --head") from error
        self.settings = settings
        self.device = device
        cpus, gpus = settings.readers, resources.gpus
        self.options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}
        self.options |= {"max_concurrency": 2}  # rows() runs for ever, give() beside it
        total = self.ray.cluster_resources()
        fit = min(total.get("CPU", 0) / cpus, total.get("GPU", 0) / gpus if gpus else float("inf"))
        self.workers = resources.workers or max(1, int(fit))
        self.actors: dict[int, object] = {}
        self.streams: dict[int, object] = {}
        self.hired = 0

    def hire(self) -> int:
        self.hired += 1
        actor = self.ray.remote(**self.options)(WorkerActor).remote(self.settings, self.device)
        self.actors[self.hired] = actor
        self.streams[self.hired] = actor.messages.options(num_returns="streaming").remote()
        return self.hired

    def give(self, worker: int, studies: Sequence[IndexedStudy]) -> None:
        self.actors[worker].give.remote(list(studies))

    def messages(self, seconds: float) -> list[tuple[int, Message]]:
        places = {stream: number for number, stream in self.streams.items()}
        if not places:
            return []
        ready, _ = self.ray.wait(list(places), num_returns=1, timeout=seconds, fetch_local=False)
        if ready:  # all others that have an item, too
            ready, _ = self.ray.wait(list(places), num_returns=len(places), timeout=0, fetch_local=False)
        return [(places[stream], one) for stream in ready for one in self.items(stream)]

    def items(self, stream) -> list[Message]:
        """Return the messages that a stream has now."""
        found: list[Message] = []
        while len(found) < MOST_AT_ONCE:
            try:
                found += self.ray.get(next(stream))
            except StopIteration:
                return [*found, Died("its actor ended")]
            except Exception as error:  # of Ray, or the actor's own
                return [*found, Died(f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}")]
            if not self.ray.wait([stream], timeout=0, fetch_local=False)[0]:
                break
        return found

    def end(self, worker: int) -> None:
        actor = self.actors.pop(worker, None)
        self.streams.pop(worker, None)
        if actor is not None:
            with contextlib.suppress(Exception):  # it is dead already
                self.ray.kill(actor)

    def close(self) -> None:
        for worker in list(self.actors):
            self.end(worker)
        self.cluster.close()


class WorkerActor:
    """The worker in an actor's process."""

    def __init__(self, settings: WorkerSettings, device: str):
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        self.worker = make_worker(settings, device)

    def messages(self):
        """Yield ``Ready``, and then lists of rows, for ever."""
        yield [Ready(self.worker.facts)]
        for rows in self.worker.rows():
            yield [rows]

    def give(self, studies: list[IndexedStudy]) -> None:
        """Add studies."""
        self.worker.give(studies)
