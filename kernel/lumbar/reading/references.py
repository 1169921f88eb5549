"""Where the studies to read and their series lie, found by tables or by headers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lumbar.faults import Fault


@dataclass(frozen=True)
class SeriesRef:
    """Where a series is.

    Attributes:
        description: One of the three, or as spelled in the CSV where it is none.
        files: The series' own, wherever they lie, each with the indices of its frames that belong to the series
            (None: all); None where they are all files of ``folder``.
    """

    series_id: str
    folder: Path
    description: str
    files: Mapping[Path, tuple[int, ...] | None] | None = None


@dataclass(frozen=True)
class StudyRef:
    """A study to read: its series in the order of the CSV's rows; ``faults`` that are known already."""

    study_id: str
    series: tuple[SeriesRef, ...]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """The studies of one input: the competition's folder, or any folder or .zip of DICOM.

    Attributes:
        root: What was given, or found under ``/kaggle/input``.
        split: "test" or "train"; "plain" for an input without the competition's tables.
        images: The competition's folder of images; the whole input where it has no tables.
        studies: In the order of the table, those that only the sample submission names last.
        sample_ids: Row ids of ``sample_submission.csv`` in its order; None where there is no such file.
        decisions: JSON for ``run.json``: what each series of a plain input was taken for, and why.
    """

    root: Path
    split: str
    images: Path
    studies: tuple[StudyRef, ...]
    sample_ids: tuple[str, ...] | None
    decisions: tuple[dict, ...] = ()
