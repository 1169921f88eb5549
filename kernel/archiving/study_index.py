"""The studies of an archive, in Parquet parts on disk: a study's number is its place in them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from archiving.archive_folder import ArchiveError
from lumbar.reading.references import StudyRef

INDEX_FILE = "index.json"  # written last: an index without it is not complete
REPEATED_FILE = "repeated.csv"


@dataclass(frozen=True)
class IndexedStudy:
    """A study to grade.

    Attributes:
        number: Its place in the index, from 0.
        reference: JSON of its ``StudyRef``.
    """

    number: int
    study_id: str
    reference: str

    def ref(self) -> StudyRef:
        """Return the reference."""
        return StudyRef.from_json(json.loads(self.reference))


class StudyIndex:
    """A complete index.

    Attributes:
        data: The path or URL that was indexed.
        sha256: Of all references, in their order.
        rows: Studies in the parts, those that are repeated among them.
        repeated: Numbers of studies that an earlier number has already.
        bytes: Of all studies' files; 0 where the source has no such figure.
    """

    def __init__(self, folder: Path):
        """Read ``index.json``; ArchiveError if there is none."""
        self.folder = folder
        file = folder / INDEX_FILE
        try:
            content = json.loads(file.read_text("utf-8"))
            self.data, self.sha256, self.bytes = content["data"], content["sha256"], content["bytes"]
            self.parts: list[tuple[str, int]] = [(name, rows) for name, rows in content["parts"]]
            self.repeated: list[int] = content["repeated"]
        except FileNotFoundError as error:
            message = f"{file}: no such file, expected a complete index"
            raise ArchiveError(f"{message}; run archive.py index to its end") from error
        except (ValueError, KeyError, TypeError) as error:
            message = f"{file}: got {type(error).__name__}: {error}, expected an index"
            raise ArchiveError(f"{message}; delete its folder and index again") from error
        self.rows = sum(rows for _, rows in self.parts)

    @property
    def studies(self) -> int:
        """The number of studies to grade."""
        return self.rows - len(self.repeated)

    def pending(self, done: np.ndarray) -> Iterator[IndexedStudy]:
        """Yield the studies that are not done, by number; one part is in memory at a time.

        Args:
            done: (rows,) bool by number.
        """
        first = 0
        for name, rows in self.parts:
            wanted = np.flatnonzero(~done[first : first + rows])
            if len(wanted):
                table = pq.read_table(self.folder / name, columns=["study_id", "reference"])
                if len(table) != rows:
                    message = f"{self.folder / name}: got {len(table)} studies, expected {rows}"
                    raise ArchiveError(f"{message}; restore the file, or index again")
                taken = table.take(wanted)
                for offset, study_id, reference in zip(
                    wanted.tolist(),
                    taken["study_id"].to_pylist(),
                    taken["reference"].to_pylist(),
                    strict=True,
                ):
                    yield IndexedStudy(first + offset, study_id, reference)
            first += rows

    def done(self, numbers: Iterator[np.ndarray]) -> np.ndarray:
        """Return which studies need no grading: graded ones, and repeated ones; (rows,) bool."""
        done = np.zeros(self.rows, bool)
        done[self.repeated] = True
        for some in numbers:
            done[some] = True
        return done

    def sample(self, studies: int) -> list[IndexedStudy]:
        """Return studies at equal distances in the index."""
        done = np.ones(self.rows, bool)
        done[np.linspace(0, self.rows - 1, min(studies, self.rows)).astype(int)] = False
        done[self.repeated] = True
        return list(self.pending(done))
