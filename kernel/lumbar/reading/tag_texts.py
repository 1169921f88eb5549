"""DICOM tags -> plain texts and times: an absent or malformed tag is "" or None."""

import math

from pydicom.dataset import Dataset

from lumbar.reading.picture_kind import PHILIPS_TYPE, RAW_TYPE
from lumbar.reading.tags import functional_group, tag_value


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
    """Return the kind of picture in GE's or Philips' private tag, "" where there is none."""
    for tag in (RAW_TYPE, PHILIPS_TYPE):
        element = tag_value(dataset, tag, [])
        value = element.value if element is not None else None
        if isinstance(value, bytes):  # implicit files don't have the type of a private tag
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
