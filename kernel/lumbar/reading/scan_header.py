"""The headers of one file, and of a series' files -> the facts that tell what the series is."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from lumbar.reading.dicom_file import parse
from lumbar.reading.tags import Notes, finite_numbers, frame_geometry, tag_value

DICOMDIR = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage: a list of files, no image
MARK = slice(128, 132)  # where a DICOM file says "DICM"
CLEAR_SHARE = 0.7  # of a series' slices in one plane; a three-plane localizer has a third in each
LAST = 2**31  # where a series without a number comes

# (keyword, functional group and keyword within it of an enhanced file; PS3.3 C.8.13.5)
TIMES = {
    "echo": ("EchoTime", "MREchoSequence", "EffectiveEchoTime"),
    "repetition": ("RepetitionTime", "MRTimingAndRelatedParametersSequence", "RepetitionTime"),
    "inversion": ("InversionTime", "MRModifierSequence", "InversionTimes"),
}
KEYWORDS = (
    *(
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "SeriesNumber",
        "InstanceNumber",
        "PatientID",
    ),
    *("ImageType", "Modality", "SeriesDescription", "ProtocolName", "StudyDescription", "BodyPartExamined"),
    *("SequenceName", "ScanningSequence", "ScanOptions", "ContrastBolusAgent", "NumberOfFrames", "Rows"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(keyword for keyword, _, _ in TIMES.values()),
)
TAGS = [tag_for_keyword(keyword) for keyword in KEYWORDS]
DERIVED_TYPES = {
    *("MPR", "MIP", "PROJECTION IMAGE", "REFORMATTED", "ADC", "SUBTRACT", "SUBTRACTION", "COMPOSED"),
    *("SCREEN SAVE", "CSA REPORT", "FA", "TRACEW", "T1 MAP", "T2 MAP", "CPR", "CURVED"),
}


@dataclass(frozen=True)
class SeriesFacts:
    """What the headers of a series say; None or "" where they don't. Times in ms.

    plane: "sagittal", "coronal", "axial", "mixed" where no plane has most slices. text: SeriesDescription and
    ProtocolName. scanning: ScanningSequence's values; options: ScanOptions'; image_type: ImageType's.
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


@dataclass(frozen=True)
class FileHeader:
    """What a scan keeps of one file; ids are "" and ``number`` (SeriesNumber) is LAST where it has none.

    ``identity`` is equal for copies of one image. ``text`` is SeriesDescription, which tells series without a
    UID apart; ``facts`` are those of this file alone.
    """

    path: Path
    study_uid: str
    series_uid: str
    patient: str
    number: int
    text: str
    identity: tuple
    is_image: bool
    facts: SeriesFacts

    def left_out(self, overruled: bool) -> tuple[str, str]:
        """Return the reason and the message why this file is left out of its series, "" where it is not."""
        if not self.is_image:
            return "not_an_image", "got no Rows, expected an image"
        if "LOCALIZER" in (value.upper() for value in self.facts.image_type):
            return "localizer", "got ImageType LOCALIZER, expected a diagnostic slice"
        if is_derived(self.facts.image_type) and not overruled:
            return "derived", f"got ImageType {list(self.facts.image_type)}, expected an original slice"
        return "", ""


def is_dicom(path: Path) -> bool:
    """Tell whether a regular file has DICOM's mark; what can't be opened counts, so that it is said why."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(MARK.stop)[MARK] == b"DICM"
    except OSError:
        return True


def read_header(path: Path) -> FileHeader | None:
    """Read one file's header; None for a DICOMDIR. Raises DicomError as ``instance.parse`` does."""
    dataset = parse(path, TAGS, pixels=False)
    if texts(dataset.file_meta, "MediaStorageSOPClassUID") == (DICOMDIR,):
        return None
    notes: Notes = []  # what is malformed is told when the series is read

    def text(keyword: str) -> str:
        return " ".join(texts(dataset, keyword))

    frames = finite_numbers(dataset, "NumberOfFrames", 1, notes)
    geometry = frame_geometry(dataset, 0, int(frames[0]) if frames else 1, notes)
    number = finite_numbers(dataset, "SeriesNumber", 1, notes)
    facts = SeriesFacts(
        plane=geometry.plane,
        modality=text("Modality"),
        text=f"{text('SeriesDescription')} {text('ProtocolName')}".strip(),
        study_text=text("StudyDescription"),
        body_part=text("BodyPartExamined"),
        sequence_name=text("SequenceName"),
        scanning=texts(dataset, "ScanningSequence"),
        options=texts(dataset, "ScanOptions"),
        image_type=texts(dataset, "ImageType"),
        contrast_agent=text("ContrastBolusAgent"),
        **{name: time_of(dataset, *where) for name, where in TIMES.items()},
    )
    uid = text("SOPInstanceUID")
    identity = (uid, text("InstanceNumber"), geometry.position) if uid else (str(path),)
    return FileHeader(
        path,
        text("StudyInstanceUID"),
        text("SeriesInstanceUID"),
        text("PatientID"),
        int(number[0]) if number else LAST,
        text("SeriesDescription"),
        identity,
        "Rows" in dataset,
        facts,
    )


def is_derived(image_type: tuple[str, ...]) -> bool:
    """Tell whether ImageType (PS3.3 C.7.6.1.1.2) names a secondary or computed picture.

    DERIVED alone does not: scanners say it of filtered and distortion-corrected originals.
    """
    values = [value.strip().upper() for value in image_type]
    return "SECONDARY" in values[:2] or bool(DERIVED_TYPES & set(values[2:]))


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return a tag's values as stripped text; none where it is absent or can't be converted."""
    value = tag_value(dataset, keyword, [])
    if value is None:
        return ()
    values = (value,) if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return tuple(str(one).strip(" \0") for one in values)


def time_of(dataset: Dataset, keyword: str, group: str, inside: str) -> float | None:
    """Return a time in ms from the top level or, of an enhanced file, from its first functional group."""
    item = dataset
    if keyword not in dataset:
        for holder in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
            groups = tag_value(dataset, holder, [])
            inner = tag_value(groups[0], group, []) if groups else None
            if inner and inside in inner[0]:
                item, keyword = inner[0], inside
                break
    value = tag_value(item, keyword, [])
    try:
        return float(value if isinstance(value, (str, float, int)) else value[0])
    except (TypeError, ValueError, IndexError):
        return None  # absent, or no number


def series_facts(headers: list[FileHeader]) -> SeriesFacts:
    """Return a series' facts: of each what most files say, the first where it is a tie; "mixed" planes where
    no plane has CLEAR_SHARE of the files."""
    facts = [header.facts for header in headers]
    most = {
        name: Counter(getattr(one, name) for one in facts).most_common(1)[0][0]
        for name in SeriesFacts.__dataclass_fields__
    }
    planes = Counter(one.plane for one in facts if one.plane)
    if planes:
        plane, count = planes.most_common(1)[0]
        most["plane"] = plane if count >= CLEAR_SHARE * planes.total() else "mixed"
    return SeriesFacts(**most)
