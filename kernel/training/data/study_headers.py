"""The slice headers of every study, without pixels: enough to compare points with labels."""

from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from lumbar.reading.references import Dataset
from lumbar.reading.study import read_study
from lumbar.reading.volume import Volume
from training.data.cache import file_faults
from training.data.labels import LabelFault

NO_PIXELS = np.zeros((0, 0, 0), np.uint8)


@dataclass(frozen=True)
class StudyHeaders:
    """Volumes without pixels; ``faults`` names every file that could not be read. It stands in for a ``Cache``."""

    studies: dict[str, dict[str, Volume]]
    faults: tuple[LabelFault, ...]

    @property
    def study_ids(self) -> tuple[str, ...]:
        return tuple(self.studies)

    def volumes(self, study_id: str) -> dict[str, Volume]:
        """Return the volumes of a study by description; absent ones are not in it."""
        return self.studies[study_id]


def read_study_headers(competition: Dataset) -> StudyHeaders:
    """Read every study and keep its slice headers.

    Pixels are decoded as well: a slice counts in a volume only if it can be.
    """
    studies, faults = {}, []
    for ref in tqdm(competition.studies, desc="read", unit="study", mininterval=1.0):
        study = read_study(ref)
        studies[ref.study_id] = {
            description: replace(volume, grid256=NO_PIXELS, grid512=NO_PIXELS)
            for description, volume in study.volumes.items()
        }
        faults += file_faults(ref.study_id, study.faults)
    return StudyHeaders(studies, tuple(faults))
