"""The header of one file -> one header a picture: one of a classic file, one a frame of an enhanced one."""

from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from lumbar.reading.dicom_file import parse
from lumbar.reading.picture_kind import PHILIPS_TYPE, RAW_TYPE, picture_kind
from lumbar.reading.pixel_header import MAX_FRAMES
from lumbar.reading.series_facts import SeriesFacts, is_computed
from lumbar.reading.tag_texts import meanings, plain_number, private_type, texts, time_of
from lumbar.reading.tags import Geometry, Notes, finite_numbers, frame_geometry, functional_group

DICOMDIR = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage: a list of files, no image
LAST = 2**31  # where a series without a number comes

# (keyword, functional group and keyword within it of an enhanced file; PS3.3 C.8.13.5)
TIMES = {
    "echo": ("EchoTime", "MREchoSequence", "EffectiveEchoTime"),
    "repetition": ("RepetitionTime", "MRTimingAndRelatedParametersSequence", "RepetitionTime"),
    "inversion": ("InversionTime", "MRModifierSequence", "InversionTimes"),
}
WHEN = ("AcquisitionDateTime", "SeriesDate", "AcquisitionDate", "SeriesTime", "AcquisitionTime")
KEYWORDS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "SeriesNumber"),
    *("InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "EchoNumbers", *WHEN),
    *("PatientID", "PatientName", "PatientBirthDate", "StudyDate"),
    *("ImageType", "ComplexImageComponent", "Modality", "SeriesDescription", "ProtocolName"),
    *("StudyDescription", "BodyPartExamined", "RequestedProcedureDescription", "AnatomicRegionSequence"),
    *("PerformedProcedureStepDescription", "ProcedureCodeSequence", "RequestedProcedureCodeSequence"),
    *("SequenceName", "PulseSequenceName", "ScanningSequence", "ScanOptions", "ContrastBolusAgent"),
    *("NumberOfFrames", "Rows", "Columns", "SliceThickness"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(keyword for keyword, _, _ in TIMES.values()),
)
TAGS = [*(tag_for_keyword(keyword) for keyword in KEYWORDS), RAW_TYPE, PHILIPS_TYPE]
CODED = ("AnatomicRegionSequence", "ProcedureCodeSequence", "RequestedProcedureCodeSequence")


@dataclass(frozen=True)
class Patient:
    """Who was examined when, "" where a file lacks it: ids that one StudyInstanceUID must not mix."""

    patient_id: str
    name: str
    birth_date: str
    study_date: str


@dataclass(frozen=True)
class PictureHeader:
    """The header of one picture, as far as a scan needs it; absent ids are "", an absent ``number`` is LAST.

    Attributes:
        frame: Index of the frame in an enhanced file, None of a file's only picture.
        number: SeriesNumber.
        text: SeriesDescription, which separates series without a UID.
        instance: InstanceNumber, or 0.
        passes: Numbers that separate repetitions: acquisition, temporal position, echo number.
        when: Date and time of the acquisition or the series as text that sorts, "" where unknown.
        thickness: mm, None where unknown.
        identity: Equal for copies of one picture.
        facts: Those of this picture alone.
    """

    path: Path
    frame: int | None
    study_uid: str
    series_uid: str
    patient: Patient
    frame_of_reference: str
    number: int
    text: str
    instance: int
    passes: tuple[str, ...]
    when: str
    place: Geometry
    shape: tuple[int, int]
    thickness: float | None
    identity: tuple
    is_image: bool
    facts: SeriesFacts

    def left_out(self, overruled: bool) -> tuple[str, str]:
        """Return the reason and the message why this picture is left out of its series, "" where it is not."""
        if not self.is_image:
            return "not_an_image", "got no Rows, expected an image"
        if "LOCALIZER" in (value.upper() for value in self.facts.image_type):
            return "localizer", "got ImageType LOCALIZER, expected a diagnostic slice"
        if is_computed(self.facts.image_type) and not overruled:
            return "derived", f"got ImageType {list(self.facts.image_type)}, expected an original slice"
        return "", ""


def read_headers_of(path: Path) -> list[PictureHeader]:
    """Read one file's header; return one a picture, none of a DICOMDIR.

    Raises:
        DicomError: As ``dicom_file.parse`` does.
    """
    dataset = parse(path, TAGS, pixels=False)
    if texts(dataset.file_meta, "MediaStorageSOPClassUID") == (DICOMDIR,):
        return []
    notes: Notes = []  # a malformed tag is reported when the series is read
    frames = finite_numbers(dataset, "NumberOfFrames", 1, notes)
    count = int(frames[0]) if frames and 1 <= frames[0] <= MAX_FRAMES else 1
    header = file_header(dataset, path, notes)
    if count == 1 and "PerFrameFunctionalGroupsSequence" not in dataset:
        return [replace(header, place=frame_geometry(dataset, 0, 1, notes))]
    return [frame_header(dataset, header, frame, count, notes) for frame in range(count)]


def file_header(dataset: Dataset, path: Path, notes: Notes) -> PictureHeader:
    """Return the header of the top level of a file, without a place."""

    def text(keyword: str) -> str:
        return " ".join(texts(dataset, keyword))

    def number(keyword: str) -> float | None:
        return (finite_numbers(dataset, keyword, 1, notes) or (None,))[0]

    series = number("SeriesNumber")
    name = text("SeriesDescription")
    procedure = [text(k) for k in ("StudyDescription", "RequestedProcedureDescription")]
    procedure += [text("PerformedProcedureStepDescription"), *(meanings(dataset, k) for k in CODED[1:])]
    facts = SeriesFacts(
        modality=text("Modality"),
        text=f"{name} {text('ProtocolName')}".strip(),
        study_text=" ".join(filter(None, procedure)),
        body_part=f"{text('BodyPartExamined')} {meanings(dataset, CODED[0])}".strip(),
        sequence_name=text("SequenceName") or text("PulseSequenceName"),
        scanning=texts(dataset, "ScanningSequence"),
        options=texts(dataset, "ScanOptions"),
        image_type=texts(dataset, "ImageType"),
        contrast_agent=text("ContrastBolusAgent"),
        picture=picture_kind(
            texts(dataset, "ImageType"), text("ComplexImageComponent"), private_type(dataset), name.lower()
        ),
        echo=time_of(dataset, 0, *TIMES["echo"]),
        repetition=time_of(dataset, 0, *TIMES["repetition"]),
        inversion=time_of(dataset, 0, *TIMES["inversion"]),
    )
    uid = text("SOPInstanceUID")
    instance = text("InstanceNumber")
    position = finite_numbers(dataset, "ImagePositionPatient", 3, notes)
    identity = (uid, instance, position, facts.picture, facts.echo) if uid else (str(path),)
    names = sorted("".join(c if c.isalnum() else " " for c in text("PatientName").casefold()).split())
    patient = Patient(text("PatientID"), " ".join(names), text("PatientBirthDate"), text("StudyDate"))
    return PictureHeader(
        path=path,
        frame=None,
        study_uid=text("StudyInstanceUID"),
        series_uid=text("SeriesInstanceUID"),
        patient=patient,
        frame_of_reference=text("FrameOfReferenceUID"),
        number=int(series) if series is not None and abs(series) < LAST else LAST,
        text=name,
        instance=int(number("InstanceNumber") or 0),
        passes=tuple(map(text, ("AcquisitionNumber", "TemporalPositionIdentifier", "EchoNumbers"))),
        when=text("AcquisitionDateTime")
        or f"{text('SeriesDate') or text('AcquisitionDate')}{text('SeriesTime') or text('AcquisitionTime')}",
        place=Geometry(None, None, None),
        shape=(int(number("Rows") or 0), int(number("Columns") or 0)),
        thickness=number("SliceThickness"),
        identity=identity,
        is_image="Rows" in dataset,
        facts=facts,
    )


def frame_header(
    dataset: Dataset, header: PictureHeader, frame: int, count: int, notes: Notes
) -> PictureHeader:
    """Return a file's header with the values of a frame's functional groups (PS3.3 C.7.6.16)."""

    def inside(group: str, keyword: str) -> tuple[str, ...]:
        item = functional_group(dataset, frame, group, keyword, notes)
        return texts(item, keyword) if item is not None else ()

    types = inside("MRImageFrameTypeSequence", "FrameType") or header.facts.image_type
    component = " ".join(inside("MRImageFrameTypeSequence", "ComplexImageComponent"))
    component = component or " ".join(texts(dataset, "ComplexImageComponent"))
    facts = replace(
        header.facts,
        image_type=types,
        picture=picture_kind(types, component, private_type(dataset), header.text.lower()),
        echo=time_of(dataset, frame, *TIMES["echo"]),
        repetition=time_of(dataset, frame, *TIMES["repetition"]),
        inversion=time_of(dataset, frame, *TIMES["inversion"]),
    )
    content = "FrameContentSequence"
    groups = (("FrameAcquisitionNumber",), ("TemporalPositionIndex",), ("StackID",))
    thickness = inside("PixelMeasuresSequence", "SliceThickness")
    when = inside(content, "FrameAcquisitionDateTime")
    return replace(
        header,
        frame=frame if count > 1 else None,
        place=frame_geometry(dataset, frame, count, notes),
        thickness=plain_number(thickness[0]) if thickness else header.thickness,
        passes=tuple(" ".join(inside(content, *keyword)) for keyword in groups),
        when=header.when or (when[0] if when else ""),
        identity=(*header.identity, frame),
        facts=facts,
    )
