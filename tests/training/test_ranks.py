"""One training on two ranks: the gradients of one process, exact resume after a kill, and refusals by name."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import safetensors.torch
import torch

import train
from lumbar.networks.device_choice import choose_device
from tests.making.labelled_competition import SCHEDULE, tiny_recipe, write_competition
from tests.making.recipe_file import write_recipe
from tests.training import rank_steps
from tests.training.test_loop import small_network, small_task
from training.errors import RecipeError, TrainingError
from training.fitting.loop import BEST, CHECKPOINT, EPOCHS, OTHER_RANKS, RESULT, fit
from training.fitting.ranks import RankBatches, step_count, training_step
from training.recipes.augmentation import CropAugmentation
from training.recipes.checks import check_batches

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no torch.distributed"
)
KERNEL = Path(train.__file__).parent
WAIT = 240  # seconds


def start_ranks(*arguments: object, ranks: int = 2) -> subprocess.Popen:
    """Start a script by torchrun, on one thread per rank."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=KERNEL.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(KERNEL)},
    )


def run_ranks(*arguments: object, ranks: int = 2) -> str:
    """Run a script by torchrun to its end and return its output."""
    running = start_ranks(*arguments, ranks=ranks)
    said, error = running.communicate(timeout=WAIT)
    assert running.returncode == 0, error
    return said


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> Path:
    """Return the folder with the results of two ranks."""
    out = tmp_path_factory.mktemp("ranks")
    run_ranks("-m", rank_steps.__name__, out)
    return out


def both(folder: Path, step: str) -> list[dict[str, torch.Tensor]]:
    return [safetensors.torch.load_file(folder / f"{step}-{rank}.safetensors") for rank in (0, 1)]


