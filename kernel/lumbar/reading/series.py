"""A series' folder -> its slices, with every file that can not be used named, and why.

Order depends on instance numbers and positions, never on names while those are there.
"""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lumbar.faults import DicomError, Fault
from lumbar.reading.dicom_file import Slice, read_file
from lumbar.reading.library_warnings import gathered_warnings
from lumbar.reading.orientation import AS_STORED, usual_turn
from lumbar.reading.pixel_header import MAX_FRAMES
from lumbar.reading.tags import MAX_TILT, Notes, plane_of, tilt
from lumbar.reading.volume_file import read_volume_file, suffix_of

__all__ = ["DicomError", "Series", "Slice", "read_file", "read_series"]

logger = logging.getLogger(__name__)

MAX_SERIES_BYTES = 2**30  # of decoded pixels: 512 slices of 1024 x 1024 at 16 bits


@dataclass
class Series:
    """The usable slices of one series in instance order; ``faults`` has the files left out, and oddities."""

    series_id: str
    description: str
    slices: list[Slice]
    faults: list[Fault] = field(default_factory=list)


def read_series(
    folder: Path,
    description: str,
    files: Mapping[Path, tuple[int, ...] | None] | None = None,
    series_id: str = "",
) -> Series:
    """Read every file of a series' folder (hidden files apart), or the given files, wherever they lie.

    A file that can't be used is in ``faults`` and the others go on. So are a localizer, and a slice in another plane
    than most.

    Args:
        folder: The series' folder.
        description: One of the three, or any text.
        files: Files to read, each with the indices of its frames, None for all frames.
        series_id: Name of the series, the folder's by default.

    Returns:
        Slices by instance number, then SOP instance UID, then file name; by file name if any slice has no number.

    Raises:
        DicomError: No slice is usable, the folder is missing or empty, or the series is over the bounds
            ("too_large"). The reason is that of the files where they share one. ``faults`` has all of them.
    """
    folder = Path(folder)
    slices: list[Slice] = []
    faults: list[Fault] = []
    notes: Counter[tuple[str, str]] = Counter()
    numbers: list[int | None] = []
    size = 0
    with gathered_warnings(folder):
        for path, frames in (dict.fromkeys(_files(folder)) if files is None else files).items():
            try:
                found, file_notes = (read_volume_file if suffix_of(path) else read_file)(path, frames)
            except DicomError as error:
                faults.append(Fault(str(path), error.reason, str(error)))
                continue
            notes.update(set(file_notes))
            numbers.append(found[0].instance_number)
            slices += found
            size += sum(s.pixels.nbytes for s in found)
            if size > MAX_SERIES_BYTES or len(slices) > MAX_FRAMES:
                message = (
                    f"{folder}: got over {MAX_SERIES_BYTES} bytes or {MAX_FRAMES} slices in a series; refused"
                )
                raise DicomError("too_large", message)
    slices, strays = _split_by_plane(slices, description, folder)
    faults += strays
    _log_faults(folder, faults)
    if not slices:
        reasons = {fault.reason for fault in faults}
        reason = reasons.pop() if len(reasons) == 1 else "no_usable_slice"
        message = f"{folder}: none of {len(faults)} files is usable; first: {faults[0].message}"
        raise DicomError(reason, message, tuple(faults))
    for (reason, text), count in sorted(notes.items()):
        logger.info("%s: %s (%d files)", folder, text, count)
        faults.append(Fault(str(folder), reason, f"{folder}: {text} ({count} files)"))
    slices = [s.turned(usual_turn(s.orientation, description)) for s in _in_instance_order(slices)]
    for reason, text in _same_numbers(numbers) + _odd_slices(slices):
        logger.info("%s: got %s", folder, text)
        faults.append(Fault(str(folder), reason, f"{folder}: got {text}"))
    return Series(series_id or folder.name, description, slices, faults)


def _same_numbers(numbers: list[int | None]) -> Notes:
    """Return how many files share an instance number with another; frames of one file may."""
    files = Counter(number for number in numbers if number is not None)
    shared = sum(count for count in files.values() if count > 1)
    text = f"{shared} of {len(numbers)} files with another's InstanceNumber; UID or name orders them"
    return [("same_number", text)] if shared else []


def _odd_slices(slices: list[Slice]) -> Notes:
    """Return how many slices, given in instance order, differ from the first in size or lack a place."""
    first, lost = slices[0].shape, "their points have no place in the patient"
    odd = (
        ("mixed_sizes", [s.shape != first for s in slices], f"not of size {first}; resized to it"),
        (
            "turned",
            [s.turn != AS_STORED for s in slices],
            "with unusual rows or columns; turned to be graded",
        ),
        ("no_orientation", [not s.orientation for s in slices], f"without ImageOrientationPatient; {lost}"),
        ("no_spacing", [not s.spacing for s in slices], f"without PixelSpacing; {lost}"),
    )
    return [(reason, f"{sum(are)} of {len(are)} slices {text}") for reason, are, text in odd if any(are)]


def _log_faults(folder: Path, faults: list[Fault]) -> None:
    """Log each reason once per series, with the first file's message."""
    first = {fault.reason: fault.message for fault in reversed(faults)}
    for reason, count in Counter(fault.reason for fault in faults).items():
        logger.warning("%s: %d files left out as %s; first: %s", folder, count, reason, first[reason])


def _files(folder: Path) -> list[Path]:
    """List a folder's entries in the natural order of their names (2.dcm before 10.dcm)."""
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        reason = "no_permission" if isinstance(error, PermissionError) else "folder_missing"
        raise DicomError(reason, f"{folder}: {error.strerror}; expected the series' folder") from error
    if not paths:
        raise DicomError("empty_folder", f"{folder}: got no files, expected the series' DICOM files")
    return sorted(paths, key=lambda path: _natural(path.name))


def _natural(name: str) -> tuple:
    """Return a sorting key in which numbers inside a name compare as numbers; the name breaks ties."""
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"([0-9]+)", name)], name


def _split_by_plane(slices: list[Slice], description: str, folder: Path) -> tuple[list[Slice], list[Fault]]:
    """Part the slices that lie in another plane than most; among equals the described plane wins.

    A block through L5/S1 may be tilted beyond 45 degrees and be nearest to another plane. It stays up to MAX_TILT,
    which a slice that is nearest to its series' plane never reaches.
    """
    planes = [plane_of(s.orientation) for s in slices]
    votes = Counter(plane for plane in planes if plane)
    if len(votes) < 2:
        return slices, []
    plane = max(votes, key=lambda p: (votes[p], description.lower().startswith(p)))
    kept, strays = [], []
    for s, p in zip(slices, planes, strict=True):
        if s.orientation is None or tilt(s.orientation, plane) < MAX_TILT:
            kept.append(s)
            continue
        message = (
            f"{folder / s.name}: got a {p} slice, expected {plane} as most of its series; it is left out"
        )
        strays.append(Fault(str(folder / s.name), "other_orientation", message))
    return kept, strays


def _in_instance_order(slices: list[Slice]) -> list[Slice]:
    if any(s.instance_number is None for s in slices):
        return sorted(slices, key=lambda s: _natural(s.name))
    return sorted(slices, key=lambda s: (s.instance_number, s.sop_instance_uid, _natural(s.name)))
