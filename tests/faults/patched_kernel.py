"""Faults from within a kernel: slow, hanging and failing parts, put in their places before it starts.

``worker_process`` calls these functions by name. Readers import those that run in a reader.
"""

import ctypes
import functools
import os
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
HUNG_AFTER = 2.0  # seconds a series, in place of 30


def as_no_root() -> None:
    """Let file modes count for root too, here and in every process started from here."""
    if os.geteuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def bad_readers(marks: str, seconds: float = HUNG_AFTER) -> None:
    """Let readers fail at studies by name, see ``read_badly``."""
    import lumbar.run.pipeline
    from lumbar.run.read_ahead import read_ahead

    read = functools.partial(read_badly, marks=Path(marks))
    lumbar.run.pipeline.read_ahead = functools.partial(read_ahead, read=read, seconds_per_series=seconds)


def hanging_reading(after: int) -> None:
    """Let the thread that reads hang once it has brought ``after`` studies."""
    import lumbar.run.pipeline
    from lumbar.run.read_ahead import read_ahead

    def read(*arguments, **options):
        for number, study in enumerate(read_ahead(*arguments, **options)):
            if number == after:
                time.sleep(3600)
            yield study

    lumbar.run.pipeline.read_ahead = read


def no_further_threads() -> None:
    """Refuse every thread once the first study is taken."""
    from lumbar.run.waiting_studies import WaitingStudies

    take = WaitingStudies.take

    def refuse(_):
        raise RuntimeError("can't start new thread")

    def take_and_refuse(studies, most):
        taken = take(studies, most)
        threading.Thread.start = refuse
        return taken

    WaitingStudies.take = take_and_refuse


def read_badly(ref, marks: Path):
    """Read a study; die, hang, raise, run out of memory or first stop, as its id determines."""
    from lumbar.reading.study import read_study

    kind, _, times = ref.study_id.partition("-")[0].partition("_")
    mark = marks / ref.study_id
    if times != "once" or not mark.exists():
        mark.touch()
        if kind == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "aborts":
            os.abort()
        elif kind == "hangs":
            time.sleep(3600)
        elif kind == "stops":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif kind == "raises":
            raise ValueError("on purpose")
        elif kind == "devours":
            held = [np.empty(2**27) for _ in range(1000)]  # 1 GiB each, untouched: the bound is met first
            raise AssertionError(len(held))
    return read_study(ref)


def slow_members(seconds: float, only: str = "") -> None:
    """Let every classifier (or only one) take that long for each detector's crops."""
    change_classify(lambda classifier, crops, *_: time.sleep(seconds * len(crops.index)), only)


def hanging_member(after: int) -> None:
    """Let a classifier hang once it has graded ``after`` studies."""
    seen = []

    def hang(*_):
        seen.append(1)
        if len(seen) > after:
            time.sleep(3600)

    change_classify(hang)


def signalled(number: int, after: int) -> None:
    """Let a signal come once a classifier has graded ``after`` studies."""
    seen = []

    def send(*_):
        seen.append(1)
        if len(seen) == after + 1:
            os.kill(os.getpid(), number)

    change_classify(send)


def failing_member(times: int, error: str, only: str = "") -> None:
    """Let a classifier raise the first ``times`` times that it runs."""
    import torch

    from lumbar.networks.device import NotFiniteError

    errors = {
        "nan": NotFiniteError("on purpose"),
        "bug": KeyError("on purpose"),
        "memory": MemoryError(),
        "allocator": RuntimeError("DefaultCPUAllocator: can't allocate memory: on purpose"),
        "cuda": torch.cuda.OutOfMemoryError("CUDA out of memory: on purpose"),
    }
    seen = []

    def fail(*_):
        seen.append(1)
        if len(seen) <= times:
            raise errors[error]

    change_classify(fail, only)


def change_classify(before, only: str = "") -> None:
    """Call ``before`` with the arguments of each classification; a NotFiniteError of its makes the grades NaN."""
    from lumbar.grading import ensemble, member_runs
    from lumbar.networks.device import NotFiniteError

    grade_crops = ensemble.grade_crops

    def changed(classifier, crops, runner):
        try:
            if not only or classifier.name == only:
                before(classifier, crops, runner)
        except NotFiniteError:
            return float("nan") * grade_crops(classifier, crops, runner)
        return grade_crops(classifier, crops, runner)

    ensemble.grade_crops = member_runs.grade_crops = changed


def small_device(largest: int) -> None:
    """Raise CUDA's out-of-memory error for every batch over ``largest`` images."""
    import torch

    from lumbar.networks.classifier import ClassifierNetwork

    features = ClassifierNetwork.features

    def bounded(self, images):
        if len(images) > largest:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory: on purpose")
        return features(self, images)

    ClassifierNetwork.features = bounded


def little_memory(megabytes: int) -> None:
    """Leave that much memory beyond the present use; readers have their own bound."""
    used = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmData")
    )
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + megabytes * 2**20, hard))


def small_files(size: int) -> None:
    """Refuse to let any file grow over ``size`` bytes: a full disk for who is not root."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def few_processes() -> None:
    """Refuse every further process: studies are read in the kernel's own, which also starts sooner."""
    import multiprocessing.context

    def refuse(*_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    multiprocessing.context.SpawnProcess._Popen = staticmethod(refuse)


def write_often() -> None:
    """Write the submission after every study."""
    import lumbar.run.run_state

    lumbar.run.run_state.SECONDS_BETWEEN_WRITES = 0.0
