"""Compiled classifiers: taken between groups where enough work is ahead, and never a condition of a run."""

import contextlib
import functools
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from lumbar.bundle.placement import ready_bundle
from lumbar.grading.study_grading import StudyGrader
from lumbar.grading.time_limit import Plan
from lumbar.networks.batch_runner import CACHE_VARIABLE
from lumbar.networks.device import Device
from lumbar.outputs.submission import read_submission
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.run import compiler_process, pipeline
from lumbar.run.compiler_process import GROUPS_MEASURED, WORTH_SECONDS, CompilerProcess
from lumbar.run.consumer import Consumer, Grading
from lumbar.run.options import RunOptions
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.random_bundle import random_classifier, random_detector, write_random_bundle
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import NETWORK

pytestmark = pytest.mark.slow

CARD = Device(torch.device("cpu"), None, "as on a card", batch=4, fixed_shapes=True)
ROUNDING = 1e-5  # of probabilities in float32: a compiler may sum in another order
BACKBONE = "test_byobnet"
START = CompilerProcess.start


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """Return three studies, and a bundle of two classifiers of one architecture."""
    torch.manual_seed(0)
    lengths = {SAGITTAL_T2: 6, SAGITTAL_T1: 6, AXIAL_T2: 6}
    detector = random_detector("tiny", "dynamic", lengths, NETWORK)
    members = [random_classifier(axis, BACKBONE, axis, "shift", factor=20) for axis in ("level", "all")]
    bundle = write_random_bundle(tmp_path_factory.mktemp("bundle"), [detector], members)
    return write_studies(tmp_path_factory.mktemp("data")), bundle


class StandIn(Consumer):
    """A consumer without a bundle."""

    def __init__(self, device: Device = CARD, error: str = ""):
        self.device, self.error, self.compiled = device, error, False

    def use_compiled(self) -> str:
        self.compiled = not self.error
        return self.error


@pytest.fixture
def started(monkeypatch) -> list[CompilerProcess]:
    """Return the compilers that would have started a process."""
    processes: list[CompilerProcess] = []
    monkeypatch.setattr(CompilerProcess, "start", lambda self: processes.append(self))
    return processes


def test_it_starts_once_enough_work_is_ahead(started):
    compiler = CompilerProcess(StandIn(), [BACKBONE])
    for _ in range(GROUPS_MEASURED - 1):
        compiler.learn(1.0, 10 * WORTH_SECONDS)
    assert not started, "the first group loads and plans"
    compiler.learn(1.0, WORTH_SECONDS - 1)
    assert not started
    assert (
        compiler.state
        == f"not worth it: {WORTH_SECONDS - 1:.0f} s of stage 2 ahead, below {WORTH_SECONDS:.0f}"
    )
    for _ in range(3):
        compiler.learn(2.0, WORTH_SECONDS)
    assert started == [compiler]


def test_a_slow_first_group_counts_for_nothing(started):
    """The published ensemble's first group may take minutes; only later ones show the pace."""
    compiler = CompilerProcess(StandIn(), [BACKBONE])
    for seconds in (100.0, 0.01, 0.01, 100.0):
        compiler.learn(seconds, WORTH_SECONDS)
    assert not started


@pytest.mark.parametrize(
    "device, wanted, state", [(CARD, False, "off"), (replace(CARD, fixed_shapes=False), True, "cards only")]
)
def test_it_never_starts_on_a_cpu_or_if_it_is_off(started, device, wanted, state):
    compiler = CompilerProcess(StandIn(device), [BACKBONE], wanted)
    for _ in range(GROUPS_MEASURED + 1):
        compiler.learn(1e6, 1e6)
        compiler.hand_over()
    assert not started and compiler.state == state


