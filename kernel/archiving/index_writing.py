"""A source of studies -> the index of an archive, task by task; the same command goes on after a kill."""

import csv
import hashlib
import json
import logging
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from archiving.archive_folder import ArchiveError
from archiving.study_index import INDEX_FILE, REPEATED_FILE, StudyIndex
from lumbar.atomic_files import atomic_path, write_atomically
from lumbar.reading.sources.opening import StudySource
from lumbar.worker_map import map_in_workers

logger = logging.getLogger(__name__)

PART_STUDIES = 2000  # about 2 MB; a kill costs the listing of at most so many
TASKS_AT_ONCE = 64  # per worker, before their processes are started anew: bounds the memory of references
SCHEMA = pa.schema(
    [
        ("task", pa.dictionary(pa.int32(), pa.string())),
        ("study_id", pa.string()),
        ("bytes", pa.int64()),
        ("reference", pa.string()),
    ]
)
REPEATED_COLUMNS = ("study_id", "graded_from", "files", "not_graded", "files_not_graded")
Row = tuple[str, str, int, str]  # as SCHEMA


def write_index(source: StudySource, folder: Path, workers: int) -> StudyIndex:
    """List all studies of a source and return the index.

    Args:
        source: Of the studies.
        folder: Of the index; parts of an earlier, interrupted command are kept.
        workers: Processes that list tasks.

    Raises:
        ArchiveError: The folder has the index of another source, or there is no study.
        DataNotFoundError: The source can't be listed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / INDEX_FILE).is_file():
        index = StudyIndex(folder)
        refuse_other_data(folder, index.data, source.url)
        return index
    parts = sorted(folder.glob("part-*.parquet"))
    tasks = tasks_left(source, folder, parts)
    rows: list[Row] = []
    written = len(parts)
    for of_task in rows_by_task(source, tasks, workers):
        rows += of_task
        if len(rows) >= PART_STUDIES:
            write_part(folder / part_name(written), rows, source.url)
            written, rows = written + 1, []
            logger.info("%s: %d parts of the index are written", folder, written)
    if rows:
        write_part(folder / part_name(written), rows, source.url)
    return complete_index(source.url, folder)


def part_name(number: int) -> str:
    return f"part-{number:06d}.parquet"


def tasks_left(source: StudySource, folder: Path, parts: list[Path]) -> Iterator[str]:
    """Return the tasks that no part has; a part ends with a whole task."""
    tasks = iter(source.tasks())
    if not parts:
        return tasks
    schema = pq.read_schema(parts[-1])
    facts = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    refuse_other_data(folder, facts.get("data", ""), source.url)
    if not any(task == facts.get("last_task") for task in tasks):
        message = f"{folder}: got parts up to the task {facts.get('last_task')!r}, which the source lacks now"
        raise ArchiveError(f"{message}; delete the folder and index again")
    return tasks


def refuse_other_data(folder: Path, had: str, given: str) -> None:
    """Raise ArchiveError if an index was begun of another source."""
    if had != given:
        message = f"{folder}: got the data {given}, has an index of {had}"
        raise ArchiveError(f"{message}; give another --out, or the same --data")


def rows_by_task(source: StudySource, tasks: Iterator[str], workers: int) -> Iterator[list[Row]]:
    """Yield the rows of each task, in order."""
    while some := list(islice(tasks, TASKS_AT_ONCE * workers)):
        yield from map_in_workers(partial(rows_of_task, source), some, min(workers, len(some)))


def rows_of_task(source: StudySource, task: str) -> list[Row]:
    """List one task."""
    return [
        (task, ref.study_id, ref.bytes or 0, json.dumps(ref.to_json(), separators=(",", ":")))
        for ref in source.references(task)
    ]


def write_part(path: Path, rows: list[Row], data: str) -> None:
    """Write one part of the index, whole or not at all."""
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column).cast(field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    schema = SCHEMA.with_metadata({"data": data, "last_task": rows[-1][0]})
    with atomic_path(path) as beside:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), beside, compression="zstd")


def complete_index(data: str, folder: Path) -> StudyIndex:
    """Read all parts once, find repeated studies, write ``index.json`` and return the index."""
    parts = [(path.name, pq.read_metadata(path).num_rows) for path in sorted(folder.glob("part-*.parquet"))]
    if not parts:
        message = f"{data}: got no study, expected at least one"
        raise ArchiveError(f"{message}; check --data: archive.py reads DICOM, folders of it and .zip files")
    digest, size = hashlib.sha256(), 0
    hashes = []
    for name, _ in parts:
        table = pq.read_table(folder / name)
        size += sum(table["bytes"].to_pylist())
        ids = table["study_id"].to_pylist()
        for study_id, reference in zip(ids, table["reference"].to_pylist(), strict=True):
            digest.update(f"{study_id}\t{reference}\n".encode())
        hashes.append(np.array([short_hash(study_id) for study_id in ids], np.uint64))
    firsts = repeated_numbers(np.concatenate(hashes))
    content = {"data": data, "sha256": digest.hexdigest(), "bytes": size}
    content |= {"parts": parts, "repeated": sorted(firsts)}
    write_atomically(folder / INDEX_FILE, json.dumps(content, indent=1) + "\n")
    index = StudyIndex(folder)
    if firsts:
        write_repeated(index, firsts)
    return index


def write_repeated(index: StudyIndex, firsts: dict[int, int]) -> None:
    """Write ``repeated.csv``: each entry that is not graded, because an earlier one has its study's id.

    Args:
        index: Of the studies.
        firsts: As ``repeated_numbers`` returns them.
    """
    others = np.ones(index.rows, bool)
    others[[*firsts, *firsts.values()]] = False
    refs = {study.number: study.ref() for study in index.pending(others)}
    path = index.folder / REPEATED_FILE
    with atomic_path(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(REPEATED_COLUMNS)
        for number, first in sorted(firsts.items()):
            kept, left = refs[first], refs[number]
            writer.writerow([kept.study_id, kept.location, kept.files, left.location, left.files])
    message = "%s: %d entries have the id of an earlier one, and are not graded; %s has their places."
    message += " Copies need nothing. Put the parts of one study into one folder and index again"
    logger.warning(message, index.data, len(firsts), path)


def short_hash(study_id: str) -> int:
    """Return 64 bits of a study id's hash: 10^7 ids take 80 MB, and two share one once in 400,000 such archives."""
    return int.from_bytes(hashlib.blake2b(study_id.encode(), digest_size=8).digest(), "little")


def repeated_numbers(hashes: np.ndarray) -> dict[int, int]:
    """Return the places with a value that an earlier place has, each with the first such place."""
    order = np.argsort(hashes, kind="stable")
    same = hashes[order][1:] == hashes[order][:-1]
    begins = np.flatnonzero(np.concatenate([[True], ~same]))  # of runs of equal values
    firsts = np.repeat(order[begins], np.diff([*begins, len(order)]))
    again = np.flatnonzero(same) + 1
    return dict(zip(order[again].tolist(), firsts[again].tolist(), strict=True))
