"""Headers of pictures -> studies and their series: by UIDs, and by patient, date, number and text."""

import logging
from collections import Counter, defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from lumbar.faults import Fault
from lumbar.reading.competition_tables import IDENTIFIER
from lumbar.reading.picture_header import Patient, PictureHeader

logger = logging.getLogger(__name__)

LEAST_PICTURES = 3  # of a patient under a shared UID: with fewer it is the PatientID that can't be trusted


@dataclass
class StudyGroup:
    """The pictures of one study by series; ``faults`` name a UID that was not enough to separate studies."""

    study_id: str
    series: dict[tuple, list[PictureHeader]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    @property
    def folders(self) -> list[Path]:
        """Folders that hold files of the study, each once."""
        return sorted({p.path.parent for pictures in self.series.values() for p in pictures})


def group_studies(roots: list[Path], headers: list[PictureHeader]) -> list[StudyGroup]:
    """Group pictures by study and series, in the order of their ids; an id is a plain part of a path.

    Where a UID is absent its folder stands for it: a picture's folder for the series, the one above for the study.
    One StudyInstanceUID of several patients or dates is several studies. One SeriesInstanceUID of several
    SeriesNumbers or SeriesDescriptions is several series.
    """
    keyed: dict[tuple, list[PictureHeader]] = defaultdict(list)
    for header in headers:
        folder = header.path.parent
        above = folder if folder in roots else folder.parent
        key = (header.study_uid,) if header.study_uid else (str(above),)
        keyed[key].append(header)
    missing = sum(not header.study_uid for header in headers)
    if missing:
        logger.warning("%s: %d files have no StudyInstanceUID; their folders stand for it", roots[0], missing)
    groups: dict[str, StudyGroup] = {}
    for (uid,), pictures in sorted(joined_scattered(keyed).items()):
        parts = by_patient(pictures)
        for part in parts:
            study_id = plain_id(uid, groups)
            groups[study_id] = StudyGroup(study_id, series_of(part))
            if len(parts) > 1:
                groups[study_id].faults.append(shared_uid(study_id, uid, parts))
    return list(groups.values())


def joined_scattered(keyed: dict[tuple, list[PictureHeader]]) -> dict[tuple, list[PictureHeader]]:
    """Join studies of one or two pictures that share patient, date and frame of reference under the first's UID.

    Some converters and anonymisers write another StudyInstanceUID into every file.
    """
    scattered: dict[tuple, list[tuple]] = defaultdict(list)
    for key, pictures in keyed.items():
        first = pictures[0]
        if len(pictures) < LEAST_PICTURES and first.frame_of_reference and first.frame is None:
            scattered[first.patient, first.frame_of_reference].append(key)
    joined = dict(keyed)
    for keys in scattered.values():
        if len(keys) >= LEAST_PICTURES:
            logger.warning(
                "%d StudyInstanceUIDs of one or two pictures each are taken for one study", len(keys)
            )
            joined[min(keys)] = [picture for key in sorted(keys) for picture in joined.pop(key)]
    return joined


def series_of(pictures: list[PictureHeader]) -> dict[tuple, list[PictureHeader]]:
    """Return a study's pictures by series, in the order of the keys."""
    series: dict[tuple, list[PictureHeader]] = defaultdict(list)
    for one in pictures:
        series[one.series_uid or str(one.path.parent), one.number, one.text].append(one)
    return {key: series[key] for key in sorted(series)}


def by_patient(pictures: list[PictureHeader]) -> list[list[PictureHeader]]:
    """Part the pictures under one study UID by patient and date, as far as files have them.

    A value that is absent agrees with all others. Values that differ from picture to picture are no patients.
    """
    known = list(dict.fromkeys(p.patient for p in pictures))
    persons: list[list[Patient]] = []
    for one in known:
        match = next((person for person in persons if all(same_person(one, other) for other in person)), None)
        if match is None:
            persons.append([one])
        else:
            match.append(one)
    number = {one: index for index, person in enumerate(persons) for one in person}
    counts = Counter(number[p.patient] for p in pictures)
    if len(counts) < 2 or min(counts.values()) < LEAST_PICTURES:
        return [pictures]
    order = sorted(
        counts, key=lambda index: (persons[index][0].patient_id, persons[index][0].study_date, index)
    )
    return [[p for p in pictures if number[p.patient] == index] for index in order]


def same_person(one: Patient, other: Patient) -> bool:
    """Return whether no value that both have differs."""
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(a == b or not a or not b for a, b in pairs)


def shared_uid(study_id: str, uid: str, parts: list[list[PictureHeader]]) -> Fault:
    """Return the fault of a study with a UID that others have as well."""
    patients = [part[0].patient for part in parts]
    names = ", ".join(f"{p.patient_id or '(none)'} of {p.study_date or 'no date'}" for p in patients)
    message = f"study {study_id}: StudyInstanceUID {uid} covers {len(parts)} patients or dates by PatientID,"
    message += f" PatientName, PatientBirthDate and StudyDate: {names}. Each is taken for a study."
    logger.warning("%s", message)
    return Fault(f"study {study_id}", "shared_uid", message)


def plain_id(text: str, taken: Container[str]) -> str:
    """Return a UID, or the last part of a folder's path, as an id that can name a file and is not taken."""
    name = Path(text).name or "root"
    name = "".join(c if IDENTIFIER.fullmatch(f"a{c}") else "_" for c in name)[:100]
    name = name if IDENTIFIER.fullmatch(name) else f"_{name}"
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}-{number}"
    return unique
