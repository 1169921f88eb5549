"""The recipes that lie beside this file, by name; importing this module loads neither torch nor timm."""

import tomllib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def shipped_recipes() -> dict[str, str]:
    """Return each shipped recipe's purpose, one line, by name."""
    files = sorted(FOLDER.glob("*.toml"))
    return {file.stem: tomllib.loads(file.read_text("utf-8"))["purpose"] for file in files}
