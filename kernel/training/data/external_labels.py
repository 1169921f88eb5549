"""External coordinates for stage 1: other data sets' images to pre-train on, corrected coordinates.

Both files are of the Kaggle data set ``brendanartley/lumbar-coordinate-pretraining-dataset``
(data, section 4).
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lumbar.grids import DETECTOR_GRID, labelled_pixel, resize
from lumbar.reading.normalization import normalize_slice
from lumbar.sites import LEVELS
from training.data.labels import LabelFault, coordinate_table, level_name, read_table

PRETRAIN_FILE = "coords_pretrain.csv"
SIDES = {"L": "left", "R": "right"}


@dataclass(frozen=True)
class LabelledImage:
    """One mid-sagittal image.

    Attributes:
        name: File name.
        source: Data set that it is from.
        pixels: (256, 256) uint8.
        points: (5, 2) row and column on that grid, one per level, NaN where unlabelled.
    """

    name: str
    source: str
    pixels: np.ndarray
    points: np.ndarray


def read_improved_coordinates(file: Path) -> tuple[pd.DataFrame, list[LabelFault]]:
    """Read ``coords_rsna_improved.csv`` into a table of ``labels.LABELLED_POINT_COLUMNS``, in fractions of the image.

    Canal rows come once per side; the "R" one is used. Columns go by name, so a leading unnamed index
    column does no harm. Raises LabelError when a column is missing.
    """
    columns = ("study_id", "series_id", "instance_number", "condition", "level", "side")
    table = read_table(file, (*columns, "relative_x", "relative_y"))
    table["group"] = [improved_group(c, s) for c, s in zip(table["condition"], table["side"], strict=True)]
    canal = table["group"] == "spinal_canal_stenosis"
    table = table[~canal | (table["side"] == "R")]
    fraction = table.assign(x=table["relative_x"], y=table["relative_y"], unit="fraction")
    return coordinate_table(fraction, file)


def improved_group(condition: object, side: object) -> str:
    """Return the group of a condition and a side letter; anything unknown comes back as it is."""
    text = str(condition).strip().lower().replace(" ", "_")
    if "spinal" in text or "canal" in text:
        return "spinal_canal_stenosis"
    if "foraminal" in text and side in SIDES:
        return f"{SIDES[side]}_neural_foraminal_narrowing"
    return text


def replace_coordinates(official: pd.DataFrame, improved: pd.DataFrame) -> pd.DataFrame:
    """Return the official table with the corrected rows in place of the official ones of the same study and site."""
    keys = set(zip(improved["study_id"], improved["site"], strict=True))
    kept = [key not in keys for key in zip(official["study_id"], official["site"], strict=True)]
    return pd.concat([official[kept], improved], ignore_index=True)


def read_pretraining_images(folder: Path) -> tuple[list[LabelledImage], list[LabelFault]]:
    """Read the images of ``coords_pretrain.csv`` as slices of stage 1's input, with their five points.

    An image that is missing or can't be read, an unknown level and a point outside are returned as faults.

    Args:
        folder: Folder of the CSV and of ``data/processed_{source}_jpgs/``.
    """
    columns = ("filename", "source", "level", "relative_x", "relative_y")
    table = read_table(folder / PRETRAIN_FILE, columns)
    images, faults = [], []
    for (source, name), rows in table.groupby(["source", "filename"], sort=True):
        path = folder / "data" / f"processed_{source}_jpgs" / str(name)
        native = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
        if native is None:
            faults.append(
                LabelFault("unreadable", str(path), "no such file" if not path.is_file() else "no image")
            )
            continue
        points = np.full((len(LEVELS), 2), np.nan)
        for row in rows.itertuples(index=False):
            level = level_name(row.level)
            inside = 0 <= row.relative_x < 1 and 0 <= row.relative_y < 1
            if level not in LEVELS or not inside:
                reason = "outside" if level in LEVELS else "unknown_site"
                faults.append(
                    LabelFault(reason, str(path), f"{row.level} at {row.relative_x}, {row.relative_y}")
                )
                continue
            points[LEVELS.index(level)] = labelled_pixel(np.array([row.relative_y, row.relative_x]))
        pixels = resize(normalize_slice(native), (DETECTOR_GRID, DETECTOR_GRID))
        images.append(LabelledImage(str(name), str(source), pixels, points))
    return images, faults
