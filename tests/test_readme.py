"""The README's commands are ones that the programs take, and its files are there."""

import re
import shlex
from pathlib import Path

import pytest

import build_dataset
import evaluate
import infer
import train

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    command.strip()
    for block in BLOCKS
    for line in block.splitlines()
    for command in line.split("&&")
    if re.match(r"\s*(\.venv/bin/)?python3? (kernel/\w+|build_dataset)\.py", command)
]
PARSERS = {
    "kernel/infer.py": infer.arguments,
    "kernel/train.py": train.parse,
    "kernel/evaluate.py": evaluate.parse,
    "build_dataset.py": build_dataset.parse,
}


def test_there_are_commands_of_every_program():
    assert {shlex.split(command)[1] for command in COMMANDS} == set(PARSERS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_its_program_takes(command):
    _, program, *flags = shlex.split(command)
    PARSERS[program](flags)


def test_the_files_of_the_map_are_there():
    tree = next(block for block in BLOCKS if block.startswith("kernel/infer.py"))
    inside = {path.name for path in (REPOSITORY / "kernel/lumbar").iterdir()}
    named = set(re.findall(r"[a-z_]+\.py", tree))
    rooms = {name for name in inside if name.endswith(".py")} - {"__init__.py"}
    assert rooms - named == set(), "rooms that the README does not name"
    top = {"infer.py", "train.py", "evaluate.py", "build_dataset.py", "reference.py"}
    assert named - rooms - top == set(), "rooms that the README names and that are gone"
