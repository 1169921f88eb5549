"""All files under a folder -> the headers of their pictures, and a fault for each file that is lost."""

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lumbar.faults import DicomError, Fault
from lumbar.reading.dicom_file import HEAD_BYTES, POINTER, is_data_set
from lumbar.reading.picture_header import PictureHeader, read_headers_of
from lumbar.reading.volume_file import read_volume_headers, suffix_of

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".dcm", ".ima", ".dicom", ".dic", ".mr")  # of files that should have been images
PACKED = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".iso")
ONE_BY_ONE = (
    3  # files of a folder lost for one reason that are named each; of more, their number and the first
)


@dataclass
class Scan:
    """The content of a folder.

    Attributes:
        headers: One a picture.
        faults: Files that should have been images, or may hold some, and can't be read.
        others: How many files of each suffix are no images, which nobody misses.
    """

    headers: list[PictureHeader] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def scan_files(roots: Iterable[Path], unpacked: Container[Path] = ()) -> Scan:
    """Read the headers of all DICOM files under folders, and name the files that are lost.

    Args:
        roots: The folders.
        unpacked: Archives that are read as folders.
    """
    scan = Scan()
    lost: dict[tuple[Path, str], list[Fault]] = defaultdict(list)
    for path in (path for root in roots for path in files_below(root) if path not in unpacked):
        if not may_be_dicom(path):
            scan.others[path.suffix.lower() or "(none)"] += 1
            continue
        try:
            found = header_reader(path)(path)
        except DicomError as error:
            lost[path.parent, error.reason].append(Fault(str(path), error.reason, str(error)))
            continue
        if found and not found[0].is_image and not found[0].study_uid:
            message = f"{path}: got a header without Rows and StudyInstanceUID, expected an image"
            lost[path.parent, "not_an_image"].append(Fault(str(path), "not_an_image", message))
        else:
            scan.headers += found
    for faults in lost.values():
        scan.faults += counted(faults)
    for fault in scan.faults:
        logger.warning("%s", fault.message)
    if scan.others:
        told = ", ".join(f"{number} {suffix}" for suffix, number in scan.others.most_common())
        logger.info("%d files are no DICOM, ignored: %s", scan.others.total(), told)
    return scan


def header_reader(path: Path) -> Callable[[Path], list[PictureHeader]]:
    """Return what reads a file's headers, by its suffix."""
    if suffix_of(path):
        return read_volume_headers
    return refuse_packed if path.suffix.lower() in PACKED else read_headers_of


def refuse_packed(path: Path) -> list[PictureHeader]:
    raise DicomError("bad_archive", f"{path}: got an archive that is not unpacked; unpack it yourself")


def counted(faults: list[Fault]) -> list[Fault]:
    """Return the faults of one folder and reason; of many, one with their number and the first one's message."""
    if len(faults) <= ONE_BY_ONE:
        return faults
    first = faults[0]
    return [first._replace(message=f"{len(faults)} files of this folder; the first: {first.message}")]


def may_be_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, should have been, or can't be opened and so has to be reported.

    Data sets without DICOM's preamble count (PS3.10 7.1 lets readers accept them), links that lead nowhere, files
    that stand for content elsewhere (git-annex, git-lfs, DVC), and archives.
    """
    try:
        if not path.exists():  # a link
            return path.is_symlink()
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return True
    suffix = path.suffix.lower()
    named = suffix in (*IMAGE_SUFFIXES, *PACKED) or suffix_of(path) != ""
    return is_data_set(head) or named or POINTER.search(head) is not None


def files_below(root: Path) -> list[Path]:
    """List the files under a folder, hidden ones apart, in sorted order; a folder met by two links is read once."""
    found, met = [], set()

    def unreadable(error: OSError) -> None:
        logger.warning("%s: %s; its content is not read", error.filename, error.strerror)

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
    roots: Iterable[Path], folders: dict[str, list[Path]], unread: list[Fault], new_id: Callable
) -> dict[str, list[Fault]]:
    """Return the faults of unread files by the study that they belong to.

    That is each study with a file in the same folder. Without one, it is each study with its series in folders beside
    this one. Without either, the files are a study of their own, of which nothing is known but the faults.

    Args:
        folders: The folders of each study's files, each once a study.
        new_id: Makes the id of a study of its own from its folder and the ids that are taken.
    """
    inside: dict[Path, set[str]] = defaultdict(set)
    beside: dict[Path, Counter[str]] = defaultdict(Counter)
    for study_id, own in folders.items():
        for folder in own:
            inside[folder].add(study_id)
            beside[folder.parent][study_id] += 1
    owners: dict[str, list[Fault]] = defaultdict(list)
    lost: dict[Path, str] = {}
    tops = set(roots)
    for fault in unread:
        folder = Path(fault.file).parent
        # Folders right under the root may be studies; several of one study show that they are series.
        found = inside[folder] or {
            s for s, n in beside[folder.parent].items() if folder.parent not in tops or n > 1
        }
        if not found:
            whole = folder if tops & {folder, folder.parent} else folder.parent
            if whole not in lost:
                lost[whole] = new_id(str(whole), {**folders, **owners})
            found = {lost[whole]}
        for study_id in sorted(found):
            owners[study_id].append(fault)
    return owners
