"""The flags that answer questions about files with no sequence axis or border rule in their paths."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Answers:
    """The flags of a classifier's property, the sequence axis or the border rule.

    Attributes:
        by_pattern: Pattern and value. The value overrides that in a path that fits.
        plain: One value for all, or one for each file that a flag names.
    """

    by_pattern: tuple[tuple[str, str], ...] = ()
    plain: tuple[str, ...] = ()

    def of_given(self, file: Path, number: int, from_path: str | None) -> str | None:
        """Return the value for the file of the flag with this number; ``from_path`` is the one in its path."""
        return self.fitting(file) or (self.plain[number % len(self.plain)] if self.plain else from_path)

    def of_found(self, relative: Path, from_path: str | None) -> str | None:
        """Return the value for a file of a folder; the one in its path overrides the one for all."""
        return self.fitting(relative) or from_path or (self.plain[0] if self.plain else None)

    def fitting(self, path: Path) -> str | None:
        return next((value for pattern, value in reversed(self.by_pattern) if fits(path, [pattern])), None)


def fits(path: Path, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(path.as_posix(), pattern) for pattern in patterns)
