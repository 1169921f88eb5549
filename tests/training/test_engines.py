"""A recipe's jobs in one process, on Ray, and of one fold: the same weights, figures and predictions."""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import train
from lumbar.networks.device_choice import choose_device
from tests.making.labelled_competition import (
    SCHEDULE,
    tiny_recipe,
    training_data_of,
    training_setup,
    write_competition,
)
from tests.making.recipe_file import write_recipe
from tests.training.test_loop import small_network, small_task
from training.commands import check_engine
from training.errors import LabelError, RecipeError, TrainingError
from training.fitting.jobs import Job, one_after_another, plan_jobs
from training.fitting.loop import BEST, fit
from training.fitting.ray_jobs import ray_engine
from training.fitting.run_file import RUN_FILE

pytestmark = pytest.mark.slow

CLOCK = {"seconds", "train_seconds", "step_seconds"}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def ray(monkeypatch):
    """Let processes that Ray starts import the tests; skip without Ray."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")  # other tests' memory is no reason to end a job
    return pytest.importorskip("ray", reason="Ray is not installed (kernel/requirements-archive.txt)")


def two_fold_recipe():
    """Return a recipe of two networks, the second of which starts from the first, and a classifier, in two folds."""
    recipe, once = tiny_recipe(), replace(SCHEDULE, epochs=1)
    first, second = (replace(n, schedule=once, stage2_points="labels") for n in recipe.networks[:2])
    networks = first, replace(second, start_from=first.name)
    detectors = (replace(recipe.detectors[0], networks=(first.name, second.name)),)
    return replace(
        recipe,
        networks=networks,
        detectors=detectors,
        classifiers=recipe.classifiers[:1],
        folds=(0, 1),
        fold_count=2,
    )


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> list[str]:
    """Return the arguments of ``recipe`` but for --out."""
    root = tmp_path_factory.mktemp("engines")
    data, file = write_competition(root / "data"), write_recipe(two_fold_recipe(), root)
    flags = ["--data", data, "--cache", root / "cache", "--device", "cpu", "--threads", "1"]
    return ["recipe", *map(str, [file, *flags])]


@pytest.fixture(scope="module")
def serial(given, tmp_path_factory) -> Path:
    """Return the folder of the whole recipe's run in this process."""
    out = tmp_path_factory.mktemp("serial") / "run"
    assert train.main([*given, "--out", str(out)]) == 0
    return out


def outcome(run: Path, fold: str = "") -> dict[str, object]:
    """Return a run's weights and tables as bytes and its figures without the clock, of all folds or one."""
    files = [*run.rglob("*.safetensors"), *run.rglob("predictions.npz")]
    found: dict[str, object] = {
        str(file.relative_to(run)): file.read_bytes() for file in files if fold in file.parts or not fold
    }
    figures = json.loads((run / RUN_FILE).read_text())["figures"]
    return found | {name: without_clock(value) for name, value in figures.items() if name.endswith(fold)}


def without_clock(values):
    if isinstance(values, dict):
        return {name: without_clock(value) for name, value in values.items() if name not in CLOCK}
    return values


def test_one_fold_alone_is_that_fold_of_the_whole_run(given, serial, tmp_path):
    assert train.main([*given, "--out", str(tmp_path / "run"), "--fold", "1"]) == 0
    assert outcome(tmp_path / "run", "fold1") == outcome(serial, "fold1")
    assert len([name for name in outcome(serial, "fold1") if name.endswith(BEST)]) == 4


@pytest.mark.long
def test_a_recipe_on_ray_is_the_recipe_in_one_process(ray, given, serial, tmp_path):
    run = tmp_path / "run"
    assert train.main([*given, "--out", str(run), "--engine", "ray"]) == 0
    assert outcome(run) == outcome(serial)
    assert (run / "members.csv").read_bytes() == (serial / "members.csv").read_bytes()
    one, other = (json.loads((folder / RUN_FILE).read_text()) for folder in (run, serial))
    assert list(one["figures"]) == list(other["figures"])  # also in the same order
    assert {**one, "started": 0, "figures": 0} == {**other, "started": 0, "figures": 0}


