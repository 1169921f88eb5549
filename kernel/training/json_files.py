"""Figures on disk: JSON in which a figure that does not exist is null, never NaN."""

import json
import math
from pathlib import Path

from lumbar.atomic_files import write_atomically


def write_strict_json(file: Path, values: object) -> None:
    """Write values as indented JSON, atomically; NaN and infinities become null."""
    write_atomically(file, json.dumps(known_only(values), indent=1, allow_nan=False) + "\n")


def known_only(values: object) -> object:
    """Return values as plain JSON values, NaN and infinities as None, tuples as lists."""
    if isinstance(values, dict):
        return {str(key): known_only(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [known_only(value) for value in values]
    if isinstance(values, float) and not math.isfinite(values):
        return None
    return values