def die(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def answers(monkeypatch) -> list[str]:
    """Return the answers of the compilers' processes to come; without one, a process is killed at once."""
    given: list[str] = []

    def start(compiler: CompilerProcess) -> None:
        if not given:
            monkeypatch.setattr(compiler_process, "fill_cache", die)
            START(compiler)
            assert compiler.process
            compiler.process.join()
            return
        compiler.process = multiprocessing.Process()
        compiler.process.start()
        compiler.connection, theirs = multiprocessing.Pipe()
        theirs.send(given.pop())

    monkeypatch.setattr(CompilerProcess, "start", start)
    return given


@pytest.mark.parametrize(
    "answer, error",
    [
        (None, "the compiler's process died with status -9"),
        ("OSError: [Errno 28] No space left on device", "OSError: [Errno 28] No space left on device"),
    ],
)
def test_a_process_that_fails_is_logged_once(answers, caplog, answer, error):
    answers += [answer] if answer else []
    with contextlib.closing(CompilerProcess(StandIn(), [BACKBONE])) as compiler:
        compiler.start()
        for _ in range(3):
            compiler.hand_over()
        assert not compiler.consumer.compiled and compiler.state == f"failed to compile: {error}"
    assert [record.getMessage() for record in caplog.records] == [
        f"cpu: classifiers can't be compiled ({error}); they run as they are"
    ]


@pytest.mark.parametrize("error", ["", "InductorError: on purpose"])
def test_a_consumer_takes_compiled_passes_once_and_again_in_a_new_process(answers, error):
    answers.append("")
    consumer = StandIn(error=error)
    with contextlib.closing(CompilerProcess(consumer, [BACKBONE])) as compiler:
        compiler.start()
        compiler.hand_over()
        assert consumer.compiled == (not error)
        after = "compiled after 0 groups of studies"
        assert compiler.state == (f"failed to compile: {error}" if error else after)
        consumer.compiled = False  # its process was started anew
        compiler.hand_over()
        assert consumer.compiled == (not error)


@pytest.fixture
def no_code(monkeypatch):
    """Let torch.compile trace networks, which takes a second, and generate no code, which takes a minute."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    counters.clear()


def grades(grader: StudyGrader, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the points and probabilities of all studies."""
    graded = grader.grade([read_study(ref) for ref in find_dataset(data).studies], Plan(1, 2))
    points = [points.points for one in graded for points in one.detections["tiny"].points.values()]
    return np.concatenate(points), np.stack([p for one in graded for p in one.members.values()])


def test_one_compiled_pass_serves_all_networks_of_an_architecture(folders, no_code):
    data, bundle = folders
    grader = StudyGrader(ready_bundle(bundle, CARD), CARD)
    points, probabilities = grades(grader, data)
    grader.use_compiled()
    assert counters["stats"]["unique_graphs"] == 1
    compiled_points, compiled = grades(grader, data)
    np.testing.assert_array_equal(compiled_points, points)
    np.testing.assert_allclose(compiled, probabilities, atol=ROUNDING)
    assert counters["stats"]["unique_graphs"] == 1


def test_a_halved_batch_runs_as_it_is(folders, no_code):
    """It would be compiled anew, while the card waits."""
    data, bundle = folders
    grader = StudyGrader(ready_bundle(bundle, CARD), CARD)
    grader.use_compiled()
    grader.runner.halve("test", "out of memory")
    _, probabilities = grades(grader, data)
    assert not grader.runner.compiled and counters["stats"]["unique_graphs"] == 1
    assert np.isfinite(probabilities).any()


def test_a_compiler_that_raises_changes_nothing(folders, monkeypatch):
    data, bundle = folders
    consumer = Consumer(CARD, Grading(bundle))
    before = grades(consumer.grader, data)

    def broken(*_):
        raise RuntimeError("no C compiler\nin PATH")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    assert consumer.use_compiled() == "RuntimeError: no C compiler"
    assert not consumer.compiled and not consumer.grader.runner.compiled
    for one, other in zip(grades(consumer.grader, data), before, strict=True):
        np.testing.assert_array_equal(one, other)


def graded_run(folders, out: Path, monkeypatch, devices: int = 1, **options) -> tuple[Path, dict]:
    """Run the pipeline on stand-ins for cards; return the submission and what became of the compilers."""
    data, bundle = folders
    monkeypatch.setattr(pipeline, "choose_devices", lambda *_: [CARD] * devices)
    torch.set_num_threads(1)
    summary = pipeline.run(
        RunOptions(
            data=data, bundle=bundle, out=out / "submission.csv", max_fallback_share=1, workers=1, **options
        )
    )
    return out / "submission.csv", summary.as_dict()["compile"] | {"text": summary.text()}


@pytest.fixture
def at_once(monkeypatch):
    """Compile from the first group on."""
    monkeypatch.setattr(compiler_process, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(compiler_process, "GROUPS_MEASURED", 1)


@pytest.fixture
def waiting(monkeypatch, at_once):
    """Compile from the first group on, and wait for it."""

    def start(compiler: CompilerProcess) -> None:
        START(compiler)
        assert compiler.process
        compiler.process.join()

    monkeypatch.setattr(CompilerProcess, "start", start)


def test_a_run_goes_on_with_compiled_passes(folders, tmp_path, monkeypatch, at_once, answers, no_code):
    answers.append("")
    plain, state = graded_run(folders, tmp_path, monkeypatch, compile="off")
    assert state["cpu"] == "off" and "classifiers" not in state["text"].splitlines()[2]
    (tmp_path / "compiled").mkdir()
    compiled, state = graded_run(folders, tmp_path / "compiled", monkeypatch)
    assert state["cpu"] == "compiled after 1 groups of studies"
    assert f"cpu: classifiers {state['cpu']}" in state["text"]
    np.testing.assert_allclose(read_submission(compiled)[1], read_submission(plain)[1], atol=ROUNDING)


@pytest.mark.timeout(900)  # the compiler's own imports take longest
def test_a_run_without_a_compiler_writes_the_same_bytes(folders, tmp_path, monkeypatch, waiting):
    """The process fails by itself: the machine has no C++ compiler."""
    plain, _ = graded_run(folders, tmp_path, monkeypatch, compile="off")
    (tmp_path / "failed").mkdir()
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    failed, state = graded_run(folders, tmp_path / "failed", monkeypatch)
    assert state["cpu"].startswith("failed to compile: ")
    assert failed.read_bytes() == plain.read_bytes()


@pytest.mark.long
@pytest.mark.timeout(900)  # the compiler's own imports take longest
def test_consumers_in_processes_are_asked_too(folders, tmp_path, monkeypatch, at_once, answers, caplog):
    """Both devices' processes try and fail: the machine has no C++ compiler. The run goes on in them."""
    plain, _ = graded_run(folders, tmp_path, monkeypatch, compile="off")
    (tmp_path / "failed").mkdir()
    answers += ["", ""]
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    failed, state = graded_run(folders, tmp_path / "failed", monkeypatch, devices=2)
    assert failed.read_bytes() == plain.read_bytes()
    assert "classifiers can't be compiled (" in caplog.text and "its process died" not in caplog.text
    assert state["cpu"].startswith("failed to compile: ")


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler: apt-get install g++")
def test_the_compiler_fills_the_cache_that_a_run_takes_from(folders, tmp_path, monkeypatch, waiting):
    """Inductor itself, in its process and in the consumer: a minute on one core."""
    plain, _ = graded_run(folders, tmp_path, monkeypatch, compile="off")
    (tmp_path / "compiled").mkdir()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    torch._dynamo.reset()
    counters.clear()
    compiled, state = graded_run(folders, tmp_path / "compiled", monkeypatch)
    assert state["cpu"] == "compiled after 1 groups of studies"
    assert counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"] >= 1
    assert not counters["inductor"]["fxgraph_cache_miss"]
    np.testing.assert_allclose(read_submission(compiled)[1], read_submission(plain)[1], atol=ROUNDING)
