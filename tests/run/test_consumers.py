"""One consumer per device: the same submission, one journal, and studies that survive the device that graded them."""

import contextlib
import multiprocessing.context
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.time_limit import Plan
from lumbar.networks.device import Device
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.run import consumer_process, pipeline
from lumbar.run.consumer import Consumer, DeviceLostError, Failure, Grading
from lumbar.run.consumer_process import RESTARTS, ConsumerProcess
from lumbar.run.consumers import open_consumers, side_by_side
from lumbar.run.options import RunOptions
from lumbar.run.shared_study import SharedStudy
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import write_tiny_bundle

CPU = Device(torch.device("cpu"), None, "test", batch=4)
PLAN, EVER = Plan(1, 1), float("inf")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    return write_studies(tmp_path_factory.mktemp("data")), write_tiny_bundle(
        tmp_path_factory.mktemp("bundle")
    )


def options(folders, out: Path, devices: str = "cpu") -> RunOptions:
    data, bundle = folders
    return RunOptions(
        data=data,
        bundle=bundle,
        out=out / "submission.csv",
        dump=out,
        devices=devices,
        precision="fp32",
        max_fallback_share=1.0,
        workers=2,
    )


@pytest.fixture(scope="module")
def alone(folders, tmp_path_factory) -> bytes:
    out = tmp_path_factory.mktemp("alone")
    torch.set_num_threads(1)  # as each of two consumers on two cores has
    pipeline.run(options(folders, out))
    return (out / "submission.csv").read_bytes()


def test_two_devices_write_the_same_submission(folders, alone, tmp_path):
    summary = pipeline.run(options(folders, tmp_path, "cpu,cpu"))
    assert (tmp_path / "submission.csv").read_bytes() == alone
    assert summary.about["device"] == "cpu, cpu" and summary.studies == 3
    assert summary.process_memory["cpu"]["process"] > 100
    assert not list(tmp_path.glob("*.journal"))


@dataclass(frozen=True)
class DeadlyClock:
    """A clock that kills its process the first ``times`` times that it is read in another one."""

    marks: Path
    times: int
    parent: int

    def __call__(self) -> float:
        for number in range(self.times if os.getpid() != self.parent else 0):
            with contextlib.suppress(FileExistsError):
                (self.marks / f"{number}").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return time.monotonic()


@pytest.mark.slow
def test_the_study_of_a_killed_process_is_graded_by_the_other_device(
    folders, alone, tmp_path, monkeypatch, caplog
):
    """One of two processes is killed while it grades, and is not started anew: the other grades all."""
    monkeypatch.setattr(consumer_process, "RESTARTS", 0)
    (tmp_path / "marks").mkdir()
    clock = DeadlyClock(tmp_path / "marks", 1, os.getpid())
    summary = pipeline.run(options(folders, tmp_path, "cpu,cpu"), clock)
    assert (tmp_path / "submission.csv").read_bytes() == alone
    assert summary.studies == 3
    assert "cpu: its process died with status -9, once too often" in caplog.text


def graded_by_a_dying_process(folders, marks: Path, times: int) -> list[GradedStudy | Failure]:
    data, bundle = folders
    marks.mkdir()
    studies = [SharedStudy.of(read_study(ref)) for ref in find_dataset(data).studies[:2]]
    clock = DeadlyClock(marks, times, os.getpid())
    consumer = ConsumerProcess(CPU, Grading(bundle, clock=clock), threads=1)
    try:
        consumer.wait_until_ready()
        return [outcome for _, outcome in consumer.grade(studies, PLAN, EVER)]
    finally:
        consumer.close()
        for study in studies:
            study.close()


@pytest.mark.slow
def test_a_process_that_dies_is_started_anew_and_its_studies_are_graded(folders, tmp_path):
    outcomes = graded_by_a_dying_process(folders, tmp_path / "marks", times=2)
    assert all(isinstance(one, GradedStudy) and one.members for one in outcomes)


@pytest.mark.long
def test_a_study_with_which_it_dies_twice_is_not_graded(folders, tmp_path):
    """It dies with both studies together, then twice with the first alone."""
    first, second = graded_by_a_dying_process(folders, tmp_path / "marks", times=3)
    assert first == Failure("grader_died", "the process that graded it died twice")
    assert isinstance(second, GradedStudy) and second.members


