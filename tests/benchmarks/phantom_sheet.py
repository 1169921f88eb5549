"""Show phantoms beside real studies, and compare their grey values, edges, views and stacks.

    python -m tests.benchmarks.phantom_sheet --out SHEET.png --real ../shared/real/studies --real ../shared/real/canal
    python -m tests.benchmarks.phantom_sheet --out SHEET.png --phantoms DIR [--phantoms DIR] [--real DIR ...]

Without ``--phantoms`` ``--studies`` phantoms of each appearance are drawn. Rows: ``--rows`` studies of each folder.
Columns: the T2 slices with the canal and beside it, a mid-sagittal and a foraminal T1 slice, the axial slices at L3/L4
and L4/L5. A sheet with real pixels in it must not be committed.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lumbar.grids import CROP_GRID, WHITE
from lumbar.reading.listing import find_dataset
from lumbar.reading.references import StudyRef
from lumbar.reading.study import read_study
from lumbar.reading.volume import Volume
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from phantom import APPEARANCES, write_phantoms
from training.data.labels import COORDINATES_FILE

# Description, condition and level of the labelled slice (None: the stack's middle), slices further on.
COLUMNS = (
    (SAGITTAL_T2, "Spinal Canal Stenosis", "L3/L4", 0),
    (SAGITTAL_T2, "Spinal Canal Stenosis", "L3/L4", 3),
    (SAGITTAL_T1, None, None, 0),
    (SAGITTAL_T1, "Left Neural Foraminal Narrowing", "L4/L5", 0),
    (AXIAL_T2, "Left Subarticular Stenosis", "L3/L4", 0),
    (AXIAL_T2, "Left Subarticular Stenosis", "L4/L5", 0),
)
QUANTILES = (10, 50, 75, 90)  # of the pixels of a slice
BAND = (0.04, 0.32)  # cycles per pixel of the crop grid, of ``power``
CANAL_HALF, BODIES = (
    16,
    128,
)  # pixels of the crop grid: the canal's half width, and how far in front the bodies end
TILE = 320  # pixels of a side on the sheet


class Labels:
    """The labelled points of a folder."""

    def __init__(self, root: Path):
        self.table = pd.read_csv(root / COORDINATES_FILE, dtype={"study_id": str, "series_id": str})

    def points(
        self, ref: StudyRef, volume: Volume, condition: str | None, level: str | None = None
    ) -> np.ndarray:
        """Return the labels of a study's volume (n, 3): slice, row and column on the crop grid."""
        table = self.table
        rows = table[(table.study_id == ref.study_id) & (table.condition == condition)]
        rows = rows if level is None else rows[rows.level == level]
        places = {(h.series_id, h.instance_number): i for i, h in enumerate(volume.headers)}
        found = []
        for row in rows.itertuples():
            index = places.get((row.series_id, row.instance_number))
            if index is not None:
                height, width = volume.headers[index].shape
                found.append((index, row.y / height * CROP_GRID, row.x / width * CROP_GRID))
        return np.array(found).reshape(-1, 3)


def sheet_row(ref: StudyRef, labels: Labels) -> np.ndarray:
    """Return one study's slices side by side, (TILE, columns * TILE) uint8, normalised as the kernel does."""
    volumes, tiles = read_study(ref).volumes, []
    for description, condition, level, further in COLUMNS:
        volume = volumes.get(description)
        tile = np.zeros((TILE, TILE), np.uint8)
        if volume is not None:
            points = labels.points(ref, volume, condition, level)
            index = int(points[0, 0]) if len(points) else len(volume) // 2
            index = min(index + further, len(volume) - 1)
            tile = cv2.resize(volume.grid512[index], (TILE, TILE), interpolation=cv2.INTER_AREA)
        tiles.append(tile)
    return np.hstack(tiles)


