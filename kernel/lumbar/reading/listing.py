"""What there is to read: studies and where their series lie, found by tables or by headers."""

from dataclasses import dataclass
from pathlib import Path

from lumbar.faults import Fault


@dataclass(frozen=True)
class SeriesRef:
    """Where a series is; ``description`` is one of the three, or as spelled in the CSV where it is none.

    ``files``: the series' own, wherever they lie; None where they are all files of ``folder``.
    """

    series_id: str
    folder: Path
    description: str
    files: tuple[Path, ...] | None = None


@dataclass(frozen=True)
class StudyRef:
    """A study to read: its series in the order of the CSV's rows; ``faults`` that are known already."""

    study_id: str
    series: tuple[SeriesRef, ...]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Competition:
    """The competition's folder: ``studies`` in the CSV's order, those that only the sample names last;
    ``sample_ids`` the row ids of ``sample_submission.csv`` in its order, None where there is none.

    Of a folder without tables ``images`` is what was scanned, ``split`` is "plain" and ``decisions`` say of
    every series what it was taken for, and why (as JSON, for ``run.json``).
    """

    root: Path
    split: str
    images: Path
    studies: tuple[StudyRef, ...]
    sample_ids: tuple[str, ...] | None
    decisions: tuple[dict, ...] = ()
