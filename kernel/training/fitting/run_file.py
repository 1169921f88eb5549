"""``run.json`` of a run's folder: its recipe, its data, and the figures so far."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from training.errors import LabelError
from training.recipes.schema import Recipe

RUN_FILE = "run.json"
RUN_FORMAT = 2  # 1, unnumbered, had other names for a recipe's fields


def read_run(folder: Path) -> dict:
    """Return the content of a run's ``run.json``.

    Raises:
        LabelError: There is no ``run.json``, or it is of another format.
    """
    file = folder / RUN_FILE
    if not file.is_file():
        raise LabelError(f"{file}: no such file, expected a recipe's run folder; check RUN")
    about = json.loads(file.read_text("utf-8"))
    check_format(file, about)
    return about


def check_format(file: Path, about: dict) -> None:
    """Raise LabelError for the run of another version of this program."""
    if (got := about.get("format", 1)) != RUN_FORMAT:
        raise LabelError(
            f"{file}: got a run of format {got}, expected {RUN_FORMAT}. A recipe's fields had other names then. Give "
            "another --out, or go on with the version that began the run."
        )


def recipe_identity(recipe: Recipe) -> dict:
    """Return a recipe as ``run.json`` has it; its purpose may be worded anew."""
    values = json.loads(json.dumps(dataclasses.asdict(recipe)))
    del values["purpose"]
    return {"format": RUN_FORMAT, "recipe": values}


def check_same_run(folder: Path, identity: dict) -> None:
    """Raise LabelError if a folder holds a run of another recipe or of other data; no run is no error."""
    file = folder / RUN_FILE
    if not file.is_file():
        return
    before = json.loads(file.read_text("utf-8"))
    if "format" in identity:
        check_format(file, before)
    for key, value in identity.items():
        if (difference := first_difference(before.get(key), value, key)) is not None:
            raise LabelError(f"{file}: got a run of other {key}: {difference}. Give another --out.")


def first_difference(before: Any, now: Any, path: str) -> str | None:
    """Return where two JSON values first differ and how, None where they are equal."""
    if type(before) is type(now) is dict:
        # A field that is new since the run began counts as it did then: left off.
        new = {key for key, value in now.items() if key not in before and value in (None, False, 0)}
        pairs = [
            (key, before.get(key), now.get(key)) for key in dict.fromkeys((*before, *now)) if key not in new
        ]
    elif type(before) is type(now) is list and len(before) == len(now):
        pairs = list(zip(range(len(now)), before, now, strict=True))
    else:
        return None if before == now else f"{path} was {shortened(before)}, is {shortened(now)}"
    for key, *values in pairs:
        if (difference := first_difference(*values, f"{path}.{key}")) is not None:
            return difference
    return None


def shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
