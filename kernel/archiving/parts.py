"""Results on disk: parts of three tables. The part of studies, written last, commits the two others."""

import hashlib
import logging
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from archiving.archive_folder import POINTS, SITES, STUDIES, TABLES, ArchiveFolder
from archiving.part_tables import points_table, sites_table, studies_table
from archiving.study_rows import StudyRows
from lumbar.atomic_files import atomic_path

logger = logging.getLogger(__name__)

PART_STUDIES = 512  # about 1.5 MB in three files; at 10^7 studies, 20,000 parts
SECONDS_BETWEEN_PARTS = 30.0  # a kill of the driver costs the studies of at most so long
COMPRESSION = "zstd"


class PartWriter:
    """Gathers the rows of studies and writes them as parts; only the holder of the archive's lock has one.

    Attributes:
        studies: Rows that no part has yet.
        committed: Studies that this object has written.
    """

    def __init__(self, archive: ArchiveFolder, identity: dict, prior: np.ndarray):
        """Remove the files of parts that were not committed before a kill.

        Args:
            archive: Where parts lie.
            identity: As ``ArchiveFolder.claim`` took it.
            prior: (25, 3), for sites without a grade.
        """
        self.archive = archive
        self.identity = identity
        self.prior = prior
        self.studies: list[tuple[int, StudyRows, int]] = []
        self.committed = 0
        self.written = time.monotonic()
        for table in TABLES:
            (archive.path / table).mkdir(parents=True, exist_ok=True)
        remove_uncommitted(archive)

    def add(self, number: int, rows: StudyRows, deaths: int = 0) -> None:
        """Take a study's rows and write a part if one is due."""
        self.studies.append((number, rows, deaths))
        if len(self.studies) >= PART_STUDIES:
            self.flush()

    def flush_if_due(self) -> None:
        """Write a part if the last one is old."""
        if self.studies and time.monotonic() - self.written > SECONDS_BETWEEN_PARTS:
            self.flush()

    def flush(self) -> None:
        """Write all rows that no part has yet, and commit them.

        Raises:
            OSError: The disk is full, or can't be written; nothing is committed.
        """
        if self.studies:
            studies = sorted(self.studies, key=lambda one: one[0])
            numbered = [(number, rows) for number, rows, _ in studies]
            deaths = {rows.study_id: count for _, rows, count in studies}
            name = f"{numbered[0][0]:09d}-{uuid.uuid4().hex[:12]}.parquet"
            facts = {}
            for table, content in (
                (SITES, sites_table(numbered, self.prior)),
                (POINTS, points_table(numbered)),
                (STUDIES, studies_table(numbered, self.identity, deaths)),
            ):
                digest = write_table(self.archive.part(table, name), content.replace_schema_metadata(facts))
                facts[f"{table}_sha256"] = digest
            self.committed += len(studies)
            self.studies = []
        self.written = time.monotonic()


def write_table(path: Path, table: pa.Table) -> str:
    """Write a part, durably, and return its SHA-256."""
    with atomic_path(path) as beside:
        pq.write_table(table, beside, compression=COMPRESSION)
        digest = file_sha256(beside)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, not only the content, must outlive a power cut
    finally:
        os.close(folder)
    return digest


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_uncommitted(archive: ArchiveFolder) -> None:
    """Remove files that a kill left beside their places, and parts that no part of studies commits."""
    committed = set(archive.part_names())
    for table in TABLES:
        for file in (archive.path / table).iterdir():
            if file.name.startswith(".") or (file.suffix == ".parquet" and file.name not in committed):
                logger.info("%s: of a write that did not end; removed", file)
                file.unlink(missing_ok=True)


def committed_numbers(archive: ArchiveFolder) -> Iterator[np.ndarray]:
    """Yield the numbers of the studies of each committed part, sorted by the parts' names."""
    for name in archive.part_names():
        yield pq.read_table(archive.part(STUDIES, name), columns=["number"])["number"].to_numpy()
