"""A detector's points against labels: errors in slices, pixels and mm, and whether level and side are right."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lumbar.outputs.tables import POINT_COLUMNS
from lumbar.reading.volume import SliceHeader, Volume
from lumbar.sites import DESCRIPTION_SITES, DESCRIPTIONS, GROUPS, LEVELS, SEVERITIES, SITE_NAMES, SITES
from training.data.cache import Cache
from training.data.labels import Grades, read_table
from training.data.study_headers import StudyHeaders
from training.data.targets import Target

NEAR_LEVEL = 10.0  # mm; neighbouring levels are about 35 apart
# Where a point lies: within NEAR_LEVEL of its own level's label, only of another level's, or of none.
OWN, ANOTHER, NOWHERE = LEVEL_SHARES = ("own_level", "another_level", "nowhere")


class SiteErrors(NamedTuple):
    """The errors of one site's point.

    Attributes:
        slices: Distance in slices.
        y: Distance in rows of the detector grid.
        x: Distance in columns of it.
        place_slices: The first of ``place_errors``.
        place_y: The second of them.
        place_x: The third of them.
        mm: Distance in the patient, NaN without geometry.
        level_shift: How many levels below its own the nearest label of the same group lies, 0 at the right level.
        side_right: Whether the own label is nearer than the other side's at the same level, NaN where that is not
            labelled.
        near: One of ``LEVEL_SHARES``.
    """

    slices: float
    y: float
    x: float
    place_slices: float
    place_y: float
    place_x: float
    mm: float
    level_shift: int
    side_right: float
    near: str


def read_found_points(file: Path) -> pd.DataFrame:
    """Return the sites' own points in ``points.csv``: one row per study, detector and site."""
    table = read_table(file, POINT_COLUMNS)
    return table[table["offset"] == 0]


def point_table(
    found: pd.DataFrame,
    targets: dict[tuple[str, str], Target],
    studies: Cache | StudyHeaders,
    grades: Grades,
) -> pd.DataFrame:
    """Compare the points of ``read_found_points`` with the labels: one row per labelled site and detector.

    Returns:
        Columns study_id, detector, description, site, and severity, -1 where missing. Then those of ``SiteErrors``.
        series is the number of series in the volume. other_series is whether the point lies on another series than the
        label.
    """
    number = {name: index for index, name in enumerate(SITE_NAMES)}
    rows = []
    for (study, detector), points in found.groupby(["study_id", "detector"], sort=True):
        severities = grades.of([study])[0]
        predicted = {number[r.site]: (r.slice, r.row, r.column) for r in points.itertuples()}
        for description in DESCRIPTIONS:
            if (study, description) in targets:
                volume = studies.volumes(study)[description]
                target, start = targets[study, description], DESCRIPTION_SITES[description].start
                for c in np.flatnonzero(~np.isnan(target.points[:, 0])):
                    if start + c in predicted:
                        point = np.array(predicted[start + c], np.float64)
                        site, errors = start + c, site_errors(point, int(c), target.points, volume)
                        row = (study, detector, description, site, severities[site], *errors)
                        other = series_of(volume, point) != series_of(volume, target.points[c])
                        rows.append((*row, volume.series_count, other))
    about = ("study_id", "detector", "description", "site", "severity")
    columns = [*about, *SiteErrors._fields, "series", "other_series"]
    return pd.DataFrame(rows, columns=columns)


def series_of(volume: Volume, point: np.ndarray) -> str:
    """Return the series of the slice that is nearest to a point (slice, row, column)."""
    return volume.headers[int(np.clip(np.rint(point[0]), 0, len(volume) - 1))].series_id


def site_errors(point: np.ndarray, c: int, truth: np.ndarray, volume: Volume) -> SiteErrors:
    """Return the errors of one class's point."""
    slices, y, x = np.abs(point - truth[c])
    group = range(c - c % len(LEVELS), c - c % len(LEVELS) + len(LEVELS))
    rivals = [k for k in group if not np.isnan(truth[k, 0])]
    mm, distances = label_distances(point, truth[rivals], volume)
    place = place_errors(point, truth[c], volume)
    own = rivals.index(c)
    near = OWN if distances[own] <= NEAR_LEVEL else ANOTHER if distances.min() <= NEAR_LEVEL else NOWHERE
    shift = rivals[int(distances.argmin())] - c
    return SiteErrors(slices, y, x, *place, mm[own], shift, is_side_right(point, c, truth, volume), near)


