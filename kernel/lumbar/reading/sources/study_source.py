"""The protocol of all sources of studies, and the import of optional packages."""

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Protocol

from lumbar.faults import MissingPackageError
from lumbar.reading.references import StudyRef


class StudySource(Protocol):
    """Studies to list in tasks, which may run in any process and in any order.

    Attributes:
        url: The source's path or URL, without credentials.
    """

    @property
    def url(self) -> str: ...

    def tasks(self) -> Iterator[str]:
        """Yield the names of tasks, such as top-level folders or pages, in an order that stays the same.

        Raises:
            DataNotFoundError: The source is not there.
        """
        ...

    def references(self, task: str) -> Iterator[StudyRef]:
        """Yield the studies of one task.

        Raises:
            DataNotFoundError: The source, or the task's part of it, can't be listed.
        """
        ...


def required(module: str, package: str, purpose: str) -> ModuleType:
    """Import an optional package.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        message = f"{purpose} needs {package}, which is not installed"
        raise MissingPackageError(f"{message}; pip install {package}") from error
