"""The rows of studies -> Arrow tables; the columns of sites, points and studies."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from archiving.study_rows import PLACE, POINT, StudyRows
from lumbar.grading.fallbacks import PRIOR
from lumbar.sites import SEVERITIES, SITE_NAMES

WORD = pa.dictionary(pa.int32(), pa.string())  # the same few texts in many rows
KEYS = [("number", pa.int64()), ("study_id", pa.string())]
SITES_SCHEMA = pa.schema(
    [
        *KEYS,
        ("site", WORD),
        *((severity, pa.float64()) for severity in SEVERITIES),
        ("fallback", WORD),
        ("spread", pa.float64()),
        ("series_id", pa.string()),
        ("instance_number", pa.int64()),
        *((name, pa.float64()) for name in PLACE),
        ("doubts", pa.list_(pa.string())),
        ("flags", pa.list_(pa.string())),
    ]
)
POINTS_SCHEMA = pa.schema(
    [
        *KEYS,
        ("detector", WORD),
        ("site", WORD),
        ("offset", pa.int8()),
        ("slice", pa.float64()),
        ("row", pa.int32()),
        ("column", pa.int32()),
        ("value", pa.float64()),
    ]
)
FAULT = pa.struct([("file", pa.string()), ("reason", pa.string()), ("message", pa.string())])
FLAG = pa.struct(
    [("reason", pa.string()), ("message", pa.string()), ("figure", pa.float64()), ("unit", pa.string())]
)
STUDIES_SCHEMA = pa.schema(
    [
        *KEYS,
        ("fallback", WORD),
        ("faults", pa.list_(FAULT)),
        ("flags", pa.list_(FLAG)),
        ("detectors", pa.int32()),
        ("classifiers", pa.int32()),
        ("members_run", pa.int32()),
        ("bundle", WORD),
        ("device", WORD),
        ("precision", WORD),
        ("findings", pa.string()),
        ("deaths", pa.int32()),
        ("seconds", pa.string()),
    ]
)
MEASURED = ("deaths", "seconds")  # of studies: they differ from run to run, so merged tables leave them out

Numbered = Sequence[tuple[int, StudyRows]]


def sites_table(studies: Numbered, prior: np.ndarray) -> pa.Table:
    """Return the table of sites: a row per study and site; the prior where a site was not graded.

    Args:
        studies: Numbers and rows.
        prior: (25, 3) of the bundle.
    """
    grades = np.stack([rows.probabilities for _, rows in studies])
    grades = np.where(np.isnan(grades), prior, grades).reshape(-1, len(SEVERITIES))
    places = np.concatenate([rows.places for _, rows in studies])
    reasons = [reason for _, rows in studies for reason in rows.reasons]
    series = [place for _, rows in studies for place in rows.series]
    columns = [
        *repeated_keys(studies, [len(SITE_NAMES)] * len(studies)),
        words(SITE_NAMES, np.tile(np.arange(len(SITE_NAMES), dtype=np.int32), len(studies))),
        *(pa.array(grades[:, number]) for number in range(len(SEVERITIES))),
        pa.array([fallback for fallback, _, _ in reasons], pa.string()).dictionary_encode(),
        pa.array(np.concatenate([rows.spread for _, rows in studies])),
        pa.array([series_id for series_id, _ in series], pa.string()),
        pa.array([instance for _, instance in series], pa.int64()),
        *(pa.array(places[:, number], mask=np.isnan(places[:, number])) for number in range(len(PLACE))),
        pa.array([doubts for _, doubts, _ in reasons], pa.list_(pa.string())),
        pa.array([flags for _, _, flags in reasons], pa.list_(pa.string())),
    ]
    return pa.Table.from_arrays(columns, schema=SITES_SCHEMA)


def points_table(studies: Numbered) -> pa.Table:
    """Return the table of points: a row per detector, site and slice of its crop."""
    points = np.concatenate([rows.points for _, rows in studies])
    values = dict(zip(POINT, points.T, strict=True))
    detectors = [detector for _, rows in studies for detector in rows.point_names[0]]
    sites = [site for _, rows in studies for site in rows.point_names[1]]
    columns = [
        *repeated_keys(studies, [len(rows.points) for _, rows in studies]),
        pa.array(detectors, pa.string()).dictionary_encode(),
        words(SITE_NAMES, np.array(sites, np.int32)),
        *(pa.array(values[name]).cast(POINTS_SCHEMA.field(name).type) for name in POINT),
    ]
    return pa.Table.from_arrays(columns, schema=POINTS_SCHEMA)


def studies_table(studies: Numbered, identity: dict, deaths: dict[str, int]) -> pa.Table:
    """Return the table of studies: a row per study.

    Args:
        studies: Numbers and rows.
        identity: Of the archive; bundle, device and precision are repeated in each row.
        deaths: Of workers, by study id.
    """
    content = [
        {"number": number, "study_id": rows.study_id, "deaths": deaths.get(rows.study_id, 0)}
        | {key: identity[key] for key in ("bundle", "device", "precision")}
        | rows.study
        for number, rows in studies
    ]
    columns = [
        pa.array([row[field.name] for row in content], pa.string()).dictionary_encode()
        if field.type == WORD
        else pa.array([row[field.name] for row in content], field.type)
        for field in STUDIES_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=STUDIES_SCHEMA)


def repeated_keys(studies: Numbered, counts: list[int]) -> list[pa.Array]:
    """Return the columns of ``KEYS`` for several rows per study."""
    numbers = np.repeat(np.array([number for number, _ in studies], np.int64), counts)
    places = pa.array(np.repeat(np.arange(len(studies)), counts))
    return [pa.array(numbers), pa.array([rows.study_id for _, rows in studies], pa.string()).take(places)]


def words(names: Sequence[str], numbers: np.ndarray) -> pa.DictionaryArray:
    """Return names by their numbers."""
    return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), pa.array(names, pa.string()))


def is_prior(table: pa.Table) -> np.ndarray:
    """Return which rows of studies have no grade of their own, (n,) bool."""
    return np.array([fallback == PRIOR for fallback in table["fallback"].to_pylist()], bool)
