"""Small studies of smooth random pictures, written as DICOM in the competition's layout."""

from pathlib import Path

import numpy as np

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.dicom_writer import AXIAL, SAGITTAL, write_slice
from tests.making.random_bundle import smooth_picture


def write_series(
    folder: Path, rng: np.random.Generator, sizes: list[tuple[int, int]], axis: int, start: float, step: float
):
    """Write one slice a size, their positions along ``axis`` (0 sagittal, 2 axial) from ``start`` by ``step`` mm."""
    for instance, (rows, columns) in enumerate(sizes, start=1):
        position = [-60.0, -60.0, 60.0]
        position[axis] = start + step * (instance - 1)
        write_slice(
            folder / f"{instance}.dcm",
            smooth_picture(rng, rows, columns),
            InstanceNumber=instance,
            ImagePositionPatient=position,
            ImageOrientationPatient=AXIAL if axis == 2 else SAGITTAL,
            PixelSpacing=[0.6, 0.6],
        )


def write_studies(root: Path) -> Path:
    """Write studies 1 (everything, awkward), 2 (no axial series) and 3 (one slice each) under ``root``."""
    rng = np.random.default_rng(7)
    images, rows = root / "test_images", ["study_id,series_id,series_description"]

    def series(study: int, number: int, description: str, *layout) -> None:
        write_series(images / str(study) / str(number), rng, *layout)
        rows.append(f"{study},{number},{description}")

    series(1, 11, SAGITTAL_T1, [(96, 80)] * 9, 0, 20.0, -4.0)  # right to left; squeezed where D = 8
    series(1, 12, SAGITTAL_T2, [(90, 100)] * 3 + [(64, 64)] + [(90, 100)], 0, -9.0, 4.0)  # one odd size
    series(1, 13, AXIAL_T2, [(72, 72)] * 4, 2, 30.0, -5.0)
    series(1, 14, AXIAL_T2, [(80, 64)] * 3, 2, 27.0, -5.0)  # interleaves with the first
    series(2, 21, SAGITTAL_T1, [(96, 96)] * 4, 0, -9.0, 4.0)
    series(2, 22, SAGITTAL_T2, [(96, 96)] * 6, 0, 9.0, -4.0)
    series(3, 31, SAGITTAL_T1, [(64, 64)], 0, 0.0, 4.0)
    series(3, 32, SAGITTAL_T2, [(64, 64)], 0, 0.0, 4.0)
    series(3, 33, AXIAL_T2, [(64, 64)], 2, 0.0, 4.0)
    (root / "test_series_descriptions.csv").write_text("\n".join(rows) + "\n")
    return root
