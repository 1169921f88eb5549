"""Any folder of DICOM -> studies and their series; descriptions are inferred from the headers, which alone are read."""

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lumbar.faults import HEADER_REASONS, UNKNOWN_SERIES, DataNotFoundError, Fault
from lumbar.reading.candidate import Candidate
from lumbar.reading.header_scan import Scan, files_below, owners_of_unread, scan_files
from lumbar.reading.library_warnings import gathered_warnings
from lumbar.reading.picture_choice import choose
from lumbar.reading.picture_header import LAST, PictureHeader
from lumbar.reading.references import Dataset, SeriesRef, StudyRef, shown, with_shown_paths
from lumbar.reading.region_check import placed_elsewhere
from lumbar.reading.series_facts import is_secondary
from lumbar.reading.series_kind import SeriesKind, kind_of
from lumbar.reading.stacks import stacks_of
from lumbar.reading.study_groups import StudyGroup, group_studies, plain_id
from lumbar.reading.zip_archive import is_archive, unpack_all
from lumbar.sites import DESCRIPTIONS

logger = logging.getLogger(__name__)

Overrules = dict[tuple[str, str], str]  # descriptions of a --series table by (study id, series id or folder)


@dataclass(frozen=True)
class LostSeries:
    """A series without one usable file: its id, first picture, number of files, and why it is lost."""

    series_id: str
    first: PictureHeader
    files: int
    kind: SeriesKind


def scan_folder(root: Path, overrules: Overrules) -> Dataset:
    """List the studies under a folder, and infer the description of each series.

    A series that is left out is a fault of its study if a description is missing, because it may be that one, or if
    its kind is unknown. Otherwise it is in the decisions alone. Series of one description that lie beside one another
    are joined in the order of their SeriesNumber. Of several pictures of one place one is read. Archives in the
    folder are unpacked, and read as folders at their place.

    Args:
        overrules: Descriptions by (study id, series id or its folder's name), which override all headers.

    Returns:
        A "plain" data set: studies sorted by id, those without a readable file last. A decision has study_id,
        series_id, number (SeriesNumber or None), text (SeriesDescription and ProtocolName), description or None,
        reason, why, files.

    Raises:
        DataNotFoundError: There is no DICOM file.
    """
    archives = [path for path in files_below(root) if is_archive(path)]
    unpacked, failed = unpack_all(archives, root) if archives else (None, [])
    roots = [root, unpacked] if unpacked else [root]
    names = ((str(unpacked), str(root)),) if unpacked else ()
    with gathered_warnings(root):
        scan = scan_files(roots, {path for path in archives if path not in dict(failed)})
    scan.faults = [f for f in scan.faults if Path(f.file) not in dict(failed)]
    scan.faults += [Fault(str(path), "bad_archive", message) for path, message in failed]
    if not scan.headers:
        raise DataNotFoundError(shown(nothing_found(root, scan), names))
    groups = group_studies(roots, scan.headers)
    owners = owners_of_unread(
        roots, {group.study_id: group.folders for group in groups}, scan.faults, plain_id
    )
    studies, decisions, known = [], [], set()
    for group in groups:
        ref, told, series_names = decide_study(group, overrules)
        studies.append(StudyRef(ref.study_id, ref.series, ref.faults + tuple(owners.pop(ref.study_id, ()))))
        decisions += told
        known |= {(group.study_id, name) for name in series_names}
    studies += [StudyRef(study_id, (), tuple(faults)) for study_id, faults in owners.items()]
    for study_id, series_id in overrules.keys() - known:
        logger.warning("--series: study %s, series %s is not under %s", study_id, series_id, root)
    for told in decisions:
        logger.info(
            "study %(study_id)s, series %(series_id)s (%(files)d files): %(description)s; %(why)s", told
        )
    logger.info("%s: %d studies, %d series by their headers", root, len(studies), len(decisions))
    found = Dataset(root, "plain", root, tuple(studies), None, tuple(decisions), dict(scan.others))
    return with_shown_paths(found, names)


def nothing_found(root: Path, scan: Scan) -> str:
    """Return the message for a folder without a DICOM image; it names the other files."""
    message = f"{root}: got no table of series, and no DICOM image under it, expected either"
    if scan.faults:
        message += f"; {len(scan.faults)} files can't be read, the first: {scan.faults[0].message}"
    elif scan.others:
        held = ", ".join(f"{number} {suffix}" for suffix, number in scan.others.most_common(5))
        message += f"; it holds other files: {held}"
    return f"{message}; pass the folder (or .zip) with --data"


def decide_study(group: StudyGroup, overrules: Overrules) -> tuple[StudyRef, list[dict], set[str]]:
    """Return a study's series that are read, the decisions, and the names that ``--series`` may use for its series."""
    candidates: list[Candidate] = []
    lost: list[LostSeries] = []
    faults: dict[tuple, list[Fault]] = {}
    names: set[str] = set()
    ids: set[str] = set()
    for key in sorted(group.series, key=lambda key: (key[1], key[0])):
        folder_name = group.series[key][0].path.parent.name
        named = named_kind(group.study_id, (key[0], folder_name), overrules)
        kept, faults[key] = usable(group.series[key], named is not None)
        for stack in stacks_of(key, kept):
            series_id = plain_id(key[0], ids)
            ids.add(series_id)
            kind = named_kind(group.study_id, (series_id, key[0], folder_name), overrules)
            candidates.append(Candidate(series_id, stack, kind or kind_of(stack.facts), kind is not None))
            names |= {series_id, key[0], folder_name}
        if not kept:
            series_id = plain_id(key[0], ids)
            ids.add(series_id)
            kind = named_kind(group.study_id, (series_id, folder_name), overrules) or why_lost(faults[key])
            lost.append(LostSeries(series_id, group.series[key][0], len(group.series[key]), kind))
            names |= {series_id, folder_name}
    ref, decisions = study_ref(group, choose(placed_elsewhere(candidates)), lost, faults)
    return ref, decisions, names


