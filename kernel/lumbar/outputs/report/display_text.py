"""How the pages spell sites, numbers and millimetres."""

import numpy as np

from lumbar.faults import FILE_REASONS, HEADER_REASONS, ODDITIES, SERIES_REASONS, SOURCE_REASONS
from lumbar.grading.doubt import DOUBT_REASONS
from lumbar.grading.flag import FLAG_REASONS
from lumbar.sites import GROUP_WORDS, Site, site_words

# As on the films: the patient's right stands left.
GROUP_ORDER = (
    "spinal_canal_stenosis",
    "right_neural_foraminal_narrowing",
    "left_neural_foraminal_narrowing",
    "right_subarticular_stenosis",
    "left_subarticular_stenosis",
)
SHORT_LABELS = ("Normal", "Mod.", "Severe")
REASON_WORDS = {
    **FILE_REASONS,
    **SERIES_REASONS,
    **SOURCE_REASONS,
    **HEADER_REASONS,
    **ODDITIES,
    **FLAG_REASONS,
    **DOUBT_REASONS,
    "prior": "the series is missing or not usable: the prior is submitted",
    "zero_crops": "the series is missing or not usable: the grade is of an empty crop",
    "no_description": "the study has no usable series of a description",
    "no_detector": "no detector reads a description that the study has",
    "no_classifier": "the bundle has no classifier",
    "not_finite": "a member gave NaN or infinity, in float32 too; it is left out of this study",
    "reader_died": "the process that read the study died twice",
    "reader_hung": "the process that read the study did not end in time, twice",
    "reader_error": "reading the study failed with an unexpected error",
    "grading_failed": "grading the study failed with an unexpected error",
    "out_of_memory": "the study did not fit into memory",
    "time_limit": "the time limit was reached before the study",
}


def capitalised(text: str) -> str:
    """Return text with a capital first letter; the rest stays as it is."""
    return text[:1].upper() + text[1:]


def group_title(group: str) -> str:
    """Return a group of sites as a heading: "Left foramen"."""
    return capitalised(GROUP_WORDS[group])


def site_title(site: Site) -> str:
    """Return a site as a heading: "Left foramen L4/L5"."""
    return capitalised(site_words(site))


def reason_words(reason: str) -> str:
    """Return a fault's or flag's reason in words, a reason without any as it is."""
    return REASON_WORDS.get(reason, reason)


def is_ungraded(row: np.ndarray) -> bool:
    """Return whether a site's probabilities (3,) are NaN: no member graded it."""
    return bool(np.isnan(row).any())


def percent(probability: float) -> str:
    """Return a probability as a whole percentage; nothing but 0 and 1 rounds to certainty."""
    if 0 < probability < 0.005:
        return "<1"
    if 0.995 <= probability < 1:
        return ">99"
    return f"{100 * probability:.0f}"


def shade(share: float) -> int:
    """Return the step of a heat map's shade, 0..10, of a share 0..1."""
    return round(10 * float(share))


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: "1 slice", "2 slices"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def signed(value: float) -> str:
    """Return a whole number with its sign, a true minus."""
    return f"{value:+.0f}".replace("-", "−")


def millimetres(point) -> str:
    """Return x, y, z in mm, LPS; the last number and its unit stay on one line."""
    return "x {} · y {} · z {}\N{NO-BREAK SPACE}mm".format(
        *(str(round(float(v))).replace("-", "−") for v in point)
    )
