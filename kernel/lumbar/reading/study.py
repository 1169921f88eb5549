"""A study's files -> its volumes, one for each description that has a usable series."""

import logging
from collections import Counter
from dataclasses import dataclass, field

from lumbar.faults import DicomError, Fault
from lumbar.reading.references import SeriesRef, StudyRef, shown_faults
from lumbar.reading.series import Series, read_series
from lumbar.reading.sources.fetching import local_study
from lumbar.reading.volume import Volume, build_volume
from lumbar.sites import DESCRIPTIONS

logger = logging.getLogger(__name__)


@dataclass
class Study:
    """What could be read of a study; a description without a usable series is absent from ``volumes``."""

    study_id: str
    volumes: dict[str, Volume] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_study(ref: StudyRef) -> Study:
    """Fetch a study if it lies elsewhere, read its series and join them by description.

    Nothing in the files raises: files that can't be used, and oddities, are in ``faults``. So is the reason of a study
    that its source did not give, which then has no volume.
    """
    try:
        with local_study(ref) as local:
            return read_files(local)
    except DicomError as error:
        logger.warning("study %s: %s", ref.study_id, error)
        return Study(ref.study_id, faults=[*ref.faults, Fault(ref.location, error.reason, str(error))])


def read_files(ref: StudyRef) -> Study:
    """Read a study with files on this machine, as ``read_study`` does."""
    study = Study(ref.study_id, faults=list(ref.faults))
    if not ref.series and not ref.faults:
        message = f"study {ref.study_id}: got no series in the table, expected at least one"
        study.faults.append(Fault(ref.study_id, "no_series", message))
    for series in ref.series:
        if series.description not in DESCRIPTIONS:
            where = f"study {ref.study_id}, series {series.series_id}"
            message = (
                f"{where}: got description {series.description!r}, expected one of {', '.join(DESCRIPTIONS)}"
            )
            study.faults.append(Fault(str(series.folder), "unknown_description", message))
            logger.warning("%s", message)
    for description in DESCRIPTIONS:
        usable = _read_usable(study, [s for s in ref.series if s.description == description])
        if not usable:
            continue
        volume = build_volume(usable, description)
        study.volumes[description] = volume
        if volume.order_key != "ImagePositionPatient":
            message = (
                f"study {ref.study_id}, {description}: got slices without ImagePositionPatient; ordered by"
                f" {volume.order_key}, which does not separate left from right or head from feet"
            )
            study.faults.append(Fault(f"study {ref.study_id}", "no_position", message))
            logger.warning("%s", message)
        if shared := same_positions(volume):
            message = (
                f"study {ref.study_id}, {description}: got {shared} of {len(volume)} slices at another's"
                " ImagePositionPatient; all are kept, in the order of their series and instance numbers"
            )
            study.faults.append(Fault(f"study {ref.study_id}", "same_position", message))
            logger.info("%s", message)
    study.faults = shown_faults(study.faults, ref.names)
    return study


def same_positions(volume: Volume) -> int:
    """Count the slices of a volume that do not have their ImagePositionPatient for themselves."""
    positions = Counter(header.position for header in volume.headers if header.position is not None)
    return sum(count for count in positions.values() if count > 1)


def _read_usable(study: Study, refs: list[SeriesRef]) -> list[Series]:
    """Read the series of one description; put the faults of all, usable or not, into the study."""
    usable = []
    for ref in refs:
        try:
            series = read_series(ref.folder, ref.description, ref.files, ref.series_id)
        except DicomError as error:
            logger.warning("study %s, series %s left out: %s", study.study_id, ref.series_id, error)
            study.faults += [Fault(str(ref.folder), error.reason, str(error)), *error.faults]
            continue
        study.faults += series.faults
        usable.append(series)
    return usable
