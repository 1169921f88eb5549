"""The run's options and the command line's flags are one list."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import infer
from lumbar.run.options import RunOptions, read_options

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


def test_no_flags_give_the_options_defaults():
    assert read_options(infer.arguments([]), started=0.0) == RunOptions(started=0.0)


def test_every_option_has_a_flag_that_sets_it():
    given = {
        "data": ("D", Path("D")),
        "split": ("train", "train"),
        "series": ("m.csv", Path("m.csv")),
        "bundle": ("B", Path("B")),
        "missing": ("zero", "zero"),
        "out": ("o.csv", Path("o.csv")),
        "dump": ("seen", Path("seen")),
        "structured_reports": (None, True),
        "secondary_capture": (None, True),
        "pdf": (None, True),
        "calibration": (None, False),
        "report": ("R", Path("R")),
        "report_size": ("small", "small"),
        "devices": ("cuda:0,cuda:1", "cuda:0,cuda:1"),
        "precision": ("fp32", "fp32"),
        "compile": ("off", "off"),
        "time_limit": ("90m", 5400.0),
        "max_fallback_share": ("1", 1.0),
        "workers": ("3", 3),
    }
    spelled = {"structured_reports": "--sr", "calibration": "--no-calibration"}
    line = []
    for name, (text, _) in given.items():
        line += [spelled.get(name, "--" + name.replace("_", "-"))]
        line += [] if text is None else [text]
    options = read_options(infer.arguments(line), started=1.0)
    assert dataclasses.asdict(options) == {name: value for name, (_, value) in given.items()} | {
        "started": 1.0
    }


def test_kaggle_has_a_time_limit_and_others_have_none(monkeypatch):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    assert infer.arguments([]).time_limit == 8.5 * 3600
    assert infer.arguments(["--time-limit", "1h"]).time_limit == 3600
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE")
    assert infer.arguments([]).time_limit is None


@pytest.mark.parametrize(
    "flags",
    [
        ["--workers", "0"],
        ["--max-fallback-share", "1.5"],
        ["--time-limit", "-1h"],
        ["--devices", "tpu"],
        ["--devices", "cuda:0,cpu"],
        ["--devices", ""],
        ["--sr"],
        ["--secondary-capture"],
        ["--pdf"],
    ],
)
def test_a_wrong_command_line_ends_with_2(flags):
    with pytest.raises(SystemExit) as end:
        infer.main(flags)
    assert end.value.code == 2


def test_the_command_line_is_read_without_torch():
    code = "import sys, infer; infer.arguments([]); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=KERNEL, check=True)
