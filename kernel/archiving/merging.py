"""All parts -> one table of each kind, in the order of the index; equal whatever the parts were."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from archiving.archive_folder import POINTS, SITES, STUDIES, ArchiveError, ArchiveFolder
from archiving.part_tables import MEASURED, POINTS_SCHEMA, SITES_SCHEMA, STUDIES_SCHEMA
from archiving.parts import COMPRESSION, committed_numbers
from archiving.study_index import StudyIndex
from lumbar.atomic_files import atomic_path
from lumbar.outputs.submission import quoted
from lumbar.sites import SEVERITIES
from lumbar.table_columns import SUBMISSION_COLUMNS

logger = logging.getLogger(__name__)

BLOCK = 8192  # studies in memory at once: 200,000 sites
SCHEMAS = {SITES: SITES_SCHEMA, POINTS: POINTS_SCHEMA, STUDIES: STUDIES_SCHEMA}
SUBMISSION = "submission.csv"


def merge(archive: ArchiveFolder, index: StudyIndex, csv: bool = False) -> list[Path]:
    """Write one Parquet file per table, and with ``csv`` also the columns of text and submission.csv.

    Studies that are not graded yet are absent. The files are equal, byte for byte, for equal results.

    Raises:
        ArchiveError: A study is in two parts.
    """
    parts = part_of_study(archive, index)
    written = [merge_table(archive, parts, table) for table in SCHEMAS]
    if csv:
        written += [write_csv(path) for path in written[:2]]
        written.append(write_submission(archive))
    return written


def part_of_study(archive: ArchiveFolder, index: StudyIndex) -> np.ndarray:
    """Return the number of the part, among the sorted names, that has each study; -1: none. (rows,) int32."""
    parts = np.full(index.rows, -1, np.int32)
    for place, numbers in enumerate(committed_numbers(archive)):
        if (parts[numbers] >= 0).any() or len(set(numbers.tolist())) < len(numbers):
            name = archive.part_names()[place]
            message = f"{archive.part(STUDIES, name)}: has a study that another part has too"
            raise ArchiveError(f"{message}, expected each once; remove one of them and grade again")
        parts[numbers] = place
    return parts


def merge_table(archive: ArchiveFolder, parts: np.ndarray, table: str) -> Path:
    """Write ``merged/<table>.parquet``, a block of studies in memory at a time."""
    columns = [name for name in SCHEMAS[table].names if name not in MEASURED]
    # Plain texts: the order of words in a part's dictionary depends on the part.
    schema = pa.schema([plain_field(SCHEMAS[table].field(name)) for name in columns])
    target = archive.merged / f"{table}.parquet"
    with atomic_path(target) as beside, pq.ParquetWriter(beside, schema, compression=COMPRESSION) as writer:
        for block in blocks(archive, parts, table, columns):
            writer.write_table(block.cast(schema))
    return target


def plain_field(field: pa.Field) -> pa.Field:
    """Return a field with texts in place of a dictionary."""
    return pa.field(field.name, pa.string()) if pa.types.is_dictionary(field.type) else field


def blocks(archive: ArchiveFolder, parts: np.ndarray, table: str, columns: list[str]) -> Iterator[pa.Table]:
    """Yield the rows of consecutive studies, sorted by the studies' numbers."""
    names = archive.part_names()
    for first in range(0, len(parts), BLOCK):
        needed = sorted(set(parts[first : first + BLOCK].tolist()) - {-1})
        found = []
        for place in needed:
            content = pq.read_table(archive.part(table, names[place]), columns=columns)
            numbers = content["number"].to_numpy()
            found.append(content.filter(pa.array((numbers >= first) & (numbers < first + BLOCK))))
        if found:
            block = pa.concat_tables(found).unify_dictionaries().combine_chunks()
            # Rows of a study keep their order, as its part has them.
            order = np.argsort(block["number"].to_numpy(), kind="stable")
            yield block.take(pa.array(order))


def write_csv(path: Path) -> Path:
    """Write a merged table as CSV, lists as words with ; between."""
    target = path.with_suffix(".csv")
    with pq.ParquetFile(path) as source, atomic_path(target) as beside:
        writer = None
        for batch in source.iter_batches():
            flat = flat_table(pa.Table.from_batches([batch]))
            writer = writer or pyarrow.csv.CSVWriter(beside, flat.schema)
            writer.write_table(flat)
        if writer:
            writer.close()
    return target


def flat_table(table: pa.Table) -> pa.Table:
    """Return a table without lists, which CSV does not have."""
    for number, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            table = table.set_column(number, field.name, pc.binary_join(table[field.name], ";"))
    return table


def write_submission(archive: ArchiveFolder) -> Path:
    """Write the merged sites in the competition's format, as infer.py does."""
    target = archive.merged / SUBMISSION
    columns = ["study_id", "site", *SEVERITIES]
    with (
        pq.ParquetFile(archive.merged / f"{SITES}.parquet") as source,
        atomic_path(target) as beside,
        beside.open("w", encoding="utf-8", newline="") as file,
    ):
        file.write(",".join(SUBMISSION_COLUMNS) + "\n")
        for batch in source.iter_batches(columns=columns):
            rows = zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
            file.writelines(
                f"{quoted(f'{study_id}_{site}')},{a:.9f},{b:.9f},{c:.9f}\n"
                for study_id, site, a, b, c in rows
            )
    return target
