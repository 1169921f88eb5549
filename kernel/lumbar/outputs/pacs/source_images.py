"""Headers of a study's files, from which new objects take over the patient and the study."""

import contextlib

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from lumbar.faults import DicomError
from lumbar.reading.dicom_file import parse
from lumbar.reading.references import StudyRef
from lumbar.reading.sources.dicomweb import fetch_headers
from lumbar.reading.sources.fetching import local_study
from lumbar.reading.sources.locations import DICOMWEB
from lumbar.reading.tags import tag_value

REPEATED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)


def image_headers(study: StudyRef, wanted: set[str]) -> dict[str, Dataset]:
    """Return the headers, by SOP Instance UID, of the wanted images of a study that are single slices.

    An attribute of ``REPEATED`` that an image lacks is there with an empty value. A DICOMweb service gives headers
    alone. A study of another place is fetched once more.

    Raises:
        DicomError: Its source does not give it.
    """
    if study.location.partition("://")[0] in DICOMWEB:
        headers = {}
        with contextlib.suppress(DicomError):  # some services have no metadata, and all have files
            headers = fetch_headers(study.location, wanted)
        if len(headers) == len(wanted) and all("SOPClassUID" in header for header in headers.values()):
            single = {uid: header for uid, header in headers.items() if "NumberOfFrames" not in header}
            return {uid: completed(header) for uid, header in single.items()}
    with local_study(study) as local:
        return local_headers(local, wanted)


def local_headers(study: StudyRef, wanted: set[str]) -> dict[str, Dataset]:
    """Return the headers as ``image_headers`` does, of a study with files on this machine."""
    images = {}
    for series in study.series:
        for path in series.files or (sorted(series.folder.iterdir()) if series.folder.is_dir() else ()):
            try:
                identity = parse(path, [Tag("SOPInstanceUID")], pixels=False)
                uid = str(tag_value(identity, "SOPInstanceUID", []))
                if uid not in wanted:
                    continue
                header = parse(path, None, pixels=False)
            except DicomError:  # the study's faults have it already
                continue
            if "NumberOfFrames" not in header:
                images[uid] = completed(header)
    return images


def completed(header: Dataset) -> Dataset:
    """Return an image's header with an empty value of every repeated attribute that it lacks."""
    if "SOPClassUID" not in header:  # the competition's files have it in their meta information alone
        header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID
    for keyword in REPEATED:
        if keyword not in header:
            setattr(header, keyword, None)
    return header