def study_ref(
    group: StudyGroup, candidates: list[Candidate], lost: list[LostSeries], faults: dict[tuple, list[Fault]]
) -> tuple[StudyRef, list[dict]]:
    """Return a study's series that are read, with its faults, and the decisions."""
    missing = set(DESCRIPTIONS) - {c.kind.description for c in candidates}
    found, refs, decisions = list(group.faults), [], []
    told: set[tuple] = set()
    for c in sorted(candidates, key=lambda c: (c.stack.pictures[0].number, c.stack_id)):
        pictures, key = c.stack.pictures, c.stack.series
        own = [] if key in told else faults[key]
        decisions.append(
            decision(group.study_id, c.stack_id, c.kind, pictures[0], len({p.path for p in pictures}))
        )
        where = f"study {group.study_id}, series {c.stack_id}"
        folder = pictures[0].path.parent
        if c.kind.description is not None:
            found += own
            refs.append(SeriesRef(c.stack_id, folder, c.kind.description, files_of(pictures)))
            if is_secondary(c.stack.facts.image_type):
                message = (
                    f"{where}: ImageType {list(c.stack.facts.image_type)}; read, as there is no original"
                )
                found.append(Fault(str(folder), "derived_used", message))
            if c.doubt:
                found.append(Fault(str(folder), "region_doubtful", f"{where}: {c.doubt}"))
        elif is_doubtful(c.kind, missing):
            found += [*own, Fault(str(folder), c.kind.reason, f"{where}: left out: {c.kind.why}")]
        else:
            continue
        told.add(key)
    for one in lost:
        decisions.append(decision(group.study_id, one.series_id, one.kind, one.first, one.files))
        if is_doubtful(one.kind, missing):
            key = next(key for key, pictures in group.series.items() if one.first in pictures)
            where = f"study {group.study_id}, series {one.series_id}"
            fault = Fault(str(one.first.path.parent), one.kind.reason, f"{where}: left out: {one.kind.why}")
            found += [*faults[key], fault]
    return StudyRef(group.study_id, tuple(refs), tuple(found)), sorted(decisions, key=decision_order)


def is_doubtful(kind: SeriesKind, missing: Collection[str | None]) -> bool:
    """Return whether a series that is left out is a fault of its study."""
    return bool(missing) or kind.reason in UNKNOWN_SERIES or kind.reason not in HEADER_REASONS


def named_kind(study_id: str, names: tuple[str, ...], overrules: Overrules) -> SeriesKind | None:
    """Return the kind that ``--series`` gives a series by any of its names, the first one first; None for none."""
    told = next((overrules[study_id, name] for name in names if (study_id, name) in overrules), None)
    if told is None:
        return None
    if told in DESCRIPTIONS:
        return SeriesKind(told, "", "named by --series")
    return SeriesKind(None, "unknown_description", f"--series has {told!r}")


def why_lost(left_out: list[Fault]) -> SeriesKind:
    """Return why nothing of a series is used: the commonest reason of its files."""
    reason = Counter(fault.reason for fault in left_out).most_common(1)[0][0]
    first = next(fault for fault in left_out if fault.reason == reason)
    return SeriesKind(None, reason, first.message.removeprefix(f"{first.file}: "))


def files_of(pictures: tuple[PictureHeader, ...]) -> dict[Path, tuple[int, ...] | None]:
    """Return the files of a stack, each with its frames, None of a file with one picture."""
    frames: dict[Path, tuple[int, ...] | None] = {}
    for picture in pictures:
        held = frames.get(picture.path) or ()
        frames[picture.path] = None if picture.frame is None else (*held, picture.frame)
    return frames


def decision(study_id: str, series_id: str, kind: SeriesKind, first: PictureHeader, files: int) -> dict:
    """Return a decision as JSON, for the log, ``run.json`` and the report."""
    return {
        "study_id": study_id,
        "series_id": series_id,
        "number": None if first.number == LAST else first.number,
        "text": first.facts.text,
        "description": kind.description,
        "reason": kind.reason,
        "why": kind.why,
        "files": files,
    }


def decision_order(told: dict) -> tuple:
    return LAST if told["number"] is None else told["number"], told["series_id"]


def usable(headers: list[PictureHeader], overruled: bool) -> tuple[list[PictureHeader], list[Fault]]:
    """Part a series' pictures from its localizers, computed pictures, objects without pixels and copies.

    A series named by ``--series`` keeps its computed pictures: the user knows them.
    """
    kept: dict[tuple, PictureHeader] = {}
    faults: dict[str, Fault] = {}
    for header in headers:
        reason, message = header.left_out(overruled)
        if not reason and header.identity in kept:
            reason, message = "duplicate", f"a copy of {kept[header.identity].path}"
        if reason:
            path = str(header.path)
            faults.setdefault(path, Fault(path, reason, f"{path}: {message}; it is left out"))
        else:
            kept[header.identity] = header
    return list(kept.values()), list(faults.values())