def same_gradients(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Return whether gradients are the same parameters', and equal within 1e-4 of the largest one of a parameter."""
    return one.keys() == other.keys() and all(
        torch.allclose(gradient, other[name], rtol=0, atol=1e-4 * float(gradient.abs().max()) + 1e-9)
        for name, gradient in one.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("step", rank_steps.STEPS)
def test_two_ranks_step_as_one_process_does_with_the_whole_batch(step, two_ranks):
    network, losses, batch = rank_steps.STEPS[step]()
    alone, figures = rank_steps.gradients(network, training_step(network, losses), batch)
    first, second = both(two_ranks, step)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    for rank in (0, 1):
        assert json.loads((two_ranks / f"{step}-{rank}.json").read_text()) == pytest.approx(figures, abs=1e-5)
    if not figures["learns"]:
        assert not any(gradient.any() for gradient in first.values())
        return
    assert same_gradients(alone, first)
    assert any(gradient.abs().max() > 1e-4 for gradient in alone.values())


@pytest.mark.slow
def test_a_wrapped_network_averages_nothing_and_the_test_above_finds_it(two_ranks):
    network, losses, batch = rank_steps.STEPS["own_targets"]()
    alone, _ = rank_steps.gradients(network, training_step(network, losses), batch)
    first, second = both(two_ranks, rank_steps.TRAP)
    assert not same_gradients(first, second)
    assert not same_gradients(alone, first) and not same_gradients(alone, second)


@pytest.mark.slow
def test_an_interrupted_training_of_two_ranks_goes_on_as_an_unbroken_one(two_ranks):
    for name in (BEST, "epoch_2.safetensors"):
        assert (two_ranks / "unbroken" / name).read_bytes() == (two_ranks / "resumed" / name).read_bytes()
    assert curves(two_ranks / "unbroken" / EPOCHS) == curves(two_ranks / "resumed" / EPOCHS)


@pytest.mark.slow
def test_each_rank_has_random_numbers_of_its_own_and_goes_on_with_them(two_ranks, tmp_path):
    state = torch.load(two_ranks / "interrupted.pt", weights_only=True)
    (other,) = state[OTHER_RANKS]
    assert len(state["history"]) == 2 and not torch.equal(state["random"], other["random"])
    shutil.copy(two_ranks / "interrupted.pt", tmp_path / CHECKPOINT)
    with pytest.raises(
        TrainingError, match=rf"{CHECKPOINT}: got a training of 2 ranks, expected 1, as it is run now"
    ):
        fit(small_task(small_network()), SCHEDULE, tmp_path, choose_device("cpu", "fp32"), 1, "one process")


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("samples", range(1, 15))
def test_the_parts_of_all_ranks_are_the_batches_of_one_process(samples, ranks, monkeypatch):
    def batches(rank: int, count: int) -> list[list[int]]:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(count))
        return list(RankBatches(samples, 6, torch.Generator().manual_seed(3)))

    whole = batches(0, 1)
    assert sorted(chain(*whole)) == list(range(samples))
    parts = [batches(rank, ranks) for rank in range(ranks)]
    assert {len(part) for part in parts} == {step_count(samples, 6)}
    for step, batch in enumerate(whole[: step_count(samples, 6)]):
        assert sorted(chain(*(part[step] for part in parts))) == sorted(batch)
        assert all(part[step] for part in parts)
    left_out = whole[step_count(samples, 6) :]
    assert len(left_out) <= 1 and all(len(batch) < ranks for batch in left_out)


def test_a_batch_that_the_ranks_do_not_divide_is_refused():
    networks = tuple(replace(n, schedule=replace(SCHEDULE, batch=6)) for n in tiny_recipe().networks[:1])
    for ranks in (1, 2, 3, 6):
        check_batches(networks, (), ranks)
    with pytest.raises(
        RecipeError, match=r"schedule\.batch: got 6 studies for 4 ranks, expected a multiple of 4"
    ):
        check_batches(networks, (), 4)
    classifier = replace(
        tiny_recipe().classifiers[0],
        step1=replace(SCHEDULE, batch=2),
        step2=replace(SCHEDULE, batch=3),
        augmentation=CropAugmentation(cutmix=1.0),
    )
    with pytest.raises(RecipeError, match=r"step1\.batch: got one study for each of 2 ranks"):
        check_batches((), (classifier,), 2)
    with pytest.raises(RecipeError, match=r"step2\.batch: got 3 studies for 2 ranks"):
        check_batches((), (replace(classifier, augmentation=None),), 2)


def long_recipe():
    """Return a recipe with a training of several epochs in each stage, from a network's labelled points."""
    recipe, schedule = tiny_recipe(), replace(SCHEDULE, epochs=8, batch=2)
    networks = tuple(replace(n, schedule=schedule, stage2_points="labels") for n in recipe.networks)
    augmentation = CropAugmentation(flip_horizontal=0.5)
    classifier = replace(
        recipe.classifiers[0], step1=schedule, step2=schedule, augmentation=augmentation, detector="fixed"
    )
    return replace(recipe, networks=networks, classifiers=(classifier,))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Return the arguments of both commands but for --out: {command: arguments}."""
    root = tmp_path_factory.mktemp("ranks")
    data, recipe = write_competition(root / "data", studies=5), long_recipe()
    file = write_recipe(recipe, root)
    shared = [file, "--data", data, "--cache", root / "cache", "--device", "cpu"]
    return {
        "detector": ["detector", *shared, "--network", recipe.networks[0].name],
        "classifier": ["classifier", *shared, "--classifier", recipe.classifiers[0].name],
    }


def kill_ranks_after_an_epoch(arguments: list, out: Path, checkpoint: str) -> None:
    """Start two ranks, and send both SIGKILL once the checkpoint is there."""
    running = start_ranks(KERNEL / "train.py", *arguments, "--out", out)
    end = time.monotonic() + WAIT
    while not list(out.glob(checkpoint)) and running.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    assert running.poll() is None, running.communicate()[1]
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    assert len(children) >= 2
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)
    running.communicate(timeout=WAIT)
    assert running.returncode != 0 and list(out.glob(checkpoint)), "it ended before it was killed"


@pytest.mark.long
@pytest.mark.timeout(4 * WAIT)
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the ranks' numbers are read from /proc")
@pytest.mark.parametrize(
    ("command", "checkpoint"),
    [
        ("detector", f"networks/*/fold0/{CHECKPOINT}"),
        ("classifier", f"classifiers/*/fold0/step1/{CHECKPOINT}"),
        ("classifier", f"classifiers/*/fold0/step2/{CHECKPOINT}"),
    ],
)
def test_two_ranks_that_are_killed_and_go_on_end_as_two_unbroken_ones(
    command, checkpoint, given, tmp_path, capsys
):
    arguments, unbroken, killed = given[command], tmp_path / "unbroken", tmp_path / "killed"
    said = run_ranks(KERNEL / "train.py", *arguments, "--out", unbroken)
    assert said.count("studies in") == 1  # rank 0 alone prints
    kill_ranks_after_an_epoch(arguments, killed, checkpoint)
    (file,) = killed.glob(checkpoint)
    before = file.read_bytes()
    assert train.main([*map(str, arguments), "--out", str(killed)]) == 2
    assert f"{file}: got a training of 2 ranks, expected 1" in capsys.readouterr().err
    assert file.read_bytes() == before
    run_ranks(KERNEL / "train.py", *arguments, "--out", killed)
    weights = sorted(path.relative_to(unbroken) for path in unbroken.rglob("*.safetensors"))
    assert any(path.name == BEST for path in weights)
    for path in weights:
        assert (unbroken / path).read_bytes() == (killed / path).read_bytes(), path
    folder = file.parent.relative_to(killed)
    assert curves(unbroken / folder / EPOCHS) == curves(killed / folder / EPOCHS)
    assert (killed / folder / RESULT).is_file() and not list(killed.rglob(CHECKPOINT))


def curves(file: Path) -> list[list[str]]:
    """Return the rows of epochs.csv without the seconds."""
    names, *rows = (line.split(",") for line in file.read_text().splitlines())
    kept = [i for i, name in enumerate(names) if not name.endswith("seconds")]
    return [[row[i] for i in kept] for row in rows]


@pytest.mark.long
def test_an_error_of_rank_0_ends_all_ranks_with_one_line(given, tmp_path):
    recipe, *flags = given["detector"][1:]
    running = start_ranks(KERNEL / "train.py", "detector", recipe, *flags, "--out", tmp_path, ranks=3)
    error = running.communicate(timeout=WAIT)[1]
    assert running.returncode == 1  # torchrun's
    assert error.count("train.py: rank 0: ") == 1 and error.count("train.py: rank") == 1
    assert "schedule.batch: got 2 studies for 3 ranks, expected a multiple of 3" in error
    assert not list(tmp_path.iterdir())
