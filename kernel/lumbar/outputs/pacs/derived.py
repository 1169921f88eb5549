"""New DICOM objects of a study that was read: the attributes that Secondary Capture and Encapsulated PDF share."""

import datetime
import hashlib
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from lumbar.atomic_files import atomic_path
from lumbar.outputs.pacs.source_images import REPEATED

MAKER = "lumbar spine kernel (research use only)"
NOTE = "Research use only. Not for clinical use."


def derived_object(source: Dataset, sop_class: str, content: bytes, series: str, number: int) -> Dataset:
    """Return a dataset with patient, study, series and identity, in a series of its own.

    Args:
        source: Header of an image of the study, with all of ``REPEATED``.
        sop_class: UID of the object's class.
        content: Of the object, whole: other content gets another SOP Instance UID.
        series: The series' description.
        number: The series' number.
    """
    study = str(source.get("StudyInstanceUID") or generate_uid(entropy_srcs=[str(source.SOPInstanceUID)]))
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword in REPEATED:
        value = source.get(keyword)
        setattr(made, keyword, "" if value is None else str(value))
    made.StudyInstanceUID = study
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    digest = hashlib.sha256(content).hexdigest()
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[study, series, digest]
    )
    made.SeriesInstanceUID = generate_uid(entropy_srcs=[study, series])
    made.SeriesNumber, made.SeriesDescription = number, series
    made.Laterality = ""  # the spine is no paired organ
    made.Manufacturer, made.ConversionType = MAKER, "WSD"
    now = datetime.datetime.now()
    made.ContentDate, made.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    return made


def reference(source: Dataset) -> Dataset:
    """Return an item that names a source image."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return item


def write_object(made: Dataset, file: Path) -> None:
    """Write an object as a DICOM file, whole or not at all."""
    with atomic_path(file) as beside:
        made.save_as(beside, enforce_file_format=True)
