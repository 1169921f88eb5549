"""Where the studies to read and their series lie, found by tables or by headers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lumbar.faults import DataNotFoundError, Fault

Names = tuple[tuple[str, str], ...]


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
    """A study to read.

    Attributes:
        series: In the order of the CSV's rows.
        faults: Those that are known already.
        names: Of temporary folders, and what stands for each in a message: the archive that was given.
    """

    study_id: str
    series: tuple[SeriesRef, ...]
    faults: tuple[Fault, ...] = ()
    names: Names = ()


@dataclass(frozen=True)
class Dataset:
    """The studies of one input: the competition's folder, or any folder or .zip of DICOM.

    Attributes:
        root: The given path, or the folder found under ``/kaggle/input``.
        split: "test" or "train"; "plain" for an input without the competition's tables.
        images: The competition's folder of images; the whole input where it has no tables.
        studies: In the order of the table, those that only the sample submission names last.
        sample_ids: Row ids of ``sample_submission.csv`` in its order; None where there is no such file.
        decisions: JSON for ``run.json``: the inferred description of each series of a plain input, and why.
        other_files: How many files of each suffix of a plain input are no DICOM.
    """

    root: Path
    split: str
    images: Path
    studies: tuple[StudyRef, ...]
    sample_ids: tuple[str, ...] | None
    decisions: tuple[dict, ...] = ()
    other_files: Mapping[str, int] = field(default_factory=dict)


def shown(text: str, names: Names) -> str:
    """Return a message with the paths that the user knows instead of temporary ones."""
    for temporary, known in names:
        text = text.replace(temporary, known)
    return text


def shown_faults(faults: Iterable[Fault], names: Names) -> list[Fault]:
    """Return faults with the paths that the user knows."""
    return [Fault(shown(f.file, names), f.reason, shown(f.message, names)) for f in faults]


def with_shown_paths(dataset: Dataset, names: Names) -> Dataset:
    """Return a data set with faults and decisions, also those of its reading, that name the paths the user knows."""
    if not names:
        return dataset
    studies = tuple(
        replace(study, faults=tuple(shown_faults(study.faults, names)), names=(*study.names, *names))
        for study in dataset.studies
    )
    decisions = tuple(d | {"why": shown(d["why"], names)} for d in dataset.decisions)
    return replace(dataset, studies=studies, decisions=decisions)


def refuse_absent(root: Path) -> None:
    """Raise DataNotFoundError if there is neither a folder nor a file at a path to read."""
    expected = "expected the competition's folder, or a folder or .zip of DICOM; check --data"
    try:
        found = root.exists()
    except OSError as error:
        raise DataNotFoundError(f"{root}: {error.strerror}, {expected}") from error
    if not found:
        raise DataNotFoundError(f"{root}: no such folder or file, {expected}")
