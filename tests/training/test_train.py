"""train.py: its command lines, its small commands, and one line for input that can't be used."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import evaluate
import infer
import train
from lumbar.networks import device_choice
from tests.making.labelled_competition import tiny_recipe, write_competition
from tests.making.recipe_file import write_recipe
from training import commands
from training.errors import LabelError
from training.recipes.shipped import shipped_recipes

KERNEL = Path(train.__file__).parent
TRAINING = "--data D --out R"
TRAINED = {"data": Path("D"), "out": Path("R"), "cache": None, "imagenet": None, "strict": False}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("phantoms --out P", {"studies": 300, "seed": 0, "split": "train", "transfer_syntax": "1.2.840.10008.1.2.5"}),
        ("phantoms --out P --studies 2 --split test --seed 7", {"studies": 2, "split": "test", "seed": 7}),
        *((f"recipe {name} {TRAINING}", {"recipe": name, **TRAINED}) for name in shipped_recipes()),
        (f"recipe small {TRAINING} --imagenet hub --cache C", {"imagenet": "hub", "cache": Path("C")}),
        (f"detector small {TRAINING}", {"recipe": "small", "network": None, **TRAINED}),
        (f"detector small {TRAINING} --network n --threads 2", {"network": "n", "threads": 2}),
        (f"classifier small {TRAINING} --classifier c", {"classifier": "c", **TRAINED}),
        ("export R --out B --trained-on it", {"run": Path("R"), "weights": "weights", "name": None}),
        ("export R --out . --trained-on it --weights k/w", {"out": Path(), "weights": "k/w"}),
        ("imagenet F.whl --out I", {"file": Path("F.whl"), "out": Path("I")}),
    ],
)  # fmt: skip
def test_command_lines(line, expected):
    options = vars(train.parse(line.split()))
    assert options["command"] == line.split()[0]
    assert {name: options[name] for name in expected} == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        "unknown",
        "phantoms",
        "phantoms --out P --studies 0",
        "recipe small --data D",
        f"recipe small {TRAINING} --threads 0",
        f"classifier small {TRAINING}",
        "export R --out B",
        "imagenet --out I",
    ],
)
def test_command_lines_that_are_wrong(line, capsys):
    with pytest.raises(SystemExit) as ended:
        train.parse(line.split())
    assert ended.value.code == 2 and "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("phantoms --out {full}", "full"),
        ("phantoms --out {out} --transfer-syntax 1.2", "got transfer syntax 1.2, expected one of 1.2.840.10008.1.2.5"),
        ("recipe smal --data {data} --out {out}", "recipe: got 'smal', expected one of canal, family_a"),
        (
            "recipe smal --data {data} --out {out}",
            "tiny, wide_classifiers, wide_sagittal, FILE.toml. Did you mean 'small'?",
        ),
        ("recipe {empty}/none.toml --data {data} --out {out}", "none.toml: no such file"),
        ("recipe tiny --data {data} --out {out} --fold 9", "--fold: got 9, expected 0 to 4."),
        ("recipe tiny --data {empty} --out {out}", "{empty}"),
        ("detector tiny --data {data} --out {out} --network other", "--network: got 'other', expected one of"),
        ("classifier tiny --data {data} --out {out} --classifier other", "expected one of ['tiny-level', "),
        ("recipe tiny --data {data} --out {full}/file", "{full}/file"),
        ("recipe tiny --data {data} --out {out} --pretraining {empty}", "--pretraining: no network of tiny"),
        ("recipe tiny --data {data} --out {out} --extra-studies {data}", "--extra-studies: no network of tiny"),
        ("export {empty} --out {out} --trained-on it", "{empty}/run.json: no such file"),
        ("imagenet {empty}/none.whl --out {out}", "none.whl"),
        ("imagenet {full}/file --out {out}", "file: got a file without weights"),
    ],
)  # fmt: skip
def test_input_that_can_not_be_used_is_one_line_and_status_2(line, reason, tmp_path, capsys):
    places = {name: tmp_path / name for name in ("full", "empty", "data", "out")}
    places["empty"].mkdir()
    places["full"].mkdir()
    (places["full"] / "file").write_text("not a file of ours")
    if "{data}" in line:
        write_competition(places["data"], studies=1)
    recipe = write_recipe(tiny_recipe(), tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert train.main(line.replace(" tiny ", f" {recipe} ").format(**places).split()) == 2
    said = capsys.readouterr()
    assert said.err.startswith("train.py: ") and said.err.count("\n") == 1 and not said.out
    assert reason.format(**places) in said.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("flags", "bfloat16", "expected"),
    [
        ("", True, "fp32"),
        ("--precision fp32", True, "fp32"),
        ("--precision amp", True, "bfloat16"),
        ("--precision amp", False, "fp32"),
    ],
)
def test_precision_on_a_cpu(flags, bfloat16, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(device_choice, "cpu_has_bf16", lambda: bfloat16)
    monkeypatch.setattr(commands, "read_training_data", lambda paths, out: None)
    setups = []

    def refuse(recipe, setup, *rest):
        setups.append(setup)
        raise LabelError("seen enough")

    monkeypatch.setattr(commands, "run_recipe", refuse)
    assert train.main(f"recipe small --data {tmp_path} --out {tmp_path} --device cpu {flags}".split()) == 2
    assert setups[0].device.precision == expected


def test_help_loads_no_library_that_takes_seconds():
    heavy = ("torch", "timm", "pandas", "sklearn", "cv2", "pydicom", "matplotlib", "scipy")
    code = "import sys, train\ntry: train.parse(['--help'])\nfinally: "
    code += f"print(*{{*{heavy}}} & {{*sys.modules}}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=KERNEL, capture_output=True, text=True)
    assert (
        done.returncode == 0 and done.stderr.strip() == "" and "Without any data, on a laptop" in done.stdout
    )


def test_a_recipes_mistake_is_found_before_the_data_are_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(commands, "read_training_data", None)  # a call would fail
    recipe = write_recipe(tiny_recipe(), tmp_path)
    recipe.write_text(recipe.read_text().replace("test_convnext", "test_convnet"))
    assert train.main(["recipe", str(recipe), "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "has no network 'test_convnet'. Did you mean 'test_convnext'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_interrupted_training_says_that_it_goes_on(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "read_training_data", interrupted)
    recipe = write_recipe(tiny_recipe(), tmp_path)
    assert train.main(["recipe", str(recipe), "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err == "\ntrain.py: interrupted. The same command goes on where it stopped.\n"


@pytest.mark.long
def test_ctrl_c_ends_phantoms_and_their_workers_without_a_traceback(tmp_path):
    """The terminal sends Ctrl-C to the whole group of processes."""
    command = [
        sys.executable,
        "train.py",
        "phantoms",
        "--studies",
        "500",
        "--out",
        str(tmp_path / "phantoms"),
    ]
    running = subprocess.Popen(
        command, cwd=KERNEL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        while running.poll() is None and not list(tmp_path.glob(".phantoms.part/*/*/*/*.dcm")):
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGINT)
        said, error = running.communicate(timeout=60)
    finally:
        if running.returncode is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 130 and said == ""
    assert error == "\ntrain.py: interrupted. No study is kept.\n"
    assert not (tmp_path / "phantoms").exists()


def test_phantoms_say_where_they_are(tmp_path, capsys):
    out = tmp_path / "phantoms"
    assert train.main(["phantoms", "--studies", "1", "--workers", "1", "--out", str(out)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"1 studies in {out}: train_images/, their labels and truth.json"
    assert second.startswith("Phantom score over 2000 drawn studies: best possible 0.288")
    assert (out / "train_images").is_dir() and (out / "truth.json").is_file()


@pytest.mark.long
def test_the_tiny_recipe_goes_the_whole_path(tmp_path, monkeypatch):
    """The shipped recipe, for one epoch on three phantoms: train, export, infer and evaluate."""
    monkeypatch.chdir(tmp_path)
    assert train.main(["phantoms", "--studies", "3", "--seed", "1", "--out", "runs/phantoms"]) == 0
    assert (
        train.main(["recipe", "tiny", "--epochs", "1", "--data", "runs/phantoms", "--out", "runs/tiny"]) == 0
    )
    assert train.main(["export", "runs/tiny", "--out", "bundles/tiny", "--trained-on", "3 phantoms"]) == 0
    found = "--out runs/submission.csv --dump runs/seen"
    assert infer.main(f"--data runs/phantoms --bundle bundles/tiny {found}".split()) == 0
    judged = "--submission runs/submission.csv --points runs/seen/points.csv --members runs/seen/members.csv"
    assert evaluate.main(f"--data runs/phantoms {judged}".split()) == 0
