"""The SLURM script of kernel/README.md, with two local processes in place of its machines."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.making.labelled_competition import tiny_recipe, write_competition
from tests.making.orthanc import free_port
from tests.making.recipe_file import write_recipe
from tests.test_readme import KERNEL_README, blocks_of
from tests.training.test_ranks import KERNEL, WAIT, run_ranks
from training.fitting.loop import BEST

(SCRIPT,) = [block for block in blocks_of(KERNEL_README, "") if block.startswith("#!/bin/bash\n#SBATCH")]
COMMANDS = {
    "scontrol": '[ "$*" = "show hostnames two[1-2]" ] && printf "127.0.0.1\\nother\\n"',
    "srun": '"$@" & first=$!\n"$@" & wait $! && wait $first',  # the task of each machine
}


def test_its_syntax():
    subprocess.run(["bash", "-n"], input=SCRIPT, text=True, check=True)


@pytest.mark.long
@pytest.mark.timeout(2 * WAIT)
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_two_machines_train_what_two_ranks_of_one_train(tmp_path):
    recipe = tiny_recipe()
    networks = tuple(replace(n, schedule=replace(n.schedule, epochs=2, batch=2)) for n in recipe.networks)
    file = write_recipe(replace(recipe, networks=networks), tmp_path)
    data, name = write_competition(tmp_path / "data", studies=4), networks[0].name
    filled = {
        "--nproc-per-node 4": "--nproc-per-node 1",
        ":29500": f":{free_port()}",
        "RECIPE.toml": str(file),
        "NAME": name,
        "/shared/rsna": f"{data} --cache {tmp_path}/cache --device cpu",
        "/shared/runs/a": str(tmp_path / "two"),
    }
    script = SCRIPT
    for written, meant in filled.items():
        assert script.count(written) == 1, written
        script = script.replace(written, meant)
    for command, text in COMMANDS.items():
        (tmp_path / command).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / command).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    slurm = {"PATH": path, "SLURM_JOB_NODELIST": "two[1-2]", "SLURM_JOB_ID": "7", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        ["bash", "-c", script], cwd=KERNEL.parent, env=os.environ | slurm, check=True, timeout=WAIT
    )
    shared = [file, "--data", data, "--cache", tmp_path / "cache", "--device", "cpu", "--network", name]
    run_ranks(KERNEL / "train.py", "detector", *shared, "--out", tmp_path / "one")
    weights = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob(BEST)]
    assert weights
    for one in weights:
        assert (tmp_path / "one" / one).read_bytes() == (tmp_path / "two" / one).read_bytes(), one
    assert Path(tmp_path / "two/run.json").is_file()
