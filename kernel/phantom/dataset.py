"""Many studies in the competition's layout: image folders, label tables, sample submission, truth."""

import csv
import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydicom.uid import RLELossless
from tqdm import tqdm

from lumbar.sites import DESCRIPTIONS, LEVEL_WORDS, SEVERITY_LABELS, SITE_NAMES, SITES
from lumbar.table_columns import (
    COORDINATE_COLUMNS,
    DESCRIPTION_COLUMNS,
    GRADE_COLUMNS,
    SUBMISSION_COLUMNS,
)
from lumbar.worker_map import map_in_workers
from phantom.files import TRANSFER_SYNTAXES
from phantom.grades import NARROWING_NOISE
from phantom.study import (
    APPEARANCES,
    WIDE_PARTS,
    PhantomStudy,
    draw_study,
    study_truth,
    wide_parts,
    with_descriptions,
    write_study,
)


class PhantomError(ValueError):
    """Options that no phantoms can be written with."""


@dataclass(frozen=True)
class StudyRows:
    """One written study's rows of the three tables, and its truth."""

    study_id: int
    labels: list
    points: list[list]
    series: list[list]
    truth: dict


def write_phantoms(
    out: Path,
    studies: int,
    seed: int,
    workers: int = 1,
    transfer_syntax: str = RLELossless,
    split: str = "train",
    axial_series: int = 1,
    appearance: str = "realistic",
    descriptions: Collection[str] = DESCRIPTIONS,
) -> None:
    """Write ``studies`` phantoms under ``out``; the same arguments give the same bytes, whatever ``workers`` is.

    Args:
        out: Folder to fill; must be new or empty.
        studies: How many.
        seed: Of everything drawn. Study i of a seed is the same however many are written.
        workers: Processes.
        transfer_syntax: UID of how pixels are stored: RLE Lossless as the competition's, or uncompressed.
        split: "train" or "test": the names of the image folder and the tables. Labels are written for both.
        axial_series: The least number of axial series in a study, 1 to 3.
        appearance: ``"realistic"``, ``"wide"``, or the parts of ``WIDE_PARTS`` that are far wider than scanners have
            them, with commas between.
        descriptions: Of the series that are written. Drawing fewer takes less time and changes none of them.

    Raises:
        PhantomError: ``transfer_syntax`` is not among ``TRANSFER_SYNTAXES``, or a count is not positive.
        FileExistsError: ``out`` holds files.
    """
    out = Path(out)
    if transfer_syntax not in TRANSFER_SYNTAXES:
        known = ", ".join(TRANSFER_SYNTAXES)
        raise PhantomError(f"phantoms: got transfer syntax {transfer_syntax}, expected one of {known}")
    if studies < 1 or workers < 1:
        raise PhantomError(
            f"phantoms: got {studies} studies on {workers} workers, expected at least 1 of each"
        )
    if not 1 <= axial_series <= 3:
        raise PhantomError(f"phantoms: got at least {axial_series} axial series per study, expected 1 to 3")
    if not set(wide_parts(appearance)) <= set(WIDE_PARTS):
        raise PhantomError(
            f"phantoms: got appearance {appearance!r}, expected {', '.join(APPEARANCES)}, or parts of "
            f"{','.join(WIDE_PARTS)}"
        )
    if split not in ("train", "test"):
        raise PhantomError(f"phantoms: got split {split!r}, expected 'train' or 'test'")
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(
            f"{out}: got a folder with files in it, expected a new one; choose another --out"
        )
    place = out.resolve()
    beside = place.with_name(f".{place.name}.part")  # so that a killed run leaves no half of a data set
    shutil.rmtree(beside, ignore_errors=True)
    images = beside / f"{split}_images"
    images.mkdir(parents=True)
    write = partial(
        _write_one,
        seed=seed,
        axial_series=axial_series,
        appearance=appearance,
        descriptions=descriptions,
        images=images,
        transfer_syntax=transfer_syntax,
    )
    # disable=None: the bar is shown on a terminal alone.
    bar = {"total": studies, "desc": "phantoms", "unit": "study", "disable": None}
    drawn = list(tqdm(map_in_workers(write, range(studies), workers), **bar))
    _write_tables(beside, drawn, split)
    truth = {
        "seed": seed,
        "appearance": appearance,
        "narrowing_noise": NARROWING_NOISE,
        "studies": {str(rows.study_id): rows.truth for rows in drawn},
    }
    (beside / "truth.json").write_text(json.dumps(truth, indent=1), encoding="utf-8")
    out.mkdir(exist_ok=True)
    for entry in sorted(beside.iterdir(), key=Path.is_file):  # the images, then the tables
        entry.rename(out / entry.name)
    beside.rmdir()


def _write_one(
    index: int,
    seed: int,
    axial_series: int,
    appearance: str,
    descriptions: Collection[str],
    images: Path,
    transfer_syntax: str,
) -> StudyRows:
    """Draw and write one study."""
    study = with_descriptions(draw_study(seed, index, axial_series, appearance), descriptions)
    write_study(study, images / str(study.study_id), transfer_syntax)
    return StudyRows(
        study_id=study.study_id,
        labels=_label_row(study),
        points=_point_rows(study),
        series=[[study.study_id, series_id, plan.description] for series_id, plan in study.series.items()],
        truth=study_truth(study),
    )


def _write_tables(out: Path, studies: list[StudyRows], split: str) -> None:
    """Write the competition's four tables."""
    sample = ([f"{rows.study_id}_{name}", *[1 / 3] * 3] for rows in studies for name in sorted(SITE_NAMES))
    tables = {
        f"{split}.csv": [GRADE_COLUMNS, *(rows.labels for rows in studies)],
        f"{split}_label_coordinates.csv": [
            COORDINATE_COLUMNS,
            *(row for rows in studies for row in rows.points),
        ],
        f"{split}_series_descriptions.csv": [
            DESCRIPTION_COLUMNS,
            *(row for rows in studies for row in rows.series),
        ],
        "sample_submission.csv": [SUBMISSION_COLUMNS, *sample],
    }
    for name, rows in tables.items():
        with (out / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _label_row(study: PhantomStudy) -> list:
    return [study.study_id, *("" if label < 0 else SEVERITY_LABELS[label] for label in study.grades.labels)]


def _point_rows(study: PhantomStudy) -> list[list]:
    """Return a row per labelled site: condition and level in the competition's words."""
    rows = []
    for site, missing, point in zip(SITES, study.grades.missing, study.points_on_slices, strict=True):
        if missing or point is None:
            continue
        condition, level = site.group.replace("_", " ").title(), LEVEL_WORDS[site.level]
        rows.append([study.study_id, point.series, point.instance, condition, level, point.x, point.y])
    return rows