@pytest.mark.long
def test_a_process_that_dies_once_too_often_is_a_lost_device(folders, tmp_path):
    with pytest.raises(DeviceLostError, match="once too often"):
        graded_by_a_dying_process(folders, tmp_path / "marks", times=RESTARTS + 1)


@pytest.mark.slow
def test_a_device_that_is_not_there_is_left_out_and_without_any_the_cpu_computes(folders, caplog):
    _, bundle = folders
    card = Device(torch.device("cuda:9"), torch.float16, "test", batch=4)
    with open_consumers([CPU, card], Grading(bundle)) as consumers:
        assert [consumer.device for consumer in consumers] == [CPU]
    assert "cuda:9: no such CUDA device" in caplog.text
    with open_consumers([card, card], Grading(bundle)) as consumers:
        assert [str(consumer.device.torch) for consumer in consumers] == ["cpu"]


class LostAfter(Consumer):
    """A consumer that loses its device once it has graded a few studies."""

    def __init__(self, device: Device, grading: Grading, studies: int):
        super().__init__(device, grading)
        self.left = studies

    def grade(self, studies, plan, deadline):
        if self.left < len(studies):
            raise DeviceLostError("lost on purpose")
        self.left -= len(studies)
        return super().grade(studies, plan, deadline)


@pytest.mark.parametrize("left", [[0], [1], [0, 1], [3, 0], [0, 0]])
def test_the_studies_of_a_lost_device_are_graded_by_another(
    folders, alone, tmp_path, monkeypatch, caplog, left
):
    """Consumers that grade so many studies before their device is lost; the CPU takes over from the last one."""

    def opened(devices, grading):
        return contextlib.nullcontext([LostAfter(CPU, grading, studies) for studies in left])

    monkeypatch.setattr(pipeline, "open_consumers", opened)
    summary = pipeline.run(options(folders, tmp_path))
    assert (tmp_path / "submission.csv").read_bytes() == alone
    assert summary.studies == 3 and "lost on purpose" in caplog.text


class LostLast(Consumer):
    """A consumer that loses its device once the threads of all others have ended."""

    def grade(self, studies, plan, deadline):
        while sum("(drain)" in thread.name for thread in threading.enumerate()) > 1:
            time.sleep(0.01)
        raise DeviceLostError("lost on purpose")


def test_the_last_studies_of_a_lost_device_are_graded_without_another_thread(
    folders, alone, tmp_path, monkeypatch
):
    """Two of three devices have ended; one of them grades them in the thread of the run."""
    grading = Grading(folders[1])
    consumers = [LostLast(CPU, grading), Consumer(CPU, grading), Consumer(CPU, grading)]
    monkeypatch.setattr(pipeline, "open_consumers", lambda *_: contextlib.nullcontext(consumers))
    rounds = []

    def counted(streams):
        rounds.append(len(streams))
        return side_by_side(streams)

    monkeypatch.setattr(pipeline, "side_by_side", counted)
    assert pipeline.run(options(folders, tmp_path)).studies == 3
    assert (tmp_path / "submission.csv").read_bytes() == alone
    assert rounds == [3, 1]


def test_if_the_system_refuses_processes_for_devices_the_cpu_computes(folders, monkeypatch, caplog):
    def refuse(*_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.context.SpawnProcess, "_Popen", staticmethod(refuse))
    with open_consumers([CPU, CPU], Grading(folders[1])) as consumers:
        assert [type(consumer) for consumer in consumers] == [Consumer]
    assert caplog.text.count("its process can't be started") == 2


def test_streams_side_by_side_give_all_that_each_gives_and_pass_errors_on():
    def slow(items):
        for item in items:
            time.sleep(0.01)
            yield item

    assert sorted(side_by_side([slow(range(3)), slow(range(3, 9))])) == list(range(9))
    assert list(side_by_side([slow([1, 2])])) == [1, 2]

    def failing():
        yield 1
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        list(side_by_side([slow(range(5)), failing()]))
