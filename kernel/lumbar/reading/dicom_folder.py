"""Any folder of DICOM -> studies and series by their UIDs, descriptions told from the headers.

Only headers are parsed. Where a UID is absent its folder stands for it: a file's folder for the series, the one
above for the study; several patients in one such folder are several studies.
"""

import logging
import os
from collections import Counter, defaultdict
from pathlib import Path

from lumbar.faults import HEADER_REASONS, UNKNOWN_SERIES, DataNotFoundError, DicomError, Fault
from lumbar.reading.competition_tables import IDENTIFIER
from lumbar.reading.library_warnings import gathered_warnings
from lumbar.reading.references import SeriesRef, StudyRef
from lumbar.reading.scan_header import LAST, FileHeader, is_dicom, read_header, series_facts
from lumbar.reading.series_kind import SHORTEST_T2_ECHO, SeriesKind, kind_of
from lumbar.sites import DESCRIPTIONS

logger = logging.getLogger(__name__)


def scan_folder(
    root: Path, overrules: dict[tuple[str, str], str]
) -> tuple[tuple[StudyRef, ...], tuple[dict, ...]]:
    """List the studies under a folder; of each series say what it was taken for, and why.

    A series that is left out is a fault of its study where a description is missing, as it may be the one, or
    where nobody knows what it is; else the decisions alone tell of it. Series of one description are joined in
    the order of their SeriesNumber; a second choice (STIR, fat-suppressed, with contrast agent) is left out
    where the study has a plain series, as the competition's studies have one of them.

    :param overrules: descriptions by (study id, series id or its folder's name), which no header gainsays.
    :returns: studies sorted by id, those without a readable file last; decisions: study_id, series_id, number
        (SeriesNumber or None), text (SeriesDescription and ProtocolName), description or None, reason, why, files.
    :raises DataNotFoundError: there is no DICOM file.
    """
    with gathered_warnings(root):
        headers, unread = read_headers(root)
    if not headers:
        message = f"{root}: got no table of series, and no DICOM image under it, expected either"
        raise DataNotFoundError(f"{message}; pass the folder (or .zip) with --data")
    studies, decisions = [], []
    known = set()
    groups = group(root, headers)
    owners = owners_of_unread(root, groups, unread)
    for study_id, series in groups.items():
        known |= {(study_id, name) for series_id, files in series.items() for name in names(series_id, files)}
        ref, told = decide_study(study_id, series, overrules)
        studies.append(StudyRef(study_id, ref.series, ref.faults + tuple(owners.pop(study_id, ()))))
        decisions += told
    studies += [StudyRef(study_id, (), tuple(faults)) for study_id, faults in owners.items()]
    for study_id, series_id in overrules.keys() - known:
        logger.warning("--series: study %s, series %s is not under %s", study_id, series_id, root)
    for told in decisions:
        logger.info(
            "study %(study_id)s, series %(series_id)s (%(files)d files): %(description)s; %(why)s", told
        )
    logger.info("%s: %d studies, %d series by their headers", root, len(studies), len(decisions))
    return tuple(studies), tuple(decisions)


def owners_of_unread(
    root: Path, groups: dict[str, dict[str, list[FileHeader]]], unread: list[Fault]
) -> dict[str, list[Fault]]:
    """Return the faults of files whose headers could not be read by the study they belong to.

    That is each study with a file in the same folder; where there is none, each with its series in folders beside
    this one; else a study of its own, of which nothing is known but the faults.
    """
    inside: dict[Path, set[str]] = defaultdict(set)
    beside: dict[Path, Counter[str]] = defaultdict(Counter)
    for study_id, series in groups.items():
        for folder in {header.path.parent for files in series.values() for header in files}:
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
            found = {lost.setdefault(whole, plain_id(str(whole), groups | owners))}
        for study_id in sorted(found):
            owners[study_id].append(fault)
    return owners


def read_headers(root: Path) -> tuple[list[FileHeader], list[Fault]]:
    """Read the headers of all DICOM files under a folder, and say which could not be."""
    headers: list[FileHeader] = []
    faults: list[Fault] = []
    others = 0
    for path in files_below(root):
        if not is_dicom(path):
            others += 1
            continue
        try:
            header = read_header(path)
        except DicomError as error:
            logger.warning("%s", error)
            faults.append(Fault(str(path), error.reason, str(error)))
            continue
        if header is not None and not header.is_image and not header.study_uid:
            message = f"{path}: got a header without Rows and StudyInstanceUID, expected an image"
            logger.warning("%s", message)
            faults.append(Fault(str(path), "not_an_image", message))
        elif header is not None:
            headers.append(header)
    if others:
        logger.info("%s: %d files are not DICOM, ignored", root, others)
    return headers, faults


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


def group(root: Path, headers: list[FileHeader]) -> dict[str, dict[str, list[FileHeader]]]:
    """Group files by study and series, ids sorted; ids are plain parts of paths and never shared."""
    keyed: dict[tuple, dict[tuple, list[FileHeader]]] = defaultdict(lambda: defaultdict(list))
    for header in headers:
        folder = header.path.parent
        above = folder if folder == root else folder.parent
        study = (header.study_uid, "") if header.study_uid else (str(above), header.patient)
        series = (header.series_uid,) if header.series_uid else (str(folder), header.number, header.text)
        keyed[study][series].append(header)
    missing = sum(not header.study_uid for header in headers)
    if missing:
        logger.warning("%s: %d files have no StudyInstanceUID; their folders stand for it", root, missing)
    studies: dict[str, dict[str, list[FileHeader]]] = {}
    for study_key in sorted(keyed):
        series: dict[str, list[FileHeader]] = {}
        for series_key in sorted(keyed[study_key]):
            for files in echoes(keyed[study_key][series_key]):
                series[plain_id(series_key[0], series)] = files
        studies[plain_id(study_key[0], studies)] = series
    return studies


