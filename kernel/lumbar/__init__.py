"""Grade lumbar spine MR studies: 25 sites per study, each with the probabilities of three severities.

The rooms are listed in the order in which the data pass them: ``reading`` (files to volumes), ``networks``,
``bundle`` (weights to networks), ``grading`` (one study), ``run`` (many studies), ``outputs`` (what is written).

Importing this package imports neither torch nor any other library: a process that only reads needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lumbar.api import Grader, StudyResult, load
    from lumbar.sites import SITES, Site

__version__ = "1.0.0"

__all__ = ["SITES", "Grader", "Site", "StudyResult", "__version__", "load"]

MODULE_OF = {
    "load": "lumbar.api",
    "Grader": "lumbar.api",
    "StudyResult": "lumbar.api",
    "SITES": "lumbar.sites",
    "Site": "lumbar.sites",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in MODULE_OF:
        raise AttributeError(f"module 'lumbar' has no attribute {name!r}")
    return getattr(import_module(MODULE_OF[name]), name)
