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
        series: In the order of the CSV's rows; empty where the reader lists the files at ``location``.
        faults: Those that are known already.
        names: Of temporary folders, and what stands for each in a message: the archive that was given.
        location: A folder, a .zip or a URL without credentials that the reader finds the study in, "" where
            ``series`` has the files.
        named: Descriptions of a ``--series`` table for a study at a location, by series id.
        files: How many there are to read, None where the source has no such figure.
        bytes: Their size, None where the source has no such figure.
    """

    study_id: str
    series: tuple[SeriesRef, ...] = ()
    faults: tuple[Fault, ...] = ()
    names: Names = ()
    location: str = ""
    named: tuple[tuple[str, str], ...] = ()
    files: int | None = None
    bytes: int | None = None

    def to_json(self) -> dict:
        """Return the reference as JSON of 0.2 to 2 KB, without faults, which the reader finds again.

        Only of a study at a location or in the competition's folder: lists of files are not kept.
        """
        content: dict = {"study_id": self.study_id}
        if self.series:
            content["series"] = [[one.series_id, str(one.folder), one.description] for one in self.series]
        if self.named:
            content["named"] = [list(pair) for pair in self.named]
        kept = {"location": self.location, "files": self.files, "bytes": self.bytes}
        return content | {key: value for key, value in kept.items() if value not in ("", None)}

    @classmethod
    def from_json(cls, content: dict) -> "StudyRef":
        """Return the reference of ``to_json``."""
        series = [SeriesRef(one, Path(folder), text) for one, folder, text in content.get("series", ())]
        named = [(series_id, text) for series_id, text in content.get("named", ())]
        others = {key: content[key] for key in ("location", "files", "bytes") if key in content}
        return cls(content["study_id"], tuple(series), named=tuple(named), **others)


@dataclass(frozen=True)
class Dataset:
    """The studies of one input: the competition's folder, or any folder or .zip of DICOM.

    Attributes:
        root: The given path or URL, or the folder found under ``/kaggle/input``.
        split: "test" or "train"; "plain" for an input without the competition's tables.
        images: The competition's folder of images; the whole input where it has no tables.
        studies: In the order of the table, those that only the sample submission names last.
        sample_ids: Row ids of ``sample_submission.csv`` in its order; None where there is no such file.
        decisions: JSON for ``run.json``: the inferred description of each series of a plain input, and why.
        other_files: How many files of each suffix of a plain input are no DICOM.
    """

    root: Path | str
    split: str
    images: Path | str
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
