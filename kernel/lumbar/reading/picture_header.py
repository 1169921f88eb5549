"""The header of one file -> one header a picture: one of a classic file, one a frame of an enhanced one."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from lumbar.reading.dicom_file import parse
from lumbar.reading.picture_kind import PHILIPS_TYPE, PLAIN, RAW_TYPE, picture_kind
from lumbar.reading.pixel_header import MAX_FRAMES
from lumbar.reading.tags import Geometry, Notes, finite_numbers, frame_geometry, functional_group, tag_value

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
# Computed pictures that are no view of the patient, or none with slices: never used unless --series says so.
COMPUTED_TYPES = {
    *("MIP", "MINIP", "PROJECTION IMAGE", "ADC", "SUBTRACT", "SUBTRACTION", "COMPOSED", "SCREEN SAVE"),
    *("CSA REPORT", "FA", "TRACEW", "T1 MAP", "T2 MAP", "CPR", "CURVED"),
}


@dataclass(frozen=True)
class SeriesFacts:
    """What the headers of a series say; None or "" where they don't. Times in ms.

    Attributes:
        plane: "sagittal", "coronal" or "axial"; "mixed" where no plane has most of a few slices.
        text: SeriesDescription and ProtocolName.
        study_text: StudyDescription and the descriptions and codes of the procedure.
        body_part: BodyPartExamined and the codes of the anatomic region.
        scanning, options, image_type: Values of ScanningSequence, ScanOptions and ImageType.
        picture: Which of several pictures of one place, as ``picture_kind`` has it.
    """

    plane: str | None = None
    modality: str = ""
    text: str = ""
    study_text: str = ""
    body_part: str = ""
    sequence_name: str = ""
    scanning: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    image_type: tuple[str, ...] = ()
    echo: float | None = None
    repetition: float | None = None
    inversion: float | None = None
    contrast_agent: str = ""
    picture: str = PLAIN


@dataclass(frozen=True)
class Patient:
    """Who was examined when, as far as a file says: ids that one StudyInstanceUID must not mix."""

    patient_id: str
    name: str
    birth_date: str
    study_date: str


@dataclass(frozen=True)
class PictureHeader:
    """What a scan keeps of one picture; ids are "" and ``number`` (SeriesNumber) is LAST where it has none.

    Attributes:
        frame: Index of the frame in an enhanced file, None of a file's only picture.
        text: SeriesDescription, which tells series without a UID apart.
        instance: InstanceNumber, or 0.
        passes: Numbers that tell repetitions apart: acquisition, temporal position, echo number.
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
    """Return what the top level of a file says, without a place."""

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
        **{name: time_of(dataset, 0, *where) for name, where in TIMES.items()},
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
    """Return a file's header with what a frame's functional groups say (PS3.3 C.7.6.16)."""

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
        **{name: time_of(dataset, frame, *where) for name, where in TIMES.items()},
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


def is_computed(image_type: tuple[str, ...]) -> bool:
    """Tell whether ImageType (PS3.3 C.7.6.1.1.2) names a projection, a map, a screenshot or the like."""
    return bool(COMPUTED_TYPES & {value.strip().upper() for value in image_type[2:]})


def is_secondary(image_type: tuple[str, ...]) -> bool:
    """Tell whether ImageType names a picture made after the examination: reformatted, converted, exported.

    DERIVED alone does not: scanners say it of filtered and distortion-corrected originals.
    """
    values = [value.strip().upper() for value in image_type]
    return "SECONDARY" in values[:2] or bool({"MPR", "REFORMATTED"} & set(values[2:]))


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return a tag's values as stripped text; none where it is absent or can't be converted."""
    value = tag_value(dataset, keyword, [])
    if value is None:
        return ()
    values = (value,) if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else value
    return tuple(str(one).strip(" \0") for one in values)


def meanings(dataset: Dataset, keyword: str) -> str:
    """Return the words of a sequence's codes, "" where there are none."""
    items = tag_value(dataset, keyword, [])
    try:
        return " ".join(text for item in items or () for text in texts(item, "CodeMeaning"))
    except (TypeError, AttributeError):  # no sequence
        return ""


def private_type(dataset: Dataset) -> str:
    """Return what GE's or Philips' private tag says of the picture, "" where it says nothing."""
    for tag in (RAW_TYPE, PHILIPS_TYPE):
        element = tag_value(dataset, tag, [])
        value = element.value if element is not None else None
        if isinstance(value, bytes):  # implicit files don't say that it is a number or a text
            value = int.from_bytes(value, "little") if tag == RAW_TYPE else value.decode("ascii", "replace")
        if value not in (None, ""):
            return str(value).strip(" \0")
    return ""


def plain_number(text: str) -> float | None:
    """Return a finite number, None for anything else."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def time_of(dataset: Dataset, frame: int, keyword: str, group: str, inside: str) -> float | None:
    """Return a time in ms from a frame's functional group or the shared one, else from the top level."""
    item = functional_group(dataset, frame, group, inside, [])
    values = texts(dataset, keyword) if item is None else texts(item, inside)
    return plain_number(values[0]) if values else None


def series_facts(headers: list[PictureHeader]) -> SeriesFacts:
    """Return a series' facts: of each what most pictures say, the first where it is a tie."""
    facts = [header.facts for header in headers]
    return SeriesFacts(
        **{
            name: Counter(getattr(one, name) for one in facts).most_common(1)[0][0]
            for name in SeriesFacts.__dataclass_fields__
        }
    )
