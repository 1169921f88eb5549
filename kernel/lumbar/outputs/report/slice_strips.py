"""The slices of a study as JPEG strips in a folder beside its page, for the viewer of ``slice_views`` to show.

A page from disk may show a picture from disk, but it may not fetch a volume. So the volumes are pictures: the 512 grid
of each description, ``STRIP_SLICES`` slices below one another per file. JPEG instead of WebP: at equal error WebP is a
third smaller and takes 35 times as long to write.

On one real study (96 slices): 4.3 MB, 0.05 s, and at least 39 dB between a slice and its picture.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lumbar.atomic_files import write_atomically
from lumbar.grids import CROP_GRID, DETECTOR_GRID
from lumbar.reading.study import Study
from lumbar.sites import DESCRIPTION_KEYS

STRIP_SLICES = 16  # per file: 512 x 8192 pixels, below every browser's limit for a picture
BUDGET = 6_000_000  # bytes of a study's strips; the page may have 2 MB besides
CHOICES = ((CROP_GRID, 85), (CROP_GRID, 70), (DETECTOR_GRID, 85), (DETECTOR_GRID, 60))  # side, JPEG quality


@dataclass(frozen=True)
class Strips:
    """The encoded slices of a study.

    Attributes:
        folder: Relative to the study's page.
        side: Pixels of a slice's side.
        quality: Of JPEG.
        files: By description, the content of its files in the order of the slices.
    """

    folder: str
    side: int
    quality: int
    files: dict[str, list[bytes]]

    def names(self, description: str) -> list[str]:
        """Return the file names of a description's strips."""
        return [
            f"{DESCRIPTION_KEYS[description]}-{number}.jpg"
            for number in range(1, len(self.files[description]) + 1)
        ]


def encode_strips(study: Study, folder: str) -> Strips | None:
    """Return the strips of the first of ``CHOICES`` that fits ``BUDGET``; None if none fits or nothing was read.

    Args:
        folder: Relative to the study's page.
    """
    if not study.volumes:
        return None
    for side, quality in CHOICES:
        files = encode_within(study, side, quality)
        if files is not None:
            return Strips(folder, side, quality, files)
    return None


def encode_within(study: Study, side: int, quality: int) -> dict[str, list[bytes]] | None:
    """Return the files by description; None as soon as they exceed the budget."""
    files: dict[str, list[bytes]] = {}
    left = BUDGET
    for description, volume in study.volumes.items():
        grid = volume.grid512 if side == CROP_GRID else volume.grid256
        files[description] = []
        for start in range(0, len(grid), STRIP_SLICES):
            strip = np.ascontiguousarray(grid[start : start + STRIP_SLICES]).reshape(-1, side)
            _, encoded = cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, quality])
            files[description].append(encoded.tobytes())
            left -= len(files[description][-1])
            if left < 0:
                return None
    return files


def write_strips(strips: Strips | None, folder: Path) -> None:
    """Write the strips into a study's folder, and remove the strips of an earlier page from it."""
    contents = {}
    if strips:
        for description, files in strips.files.items():
            contents |= dict(zip(strips.names(description), files, strict=True))
    for name, content in contents.items():
        write_atomically(folder / name, content)
    for key in DESCRIPTION_KEYS.values():
        for file in folder.glob(f"{key}-*.jpg"):
            if file.name not in contents:
                file.unlink()
