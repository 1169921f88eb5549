"""Show four phantoms beside a real study, and compare their histograms and edges.

    python -m tests.benchmarks.phantom_sheet --out SHEET.png [--real ../shared/real/studies]

Rows: phantoms, then the real study. Columns: mid-sagittal T2, mid-sagittal T1, a foraminal T1 slice, the axial
slices at L3/L4 and L4/L5. A sheet with real pixels in it must not be committed.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from phantom import write_phantoms
from training.evaluation.phantom_bound import describe_bound

COLUMNS = (
    (SAGITTAL_T2, "Spinal Canal Stenosis", "L3/L4"),
    (SAGITTAL_T1, None, None),
    (SAGITTAL_T1, "Left Neural Foraminal Narrowing", "L4/L5"),
    (AXIAL_T2, "Left Subarticular Stenosis", "L3/L4"),
    (AXIAL_T2, "Left Subarticular Stenosis", "L4/L5"),
)
QUANTILES = (10, 50, 75, 90)
TILE = 384  # pixels of a side on the sheet
GREY_LEVELS, EDGE_SHARE = 25, 0.30  # how far a phantom's quantiles and edges may be from the real ones


def sheet_row(root: Path, ref) -> np.ndarray:
    """Return one study's five slices side by side, (TILE, 5 * TILE) uint8, normalised as the kernel does."""
    points = pd.read_csv(root / "train_label_coordinates.csv")
    points = points[points.study_id.astype(str) == ref.study_id]
    volumes = read_study(ref).volumes
    tiles = []
    for description, condition, level in COLUMNS:
        volume = volumes.get(description)
        tile = np.zeros((TILE, TILE), np.uint8)
        if volume is not None:
            index = len(volume) // 2
            row = points[(points.condition == condition) & (points.level == level)]
            if len(row):
                found = (str(row.series_id.iloc[0]), int(row.instance_number.iloc[0]))
                index = [(h.series_id, h.instance_number) for h in volume.headers].index(found)
            tile = cv2.resize(volume.grid512[index], (TILE, TILE), interpolation=cv2.INTER_AREA)
        tiles.append(tile)
    return np.hstack(tiles)


def figures(ref) -> dict[str, np.ndarray]:
    """Return per description: mean over slices of the four quantiles and the gradient's 90th percentile."""
    found = {}
    for description, volume in read_study(ref).volumes.items():
        grid = volume.grid512.astype(np.float32)
        edges = [np.percentile(np.hypot(*np.gradient(one)), 90) for one in grid]
        found[description] = np.append(
            np.percentile(grid, QUANTILES, axis=(1, 2)).mean(axis=1), np.mean(edges)
        )
    return found


def report(phantoms: list[dict], real: dict | None) -> list[str]:
    """Return a line per description: phantoms' mean, the real study's, and whether they are near enough."""
    lines = [
        "description: quantiles 10 50 75 90 of 255, gradient's 90th percentile (512 grid, grey levels a pixel)"
    ]
    for description in (SAGITTAL_T2, SAGITTAL_T1, AXIAL_T2):
        mine = np.mean([f[description] for f in phantoms if description in f], axis=0)
        line = f"{description}: phantoms {' '.join(f'{q:.0f}' for q in mine[:4])}, {mine[4]:.1f}"
        if real is not None:
            theirs = real[description]
            near = (np.abs(mine[:4] - theirs[:4]) <= GREY_LEVELS).all()
            sharp = abs(mine[4] / theirs[4] - 1) <= EDGE_SHARE
            line += f"; real {' '.join(f'{q:.0f}' for q in theirs[:4])}, {theirs[4]:.1f}"
            line += f"; histogram {'near' if near else 'FAR'}, edges {'near' if sharp else 'FAR'}"
        lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the sheet, a PNG file")
    parser.add_argument("--real", type=Path, help="a competition folder with a real study")
    parser.add_argument(
        "--phantoms", type=Path, help="phantoms already written (default: write --studies anew)"
    )
    parser.add_argument("--studies", type=int, default=4, help="phantoms measured; the sheet shows four")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.phantoms or Path(temporary) / "phantoms"
        if options.phantoms is None:
            write_phantoms(root, options.studies, options.seed, workers=2)
        refs = find_dataset(root, split="train").studies[: options.studies]
        rows = [sheet_row(root, ref) for ref in refs[:4]]
        measured = [figures(ref) for ref in refs]
    real = None
    if options.real is not None:
        ref = find_dataset(options.real, split="train").studies[0]
        rows.append(sheet_row(options.real, ref))
        real = figures(ref)
    cv2.imwrite(str(options.out), np.vstack(rows))
    print("\n".join([describe_bound(), *report(measured, real), f"Sheet: {options.out}"]))


if __name__ == "__main__":
    main()