def echoes(files: list[FileHeader]) -> list[list[FileHeader]]:
    """Part a dual-echo series (proton density and T2 in one) into its late and its early echoes."""
    late = [header for header in files if (header.facts.echo or 0) >= SHORTEST_T2_ECHO]
    early = [header for header in files if (header.facts.echo or SHORTEST_T2_ECHO) < SHORTEST_T2_ECHO]
    return [late, early] if late and len(late) + len(early) == len(files) and early else [files]


def plain_id(text: str, taken: dict) -> str:
    """Return a UID, or the last part of a folder's path, as an id that can name a file and is not taken."""
    name = Path(text).name or "root"
    name = "".join(c if IDENTIFIER.fullmatch(f"a{c}") else "_" for c in name)[:100]
    name = name if IDENTIFIER.fullmatch(name) else f"_{name}"
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}-{number}"
    return unique


def names(series_id: str, files: list[FileHeader]) -> tuple[str, str]:
    """Return what a ``--series`` table may call a series: its id, or its folder as the competition does."""
    return series_id, files[0].path.parent.name


def decide_study(
    study_id: str, series: dict[str, list[FileHeader]], overrules: dict[tuple[str, str], str]
) -> tuple[StudyRef, list[dict]]:
    """Return a study's series that are used, what is to be doubted as faults, and what was decided of each."""
    kept: dict[str, list[FileHeader]] = {}
    left_out: dict[str, list[Fault]] = {}
    kinds: dict[str, SeriesKind] = {}
    for series_id in sorted(series, key=lambda s: (series[s][0].number, s)):
        called = [(study_id, name) for name in names(series_id, series[series_id])]
        told = next((overrules[name] for name in called if name in overrules), None)
        kept[series_id], left_out[series_id] = usable(series[series_id], told is not None)
        kinds[series_id] = decide_series(kept[series_id], left_out[series_id], told)
    plain = {kind.description for kind in kinds.values() if not kind.second_choice}
    for series_id, kind in kinds.items():
        if kind.second_choice and kind.description in plain:
            why = f"{kind.why}, and the study has {kind.description}"
            kinds[series_id] = SeriesKind(None, "second_choice", why)
    missing = set(DESCRIPTIONS) - {kind.description for kind in kinds.values()}
    faults: list[Fault] = []
    refs, decisions = [], []
    for series_id, kind in kinds.items():
        folder, files = series[series_id][0].path.parent, kept[series_id]
        if kind.description is not None:
            faults += left_out[series_id]
            paths = tuple(header.path for header in files)
            refs.append(SeriesRef(series_id, folder, kind.description, paths))
        elif missing or kind.reason in UNKNOWN_SERIES or kind.reason not in HEADER_REASONS:
            where = f"study {study_id}, series {series_id}"
            faults += left_out[series_id]
            faults.append(Fault(str(folder), kind.reason, f"{where}: left out: {kind.why}"))
        decisions.append(decision(study_id, series_id, kind, files or series[series_id]))
    return StudyRef(study_id, tuple(refs), tuple(faults)), decisions


def decide_series(kept: list[FileHeader], left_out: list[Fault], told: str | None) -> SeriesKind:
    """Return what a series is. told: what ``--series`` says of it; left_out: why its other files are."""
    if told is not None and told in DESCRIPTIONS:
        return SeriesKind(told, "", "--series says so")
    if told is not None:
        return SeriesKind(None, "unknown_description", f"--series says {told!r}")
    if kept:
        return kind_of(series_facts(kept))
    reason = Counter(fault.reason for fault in left_out).most_common(1)[0][0]
    first = next(fault for fault in left_out if fault.reason == reason)
    return SeriesKind(None, reason, first.message.removeprefix(f"{first.file}: "))


def decision(study_id: str, series_id: str, kind: SeriesKind, files: list[FileHeader]) -> dict:
    """Return a decision as JSON, for the log, ``run.json`` and the report."""
    return {
        "study_id": study_id,
        "series_id": series_id,
        "number": None if files[0].number == LAST else files[0].number,
        "text": files[0].facts.text,
        "description": kind.description,
        "reason": kind.reason,
        "why": kind.why,
        "files": len(files),
    }


def usable(headers: list[FileHeader], overruled: bool) -> tuple[list[FileHeader], list[Fault]]:
    """Part a series' files from its localizers, computed pictures, objects without pixels and copies.

    An overruled series keeps its computed pictures: whoever says what it is has seen them.
    """
    kept: dict[tuple, FileHeader] = {}
    faults = []
    for header in headers:
        reason, message = header.left_out(overruled)
        if not reason and header.identity in kept:
            reason, message = "duplicate", f"a copy of {kept[header.identity].path}"
        if reason:
            faults.append(Fault(str(header.path), reason, f"{header.path}: {message}; it is left out"))
        else:
            kept[header.identity] = header
    return list(kept.values()), faults