def label_distances(point: np.ndarray, labels: np.ndarray, volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Return a point's distances to labels (n, 3) in mm, NaN without geometry, and distances to compare."""
    mm = np.array([distance_mm(point, label, volume) for label in labels])
    # Without geometry a slice counts as 4 mm on pixels of about 1 mm, the usual gap.
    return mm, mm if np.isfinite(mm).all() else np.linalg.norm((labels - point) * (4, 1, 1), axis=1)


def is_side_right(point: np.ndarray, c: int, truth: np.ndarray, volume: Volume) -> float:
    """Return whether a point is nearer to its own label than to the other side's of the level; NaN without one."""
    if len(truth) == len(LEVELS):  # the canal has no side
        return float("nan")
    pair = truth[[c, (c + len(LEVELS)) % len(truth)]]
    if np.isnan(pair).any():
        return float("nan")
    distances = label_distances(point, pair, volume)[1]
    return float(distances[0] < distances[1])


def place_errors(point: np.ndarray, truth: np.ndarray, volume: Volume) -> np.ndarray:
    """Return |slice|, |row|, |column| errors of a point (slice, row, column), counted in the label's own series.

    Several series of a study may show one place, on slices that lie far apart in the joined volume. Slices of other
    series in between do not count. A point on another series counts for the place that it shows in the patient. Its
    slice error is the distance from the labelled slice, in gaps of that series, and its row and column are those of the
    place on that slice. Without geometry the errors are those in the joined volume.
    """
    plain = np.abs(point - truth)
    z, labelled = (int(np.clip(np.rint(p[0]), 0, len(volume) - 1)) for p in (point, truth))
    headers = volume.headers
    own = [i for i, header in enumerate(headers) if header.series_id == headers[labelled].series_id]
    if len(own) == len(volume):
        return plain
    if z in own:
        return np.array([abs(own.index(z) - own.index(labelled)), *plain[1:]])
    place = volume.grid_to_patient(z, *point[1:])
    seen = volume.patient_to_grid(labelled, place) if place is not None else None
    gap = slice_gap(headers[labelled], [headers[i] for i in own]) if seen is not None else None
    if gap is None:
        return plain
    depth = abs(np.dot(np.subtract(place, headers[labelled].position), headers[labelled].normal)) / gap
    return np.array([depth, *np.abs(seen - truth[1:])])


def slice_gap(here: SliceHeader, series: list[SliceHeader]) -> float | None:
    """Return the mm from a slice with geometry to the nearest one parallel to it of its series; None without one."""
    placed = [h for h in series if h.position is not None and h.orientation is not None]
    parallel = [h for h in placed if np.allclose(h.orientation, here.orientation, atol=1e-3)]
    gaps = [float(np.linalg.norm(np.subtract(h.position, here.position))) for h in parallel]
    return min((gap for gap in gaps if gap > 0), default=None)


def distance_mm(a: np.ndarray, b: np.ndarray, volume: Volume) -> float:
    """Return the distance in the patient of two points (slice, row, column); NaN without geometry."""
    places = []
    for point in (a, b):
        index = int(np.clip(np.rint(point[0]), 0, len(volume) - 1))
        places.append(volume.grid_to_patient(index, point[1], point[2]))
    if places[0] is None or places[1] is None:
        return float("nan")
    return float(np.linalg.norm(np.subtract(*places)))


def point_figures(table: pd.DataFrame) -> dict:
    """Return mean errors by detector and description, with their parts by group and by severity."""
    figures: dict = {}
    for (detector, description), rows in table.groupby(["detector", "description"]):
        entry = mean_errors(rows)
        group = rows["site"].map(lambda site: SITES[site].group)
        entry["by_group"] = {
            name: mean_errors(rows[group == name]) for name in GROUPS if (group == name).any()
        }
        entry["by_severity"] = {
            name: mean_errors(rows[rows["severity"] == severity])
            for severity, name in enumerate(SEVERITIES)
            if (rows["severity"] == severity).any()
        }
        figures.setdefault(detector, {})[description] = entry
    return figures


def mean_errors(rows: pd.DataFrame) -> dict[str, float]:
    """Return the mean errors of rows.

    ``px`` is the distance within the slice, ``px_median`` its median, and ``place_px`` that of ``place_errors``.
    ``slices_one_series`` counts the volumes of a single series alone, and is NaN without any. ``side_right`` is NaN
    where no site has a side. ``other_series`` is the share of the points on another series than the label, in volumes
    of several series, and is NaN without any. The shares of ``LEVEL_SHARES`` add up to 1.
    """
    px = np.hypot(rows["y"], rows["x"])
    figures = {name: float(rows[name].mean()) for name in ("slices", "y", "x", "mm", "place_slices")}
    figures |= {
        "px": float(px.mean()),
        "px_median": float(px.median()),
        "place_px": float(np.hypot(rows["place_y"], rows["place_x"]).mean()),
        "mm_median": float(rows["mm"].median()),
        "slices_one_series": float(rows.loc[rows["series"] == 1, "slices"].mean()),
        "other_series": float(rows.loc[rows["series"] > 1, "other_series"].mean()),
    }
    figures |= {share: float((rows["near"] == share).mean()) for share in LEVEL_SHARES}
    return figures | {
        "level_right": float((rows["level_shift"] == 0).mean()),
        "side_right": float(rows["side_right"].mean()),
        "shifted_studies": shifted_studies(rows),
        "n": len(rows),
    }


def shifted_studies(rows: pd.DataFrame) -> float:
    """Return the share of studies with the median point at another level: the whole spine is named wrongly."""
    return float((rows.groupby("study_id")["level_shift"].median().abs() >= 1).mean())
