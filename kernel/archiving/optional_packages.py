"""Packages that archives need and ``infer.py`` does not: a message names each that is missing."""

import importlib.util

from lumbar.faults import MissingPackageError

PIP_LINE = "pip install -r kernel/requirements-archive.txt"


def need_packages(*names: str) -> None:
    """Raise MissingPackageError, with the line that installs them, if a package can't be imported."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(f"archives need {', '.join(missing)}, not installed here; {PIP_LINE}")
