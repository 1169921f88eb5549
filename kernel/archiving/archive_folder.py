"""The folder of an archive: where its files lie, the lock of its driver, and the identity of its results."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from lumbar.atomic_files import lock_file, write_atomically

INDEX, SITES, POINTS, STUDIES, MERGED = "index", "sites", "points", "studies", "merged"
TABLES = (SITES, POINTS, STUDIES)  # in the order in which a part is written: studies commits the others


class ArchiveError(Exception):
    """An archive that can't be used so. The message names the place, the finding, the expectation and the remedy."""


class ArchiveFolder:
    """The files of an archive.

    | path | content |
    |---|---|
    | index/ | the studies; see study_index.py |
    | run.json | the identity of all results, and facts about the run |
    | sites/ points/ studies/ | parts; a part of studies commits those of the same name |
    | deaths.jsonl | the workers that died with one study in hand |
    | merged/ | one table of each kind, by ``merge`` |
    """

    def __init__(self, path: Path):
        self.path = path
        self.index = path / INDEX
        self.run_file = path / "run.json"
        self.deaths = path / "deaths.jsonl"
        self.merged = path / MERGED
        self.lock_path = path / "driver.lock"

    def part(self, table: str, name: str) -> Path:
        """Return the path of a part."""
        return self.path / table / name

    def part_names(self) -> list[str]:
        """Return the names of the committed parts, sorted."""
        return sorted(file.name for file in (self.path / STUDIES).glob("[!.]*.parquet"))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the archive for one driver inside a ``with`` block; ArchiveError if another holds it."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock_path.open("a") as file:
            try:
                lock_file(file)
            except BlockingIOError as error:
                message = f"{self.path}: another index or grade command works on it, expected none"
                raise ArchiveError(f"{message}; wait for it, or stop it") from error
            yield

    def in_use(self) -> bool:
        """Return whether a driver holds the archive; False where its file system has no locks."""
        try:
            with self.lock():
                return False
        except ArchiveError:
            return True

    def read_run(self) -> dict | None:
        """Return the content of ``run.json``; None if no study was graded yet."""
        if not self.run_file.is_file():
            return None
        try:
            run = json.loads(self.run_file.read_text("utf-8"))
            if not isinstance(run["identity"], dict):
                raise TypeError("identity is no object")
            return run
        except (ValueError, KeyError, TypeError) as error:
            message = f"{self.run_file}: got {type(error).__name__}: {error}, expected an archive's run.json"
            raise ArchiveError(f"{message}; choose another folder, or restore the file") from error

    def claim(self, identity: dict, about: dict) -> None:
        """Write ``run.json`` at the first time; later require the same identity.

        Args:
            identity: The facts that must be equal for results to lie in one archive.
            about: Further facts for a reader.

        Raises:
            ArchiveError: The archive holds results of another identity. The message names the differences.
        """
        run = self.read_run()
        if run is None:
            if self.part_names():
                message = f"{self.run_file}: no such file beside graded parts, expected their identity"
                raise ArchiveError(f"{message}; restore it, or give another folder")
            write_atomically(self.run_file, json.dumps({"identity": identity} | about, indent=1) + "\n")
            return
        had = run["identity"]
        changed = [key for key in had | identity if had.get(key) != identity.get(key)]
        if changed:
            found = "; ".join(f"{key}: got {identity.get(key)!r}, has {had.get(key)!r}" for key in changed)
            message = f"{self.path}: holds results of another {', '.join(changed)} ({found})"
            raise ArchiveError(f"{message}; grade with the same as at first, or index into another folder")