def test_jobs_wait_for_those_that_they_need(tmp_path):
    recipe = two_fold_recipe()
    first, second = (network.name for network in recipe.networks)
    classifier = recipe.classifiers[0].name
    jobs = plan_jobs(recipe, recipe.networks, recipe.classifiers, {"100": 0, "101": 1}, tmp_path)
    points = (f"{first}/points", f"{second}/points")
    assert {job.name: job.after for job in jobs} == {
        f"{first}/fold0": (),
        f"{first}/fold1": (),
        points[0]: (f"{first}/fold0", f"{first}/fold1"),
        f"{second}/fold0": (f"{first}/fold0",),
        f"{second}/fold1": (f"{first}/fold1",),
        points[1]: (f"{second}/fold0", f"{second}/fold1"),
        f"{classifier}/fold0": points,
        f"{classifier}/fold1": points,
    }
    alone = plan_jobs(recipe, recipe.networks[1:], (), {"100": 0, "101": 1}, tmp_path)
    assert [job.after for job in alone] == [(), (), (f"{second}/fold0", f"{second}/fold1")]


def trained_with_a_death(folder: Path, setup) -> dict:
    """Train a small network; the process dies by SIGKILL in the third epoch of the first try."""
    torch.set_num_threads(1)
    task, mark = small_task(small_network()), folder / "died"
    losses, steps = task.losses, iter(range(1_000))

    def fatal(batch):
        if next(steps) == 7 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return losses(batch)

    schedule = replace(SCHEDULE, epochs=5, lr=1e-2)
    return fit(replace(task, losses=fatal), schedule, folder, setup.device, 1, "fatal")


def refused(setup) -> dict:
    raise LabelError("there is no label")


def after_it(file: Path, setup) -> dict:
    assert file.is_file()
    return {"seen": time.time()}


@pytest.mark.long
def test_a_job_that_dies_is_tried_again_and_one_that_fails_stops_those_after_it(ray, tmp_path):
    """The job that dies ends with the weights of an unbroken one. Jobs that do not need the failed one are done."""
    data = training_data_of(write_competition(tmp_path / "data", studies=2), tmp_path)
    dying, whole = tmp_path / "dying", tmp_path / "whole"
    whole.mkdir(), dying.mkdir()
    jobs = [
        Job("dying", (), partial(trained_with_a_death, dying)),
        Job("refused", (), refused),
        Job("after the refused", ("refused",), partial(after_it, whole / "never")),
        Job("after the dying", ("dying",), partial(after_it, dying / BEST)),
    ]
    done = {}
    with ray_engine(None, "cpu", 1, partial(choose_device, "cpu", "fp32")) as (device, engine):
        assert device.torch.type == "cpu"
        with pytest.raises(
            TrainingError, match=r"2 of 4 jobs are done\. refused: there is no label Correct the cause"
        ):
            done.update(engine(jobs, training_setup(data)))
    assert set(done) == {"dying", "after the dying"} and (dying / "died").is_file()
    (whole / "died").touch()
    ((_, unbroken),) = one_after_another(
        [Job("whole", (), partial(trained_with_a_death, whole))], training_setup(data)
    )
    assert (whole / BEST).read_bytes() == (dying / BEST).read_bytes()
    assert without_clock(unbroken) == without_clock(done["dying"])


def test_ray_that_is_not_there_is_named(given, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert train.main([*given, "--out", str(tmp_path / "run"), "--engine", "ray"]) == 2
    assert "pip install -r kernel/requirements-archive.txt" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "ranks", "reason"),
    [
        (["--address", "auto"], "1", "--address: this is the address of a Ray cluster. Add --engine ray"),
        (["--engine", "ray"], "2", "--engine ray: torchrun started this process"),
    ],
)
def test_engines_that_do_not_fit_are_refused(flags, ranks, reason, given, tmp_path, monkeypatch):
    options = train.parse([*given, "--out", str(tmp_path / "run"), *flags])
    monkeypatch.setenv("WORLD_SIZE", ranks)
    with pytest.raises(RecipeError, match=reason):
        check_engine(options)
