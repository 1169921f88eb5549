"""A recipe made in a test -> the TOML file that reads as it."""

import dataclasses
import json
from pathlib import Path

from training.recipes.schema import Recipe


def write_recipe(recipe: Recipe, folder: Path) -> Path:
    """Write ``FOLDER/NAME.toml`` and return its path."""
    values = dataclasses.asdict(recipe)
    file = folder / f"{values.pop('name')}.toml"
    members = {kind: values.pop(kind) for kind in ("networks", "detectors", "classifiers")}
    lines = [f"{key} = {toml(value)}" for key, value in values.items()]
    for kind, entries in members.items():
        for entry in entries:
            lines += ["", f"[[{kind}]]", *(f"{key} = {toml(value)}" for key, value in entry.items())]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def toml(value: object) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)  # text, numbers, true and false are spelled alike
