"""Grade lumbar spine MR studies: 25 sites per study, each with the probabilities of three severities.

The rooms, in the order in which the data pass them:

| room | content |
|---|---|
| reading | DICOM files to volumes |
| networks | detectors and classifiers, and the device that they run on |
| bundle | a manifest and weights to networks |
| grading | one study |
| run | many studies |
| outputs | all files that are written |

``import lumbar`` imports neither torch nor any other library: a process that only reads needs none of them.
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


def __dir__() -> list[str]:
    """Return the public names, also those that are not imported yet."""
    return __all__
