"""train.py: every command line it takes, what the small commands do, and one line on what can't be used."""

from pathlib import Path

import pytest

import train
from lumbar.networks import device
from tests.making.labelled_competition import tiny_recipe, write_competition
from training.errors import LabelError
from training.recipes.small import RECIPES

TRAINING = "--data D --out R"
TRAINED = {"data": Path("D"), "out": Path("R"), "cache": None, "imagenet": None, "strict": False}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("phantoms --out P", {"studies": 300, "seed": 0, "split": "train", "transfer_syntax": "1.2.840.10008.1.2.5"}),
        ("phantoms --out P --studies 2 --split test --seed 7", {"studies": 2, "split": "test", "seed": 7}),
        *((f"recipe {name} {TRAINING}", {"recipe": name, **TRAINED}) for name in RECIPES),
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
        "phantoms --out P --transfer-syntax 1.2",
        f"recipe unknown {TRAINING}",
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
def test_input_that_can_not_be_used_is_one_line_and_status_2(line, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(train.RECIPES, "tiny", tiny_recipe())
    places = {name: tmp_path / name for name in ("full", "empty", "data", "out")}
    places["empty"].mkdir()
    places["full"].mkdir()
    (places["full"] / "file").write_text("not a file of ours")
    if "{data}" in line:
        write_competition(places["data"], studies=1)
    before = sorted(tmp_path.rglob("*"))
    assert train.main(line.format(**places).split()) == 2
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
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: bfloat16)
    monkeypatch.setattr(train, "read_training_data", lambda paths, out: None)
    setups = []

    def refuse(recipe, setup, *rest):
        setups.append(setup)
        raise LabelError("seen enough")

    monkeypatch.setattr(train, "run_recipe", refuse)
    assert train.main(f"recipe small --data {tmp_path} --out {tmp_path} --device cpu {flags}".split()) == 2
    assert setups[0].device.precision == expected
