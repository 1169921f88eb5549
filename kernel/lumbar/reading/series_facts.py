"""The facts in the headers of a series that its description is inferred from."""

from collections import Counter
from dataclasses import dataclass

from lumbar.reading.picture_kind import PLAIN

# Computed pictures that are no view of the patient, or none with slices: used only if --series names them.
COMPUTED_TYPES = {
    *("MIP", "MINIP", "PROJECTION IMAGE", "ADC", "SUBTRACT", "SUBTRACTION", "COMPOSED", "SCREEN SAVE"),
    *("CSA REPORT", "FA", "TRACEW", "T1 MAP", "T2 MAP", "CPR", "CURVED"),
}


@dataclass(frozen=True)
class SeriesFacts:
    """Facts of a series or a picture; None or "" where the headers lack them. Times in ms.

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


def is_computed(image_type: tuple[str, ...]) -> bool:
    """Return whether ImageType (PS3.3 C.7.6.1.1.2) names a projection, a map, a screenshot or the like."""
    return bool(COMPUTED_TYPES & {value.strip().upper() for value in image_type[2:]})


def is_secondary(image_type: tuple[str, ...]) -> bool:
    """Return whether ImageType names a picture made after the examination: reformatted, converted, exported.

    DERIVED alone does not: scanners write it for filtered and distortion-corrected originals.
    """
    values = [value.strip().upper() for value in image_type]
    return "SECONDARY" in values[:2] or bool({"MPR", "REFORMATTED"} & set(values[2:]))


def most_common_facts(facts: list[SeriesFacts]) -> SeriesFacts:
    """Return a series' facts: of each the commonest value, the first one of a tie."""
    return SeriesFacts(
        **{
            name: Counter(getattr(one, name) for one in facts).most_common(1)[0][0]
            for name in SeriesFacts.__dataclass_fields__
        }
    )
