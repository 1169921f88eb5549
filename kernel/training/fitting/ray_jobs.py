"""A recipe's jobs on Ray: as many at a time as there are cards, or CPUs where there is no card.

Ray starts each job once the jobs before it are done. A job with a process that died, by a fault or with its machine, is
tried again and goes on from its checkpoint. All machines of a cluster share the run's folder and this checkout.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from lumbar.networks.device import Device
from lumbar.ray_cluster import ray_cluster
from training.errors import TrainingError
from training.fitting.jobs import Engine, Job
from training.fitting.train_detector import TrainingSetup

RETRIES = 3  # of a job with a process that died
Prepare = Callable[[], Device]


@contextmanager
def ray_engine(
    address: str | None, device: str, threads: int, prepare: Prepare
) -> Iterator[tuple[Device, Engine]]:
    """Yield the device that a job computes on, and the engine; Ray ends with the ``with`` block.

    Args:
        address: A running cluster's address, such as ``"auto"``; None starts Ray on this machine.
        device: ``"cuda"``: each job has a card. ``"cpu"``: none has. ``"auto"``: each has one if there is any.
        threads: CPUs of a job that has no card.
        prepare: Called in each job's process; returns its device.

    Raises:
        TrainingError: Ray is not installed, or no cluster is at the address.
    """
    with ExitStack() as stack:
        try:
            ray = stack.enter_context(ray_cluster(address, {"TQDM_DISABLE": "1"}))
        except ImportError as error:
            raise TrainingError(
                "--engine ray: Ray is not installed. Install it: pip install -r kernel/requirements-archive.txt"
            ) from error
        except (ConnectionError, ValueError) as error:
            raise TrainingError(
                f"--address {address}: got no Ray cluster ({error}). Start one: ray start --head"
            ) from error
        card = device == "cuda" or (device == "auto" and ray.cluster_resources().get("GPU", 0) > 0)
        needs = {"num_gpus": 1, "num_cpus": 1} if card else {"num_cpus": threads}
        remote = ray.remote(max_retries=RETRIES, **needs)
        yield ray.get(remote(prepared).remote(prepare)), partial(done_on_ray, remote(do), prepare)


def prepared(prepare: Prepare) -> Device:
    """Return the device of a job's process."""
    return prepare()


def do(job: Job, setup: TrainingSetup, prepare: Prepare, *_before: dict | None) -> dict | None:
    """Do a job in its own process. Ray waits for the results of the jobs before it."""
    return job.run(replace(setup, device=prepare()))


def done_on_ray(
    task: Any, prepare: Prepare, jobs: Sequence[Job], setup: TrainingSetup
) -> Iterator[tuple[str, dict | None]]:
    """Do the jobs in processes of their own; yield each one's name and figures as it is done.

    Raises:
        TrainingError: Jobs failed. Those that do not need them are done before.
    """
    import ray

    shared = ray.put(setup)
    results: dict[str, Any] = {}
    for job in jobs:
        results[job.name] = task.remote(job, shared, prepare, *(results[name] for name in job.after))
    waiting = {result: job for job, result in zip(jobs, results.values(), strict=True)}
    failed: dict[str, str] = {}
    while waiting:
        (result,), _ = ray.wait(list(waiting), num_returns=1)
        job = waiting.pop(result)
        try:
            yield job.name, ray.get(result)
        except ray.exceptions.RayError as error:
            failed[job.name] = " ".join(str(getattr(error, "cause", None) or error).split())
    first = [job for job in jobs if job.name in failed and not failed.keys() & set(job.after)]
    if first:
        causes = " ".join(f"{job.name}: {failed[job.name]}" for job in first)
        raise TrainingError(
            f"{len(jobs) - len(failed)} of {len(jobs)} jobs are done. {causes} Correct the cause, and give the same "
            "command again: it skips the finished jobs."
        )
