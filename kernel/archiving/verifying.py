"""``archive.py verify``: whether an archive is whole, and every study in it once."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from archiving.archive_folder import POINTS, SITES, STUDIES, ArchiveFolder
from archiving.parts import file_sha256
from archiving.study_index import StudyIndex
from lumbar.outputs.submission import SUM_TOLERANCE
from lumbar.sites import SEVERITIES, SITE_NAMES


def problems(archive: ArchiveFolder, index: StudyIndex) -> Iterator[str]:
    """Yield a line per problem; none: the archive is whole, but studies may still be to grade."""
    run = archive.read_run()
    if run is None:
        yield f"{archive.run_file}: no such file, expected the identity of graded studies; run grade"
        return
    if run["identity"].get("index") != index.sha256:
        yield f"{archive.run_file}: belongs to another index than {index.folder}; restore one of them"
    seen = np.zeros(index.rows, bool)
    seen[index.repeated] = True
    for name in archive.part_names():
        try:
            numbers = yield from part_problems(archive, name)
        except (OSError, pa.ArrowException, KeyError) as error:
            yield f"{archive.part(STUDIES, name)}: can't be read ({error}); remove it and grade again"
            continue
        if (numbers < 0).any() or (numbers >= index.rows).any():
            yield f"{archive.part(STUDIES, name)}: has studies that the index lacks; remove it and grade again"
            continue
        twice = int(seen[numbers].sum()) + len(numbers) - len(set(numbers.tolist()))
        if twice:
            yield f"{archive.part(STUDIES, name)}: has {twice} studies of other parts; remove it and grade again"
        seen[numbers] = True


def part_problems(archive: ArchiveFolder, name: str):
    """Yield the problems of one part; return the numbers of its studies."""
    path = archive.part(STUDIES, name)
    studies = pq.read_table(path, columns=["number"])
    facts = studies.schema.metadata or {}
    numbers = studies["number"].to_numpy()
    for table in (SITES, POINTS):
        other = archive.part(table, name)
        if not other.is_file():
            yield f"{other}: no such file, expected the part that {path} commits; remove that and grade again"
        elif facts.get(f"{table}_sha256".encode(), b"").decode() != file_sha256(other):
            yield f"{other}: is not as it was written; remove {path} and grade again"
        elif table == SITES:
            yield from site_problems(archive, name, numbers)
    return numbers


def site_problems(archive: ArchiveFolder, name: str, numbers: np.ndarray) -> Iterator[str]:
    """Yield the problems of the rows of sites."""
    path = archive.part(SITES, name)
    table = pq.read_table(path, columns=["number", *SEVERITIES])
    if not np.array_equal(table["number"].to_numpy(), np.repeat(numbers, len(SITE_NAMES))):
        yield f"{path}: has not {len(SITE_NAMES)} sites of each of its studies"
    grades = np.column_stack([table[severity].to_numpy() for severity in SEVERITIES])
    if not np.isfinite(grades).all() or (np.abs(grades.sum(axis=1) - 1) > SUM_TOLERANCE).any():
        yield f"{path}: has probabilities that do not sum to 1"
