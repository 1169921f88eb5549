"""Phantoms drawn for one training: each written, read back as any study is, and forgotten but for its volume."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import pandas as pd
from pydicom.uid import ExplicitVRLittleEndian

from lumbar.competition import SeriesRef, StudyRef
from lumbar.heatmap import DECAY, REACH
from lumbar.phantom import draw_study, write_study
from lumbar.sites import SITES
from lumbar.studies import read_study
from lumbar.volume import Volume
from training.labels import COORDINATE_COLUMNS
from training.targets import Target, place_study

SEED = 5  # of no phantoms that a command of the README writes
AXIAL_SERIES = 2  # at least: most studies have one, and nothing to choose


def drawn_volumes(description: str, numbers: Sequence[int], workers: int) -> Iterator[tuple[Volume, Target]]:
    """Draw phantoms of several axial series and yield each one's volume of a description with its labels.

    numbers: which phantoms of ``SEED``; one without the description, or without a label on it, yields nothing.
    workers: processes, at least one.
    """
    draw = partial(draw_volume, description=description)
    # A fresh interpreter per worker: a forked OpenCV or torch thread pool can hang.
    with ProcessPoolExecutor(
        max(1, workers), mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        yield from (drawn for drawn in pool.map(draw, numbers) if drawn is not None)


def draw_volume(number: int, description: str) -> tuple[Volume, Target] | None:
    """Draw one phantom and return its volume of a description with its labels; None where one lacks."""
    study = draw_study(SEED, number, AXIAL_SERIES)
    series_ids = [one for one, plan in study.series.items() if plan.description == description]
    with tempfile.TemporaryDirectory() as folder:
        write_study(study, Path(folder), ExplicitVRLittleEndian, (description,))
        series = tuple(SeriesRef(str(one), Path(folder) / str(one), description) for one in series_ids)
        volumes = read_study(StudyRef(str(study.study_id), series)).volumes
    rows = [
        (str(study.study_id), str(point.series), point.instance, site.index, point.x, point.y, "pixel")
        for site, missing, point in zip(SITES, study.grades.missing, study.points_on_slices, strict=True)
        if site.description == description and not missing and point is not None
    ]
    table = pd.DataFrame(rows, columns=list(COORDINATE_COLUMNS))
    targets = place_study(str(study.study_id), table, volumes, [], DECAY, REACH)
    key = (str(study.study_id), description)
    return (volumes[description], targets[key]) if key in targets else None
