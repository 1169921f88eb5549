"""All files under a folder -> the headers of their pictures, and a fault for each file that is lost."""

import logging
import os
from collections import Counter, defaultdict
from pathlib import Path

from lumbar.faults import DicomError, Fault
from lumbar.reading.picture_header import PictureHeader, read_headers_of

logger = logging.getLogger(__name__)

MARK = slice(128, 132)  # where a DICOM file says "DICM"


def read_headers(root: Path) -> tuple[list[PictureHeader], list[Fault]]:
    """Read the headers of all DICOM files under a folder, and name those that could not be read."""
    headers: list[PictureHeader] = []
    faults: list[Fault] = []
    others = 0
    for path in files_below(root):
        if not is_dicom(path):
            others += 1
            continue
        try:
            found = read_headers_of(path)
        except DicomError as error:
            logger.warning("%s", error)
            faults.append(Fault(str(path), error.reason, str(error)))
            continue
        if found and not found[0].is_image and not found[0].study_uid:
            message = f"{path}: got a header without Rows and StudyInstanceUID, expected an image"
            logger.warning("%s", message)
            faults.append(Fault(str(path), "not_an_image", message))
        else:
            headers += found
    if others:
        logger.info("%s: %d files are not DICOM, ignored", root, others)
    return headers, faults


def is_dicom(path: Path) -> bool:
    """Tell whether a regular file has DICOM's mark; what can't be opened counts, so that it is said why."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(MARK.stop)[MARK] == b"DICM"
    except OSError:
        return True


def files_below(root: Path) -> list[Path]:
    """List the files under a folder, hidden ones apart, in sorted order; a folder met by two links is read once."""
    found, met = [], set()

    def unreadable(error: OSError) -> None:
        logger.warning("%s: %s; what is in it is not read", error.filename, error.strerror)

    for folder, subfolders, names in os.walk(root, onerror=unreadable, followlinks=True):
        real = os.path.realpath(folder)
        if real in met:
            subfolders.clear()
            continue
        met.add(real)
        subfolders[:] = sorted(s for s in subfolders if not s.startswith(".") and s != "__MACOSX")
        found += [Path(folder) / name for name in sorted(names) if not name.startswith(".")]
    return found


def owners_of_unread(
    root: Path, folders: dict[str, list[Path]], unread: list[Fault], new_id
) -> dict[str, list[Fault]]:
    """Return the faults of files whose headers could not be read by the study they belong to.

    That is each study with a file in the same folder; where there is none, each with its series in folders beside
    this one; else a study of its own, of which nothing is known but the faults.

    Args:
        folders: The folders of each study's files, each once a study.
        new_id: Makes the id of a study of its own from its folder.
    """
    inside: dict[Path, set[str]] = defaultdict(set)
    beside: dict[Path, Counter[str]] = defaultdict(Counter)
    for study_id, own in folders.items():
        for folder in own:
            inside[folder].add(study_id)
            beside[folder.parent][study_id] += 1
    owners: dict[str, list[Fault]] = defaultdict(list)
    lost: dict[Path, str] = {}
    for fault in unread:
        folder = Path(fault.file).parent
        # Folders right under the root may be studies; several of one study show that they are series.
        found = inside[folder] or {
            s for s, n in beside[folder.parent].items() if folder.parent != root or n > 1
        }
        if not found:
            whole = folder if root in (folder, folder.parent) else folder.parent
            if whole not in lost:
                lost[whole] = new_id(str(whole), {**folders, **owners})
            found = {lost[whole]}
        for study_id in sorted(found):
            owners[study_id].append(fault)
    return owners
