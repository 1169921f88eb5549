"""Every study decoded once: its grids as memory-mapped files, its slice headers beside them.

Layout: ``CACHE/<study_id>/<description>_{256,512}.npy``, ``study.json`` and ``listing.json``, the series that
were listed. A slice that is all zero is left as a hole in the file, so it costs no disk where the file system
knows holes.
"""

import dataclasses
import json
import logging
import tempfile
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lumbar.atomic_files import write_atomically
from lumbar.faults import ODDITIES
from lumbar.grids import CROP_GRID, DETECTOR_GRID
from lumbar.reading.references import Dataset, StudyRef
from lumbar.reading.study import Study, read_study
from lumbar.reading.volume import SliceHeader, Volume
from lumbar.sites import DESCRIPTION_KEYS, DESCRIPTIONS
from lumbar.worker_map import map_in_workers
from training.data.labels import LabelFault
from training.errors import LabelError

log = logging.getLogger(__name__)

FORMAT = 1
STUDY_FILE, LISTING_FILE = "study.json", "listing.json"


@dataclasses.dataclass(frozen=True)
class Cache:
    """Decoded studies of one competition folder; ``faults`` names every file that could not be read."""

    folder: Path
    study_ids: tuple[str, ...]
    faults: tuple[LabelFault, ...]

    def volumes(self, study_id: str) -> dict[str, Volume]:
        """Return the volumes of a study by description, pixels memory-mapped; absent ones are not in it."""
        return cached_volumes(self.folder / study_id)


def build_cache(competition: Dataset, folder: Path, workers: int) -> Cache:
    """Decode the studies that the cache lacks, and return it.

    A study is written to a side folder and moved into place. A killed run leaves no half study, and several runs may
    fill one cache.

    Args:
        competition: The studies.
        folder: The cache's folder; made where it is missing.
        workers: Processes; 0 or 1 decodes in this one.

    Raises:
        LabelError: The cache is of other data.
    """
    source = {"format": FORMAT, "data": str(competition.root.resolve())}
    mark = folder / "cache.json"
    if not mark.is_file():
        write_atomically(mark, json.dumps(source))
    if json.loads(mark.read_text()) != source:
        raise LabelError(f"{mark}: got a cache of {mark.read_text()}, expected {source}; use another --cache")
    studies = competition.studies
    for study in studies:
        check_listing(study, folder / study.study_id)
    todo = [study for study in studies if not is_cached(folder / study.study_id)]
    if todo:
        log.info("decoding %d studies into %s", len(todo), folder)
        bar = {"total": len(todo), "desc": "decode", "unit": "study", "mininterval": 1.0}
        for _ in tqdm(map_in_workers(partial(cache_study, folder=folder), todo, workers, chunk=4), **bar):
            pass
    ids = tuple(study.study_id for study in studies)
    faults = [fault for study in ids for fault in study_faults(folder / study)]
    disk = sum(f.stat().st_blocks * 512 for study in ids for f in (folder / study).iterdir())
    log.info("cache: %d studies, %.2f GB, %d unreadable files", len(ids), disk / 1e9, len(faults))
    return Cache(folder, ids, tuple(faults))


def cache_study(ref: StudyRef, folder: Path) -> None:
    """Decode one study and write its grids, unless another run was faster; unreadable files are recorded."""
    target = folder / ref.study_id
    if is_cached(target):
        return
    study = read_study(ref)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{ref.study_id}.") as scratch:
        side = Path(scratch) / "study"
        side.mkdir()
        write_volumes(side, study)
        (side / LISTING_FILE).write_text(json.dumps(listing(ref)))
        try:
            side.rename(target)
        except OSError:  # a folder that is not empty is never replaced
            if not is_cached(target):
                raise


def check_listing(ref: StudyRef, folder: Path) -> None:
    """Raise LabelError if a study was decoded when other series, or others' descriptions, were listed of it."""
    file = folder / LISTING_FILE
    if file.is_file() and json.loads(file.read_text()) != listing(ref):
        raise LabelError(
            f"{file}: got a study decoded from {file.read_text()}, expected {json.dumps(listing(ref))}; delete "
            f"{folder}, or use another --cache"
        )


def listing(ref: StudyRef) -> list[list[str]]:
    return [[series.series_id, series.description] for series in ref.series]


def is_cached(folder: Path) -> bool:
    return (folder / STUDY_FILE).is_file()


def write_volumes(folder: Path, study: Study) -> None:
    """Write a study's grids, slice headers and faults into its folder."""
    record: dict = {"volumes": {}, "faults": [[str(part) for part in fault] for fault in study.faults]}
    for description, volume in study.volumes.items():
        for grid, size in ((volume.grid256, DETECTOR_GRID), (volume.grid512, CROP_GRID)):
            write_with_holes(folder / f"{DESCRIPTION_KEYS[description]}_{size}.npy", grid)
        record["volumes"][description] = {
            "order_key": volume.order_key,
            "headers": [dataclasses.asdict(header) for header in volume.headers],
        }
    (folder / STUDY_FILE).write_text(json.dumps(record, default=float))


def write_with_holes(file: Path, grid: np.ndarray) -> None:
    """Write (S, H, W) as .npy without touching the pages of slices that are all zero."""
    mapped = np.lib.format.open_memmap(file, "w+", grid.dtype, grid.shape)
    for target, pixels in zip(mapped, grid, strict=True):
        if pixels.any():
            target[:] = pixels
    mapped.flush()


@lru_cache(maxsize=64)  # every mapped file holds a file descriptor
def cached_volumes(folder: Path) -> dict[str, Volume]:
    record = json.loads((folder / STUDY_FILE).read_text())
    volumes = {}
    for description in DESCRIPTIONS:
        if description in record["volumes"]:
            entry = record["volumes"][description]
            stem = DESCRIPTION_KEYS[description]
            # "c" keeps changes in memory. torch warns of arrays that can't be written.
            volumes[description] = Volume(
                description=description,
                grid256=np.load(folder / f"{stem}_{DETECTOR_GRID}.npy", mmap_mode="c"),
                grid512=np.load(folder / f"{stem}_{CROP_GRID}.npy", mmap_mode="c"),
                headers=tuple(header_from_json(header) for header in entry["headers"]),
                order_key=entry["order_key"],
            )
    return volumes


def header_from_json(values: dict) -> SliceHeader:
    return SliceHeader(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def study_faults(folder: Path) -> list[LabelFault]:
    return file_faults(folder.name, json.loads((folder / STUDY_FILE).read_text())["faults"])


def file_faults(study_id: str, faults: Iterable[Sequence]) -> list[LabelFault]:
    """Return the unreadable files among (file, reason, message); an oddity loses no slice, so no label."""
    return [
        LabelFault(reason, f"study {study_id}: {file}", message)
        for file, reason, message in faults
        if reason not in ODDITIES
    ]