def figures(ref: StudyRef, labels: Labels) -> dict[str, dict[str, float]]:
    """Return by description: the means over slices of grey values, edges and power, and the stack's size.

    ``view_mm`` is the height of the field of view. Two figures are of the slice with the middle canal point of a
    sagittal T2. ``saturated_outside`` is the share of its white pixels that lie outside the canal, between the highest
    and the lowest point. ``anterior_p99`` is the 99th percentile in front of the vertebral bodies.
    """
    found = {}
    for description, volume in read_study(ref).volumes.items():
        shown = volume.grid512[volume.grid512.any(axis=(1, 2))].astype(np.float32)
        quantiles = np.percentile(shown, QUANTILES, axis=(1, 2)).mean(axis=1)
        entry = {f"q{share}": float(value) for share, value in zip(QUANTILES, quantiles, strict=True)}
        entry["gradient_p90"] = float(
            np.mean([np.percentile(np.hypot(*np.gradient(one)), 90) for one in shown])
        )
        entry["power"] = float(np.mean([band_power(one) for one in shown]))
        header = volume.headers[0]
        entry["slices"] = len(volume)
        entry["view_mm"] = header.usual_spacing[0] * header.usual_shape[0] if header.usual_spacing else np.nan
        points = labels.points(ref, volume, "Spinal Canal Stenosis")
        if description == SAGITTAL_T2 and len(points) > 1:
            entry |= canal_figures(volume, points)
        found[description] = entry
    return found


def band_power(image: np.ndarray) -> float:
    """Return the mean power of (512, 512) grey values between the frequencies of ``BAND``, grey levels squared."""
    spectrum = np.abs(np.fft.rfft2(image)) ** 2 / image.size
    frequency = np.hypot(np.fft.fftfreq(len(image))[:, None], np.fft.rfftfreq(len(image)))
    return float(spectrum[(frequency >= BAND[0]) & (frequency < BAND[1])].mean())


def canal_figures(volume: Volume, points: np.ndarray) -> dict[str, float]:
    """Return ``saturated_outside`` and ``anterior_p99`` of ``figures``."""
    points = points[np.argsort(points[:, 1])]
    rows = np.arange(int(points[0, 1]), int(points[-1, 1]) + 1)
    image = volume.grid512[int(points[len(points) // 2, 0])][rows]
    off = np.arange(CROP_GRID) - np.interp(rows, points[:, 1], points[:, 2])[:, None]
    white, front = image >= WHITE - 1, off < -BODIES
    outside = (np.abs(off) > CANAL_HALF) & white
    return {
        "saturated_outside": float(outside.sum() / max(1, white.sum())),
        "anterior_p99": float(np.percentile(image[front], 99)) if front.any() else np.nan,
    }


def report(sets: dict[str, list[dict]]) -> list[str]:
    """Return a line per description, figure and folder: mean, smallest and largest of its studies."""
    lines = []
    for description in (SAGITTAL_T2, SAGITTAL_T1, AXIAL_T2):
        studies = {name: [f[description] for f in found if description in f] for name, found in sets.items()}
        names = dict.fromkeys(key for found in studies.values() for one in found for key in one)
        lines += ["", f"{description:20s}" + "".join(f"{name:>28s}" for name in studies)]
        for figure in names:
            cells = []
            for found in studies.values():
                values = np.array([one.get(figure, np.nan) for one in found])
                values = values[~np.isnan(values)]
                text = (
                    f"{values.mean():.4g} ({values.min():.4g} to {values.max():.4g})" if len(values) else "-"
                )
                cells.append(f"{text:>28s}")
            lines.append(f"{figure:20s}" + "".join(cells))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="the sheet, a PNG file")
    add("--phantoms", type=Path, action="append", default=[], help="phantoms already written; may come again")
    add("--real", type=Path, action="append", default=[], help="labelled real studies; may come again")
    add("--studies", type=int, default=8, help="measured of each folder (default: %(default)s)")
    add("--rows", type=int, default=3, help="shown of each folder (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the phantoms that are drawn")
    options = parser.parse_args()
    rows, sets = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        drawn = [] if options.phantoms else [Path(temporary) / name for name in APPEARANCES]
        for folder in drawn:
            write_phantoms(folder, options.studies, options.seed, workers=2, appearance=folder.name)
        for folder in (*drawn, *options.phantoms, *options.real):
            refs, labels = find_dataset(folder, split="train").studies[: options.studies], Labels(folder)
            rows += [sheet_row(ref, labels) for ref in refs[: options.rows]]
            sets[folder.name] = [figures(ref, labels) for ref in refs]
    cv2.imwrite(str(options.out), np.vstack(rows))
    print("\n".join([*report(sets)[1:], f"Sheet: {options.out}"]))


if __name__ == "__main__":
    main()
