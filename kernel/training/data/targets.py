"""Labelled coordinates -> the targets of stage 1, in the frame of the joined volume.

A class's label over the volume is one 2-D gaussian times an amplitude per slice: 1, 1/2, 1/4 over +-2 slices of its own
series, in patient order. Gaussian and amplitudes are kept apart, and a squeeze acts on the amplitudes alone.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lumbar.grids import DETECTOR_GRID, labelled_pixel, rescale, squeeze
from lumbar.networks.heatmap import DECAY, REACH
from lumbar.reading.volume import Volume
from lumbar.sites import DESCRIPTION_SITES, SITES, class_count
from training.data.cache import Cache
from training.data.labels import LabelFault
from training.data.study_headers import StudyHeaders

FADED = 0.05  # of an amplitude: less is none


@dataclass(frozen=True)
class Target:
    """The labels of one volume of S slices, C classes.

    Attributes:
        points: (C, 3) float64 slice, row, column on the detector grid, NaN where unlabelled. The slice is in the joined
            volume's order, and fractional after a squeeze.
        amplitude: (C, S) float32, the label's peak on every slice, 0..1.
    """

    points: np.ndarray
    amplitude: np.ndarray


def place_targets(
    coordinates: pd.DataFrame, studies: Cache | StudyHeaders, decay: float = DECAY, reach: int = REACH
) -> tuple[dict[tuple[str, str], Target], list[LabelFault]]:
    """Find every coordinate's slice and pixel in the volumes.

    Args:
        coordinates: Table of ``labels.LABELLED_POINT_COLUMNS``.
        studies: The volumes.
        decay: Factor by which a label fades from one slice to the next.
        reach: Slices on either side of the labelled one that carry a label.

    Returns:
        Targets by (study_id, description), one per volume with a label, and the faults: no_study, no_series,
        other_description, no_slice, outside.
    """
    by_study = dict(list(coordinates.groupby("study_id", sort=False)))
    targets = {}
    faults = [
        LabelFault("no_study", f"study {study}", f"{len(by_study[study])} points, but no images")
        for study in sorted(by_study.keys() - set(studies.study_ids))
    ]
    for study in studies.study_ids:
        if study in by_study:
            targets.update(place_study(study, by_study[study], studies.volumes(study), faults, decay, reach))
    return targets, faults


def place_study(
    study: str,
    rows: pd.DataFrame,
    volumes: dict[str, Volume],
    faults: list[LabelFault],
    decay: float,
    reach: int,
) -> dict[tuple[str, str], Target]:
    """Return the targets of one study and append to faults."""
    series = {h.series_id: volume.description for volume in volumes.values() for h in volume.headers}
    targets: dict[tuple[str, str], Target] = {}
    for row in rows.itertuples(index=False):
        site = SITES[row.site]
        where = f"study {study}, series {row.series_id}, slice {row.instance_number}, {site.name}"
        if row.series_id not in series:
            faults.append(LabelFault("no_series", where, "the study has no readable series of that id"))
            continue
        if series[row.series_id] != site.description:
            message = f"the series is {series[row.series_id]!r}, expected {site.description!r}"
            faults.append(LabelFault("other_description", where, message))
            continue
        headers = volumes[site.description].headers
        own = [i for i, header in enumerate(headers) if header.series_id == row.series_id]
        found = [p for p, i in enumerate(own) if headers[i].instance_number == row.instance_number]
        if not found:
            faults.append(
                LabelFault("no_slice", where, f"the series has {len(own)} slices, none of that number")
            )
            continue
        height, width = headers[own[found[0]]].shape
        y, x = (row.y / height, row.x / width) if row.unit == "pixel" else (row.y, row.x)
        if not (0 <= y < 1 and 0 <= x < 1):
            message = f"got x {row.x}, y {row.y} ({row.unit}), expected inside {width} x {height}"
            faults.append(LabelFault("outside", where, message))
            continue
        y, x = headers[own[found[0]]].usual_share(y, x)
        target = targets.setdefault((study, site.description), empty_target(site.description, len(headers)))
        c = row.site - DESCRIPTION_SITES[site.description].start
        target.points[c] = own[found[0]], labelled_pixel(y), labelled_pixel(x)
        for near in range(max(0, found[0] - reach), min(len(own), found[0] + reach + 1)):
            target.amplitude[c, own[near]] = decay ** abs(near - found[0])
    return targets


def empty_target(description: str, slices: int) -> Target:
    classes = class_count(description)
    return Target(np.full((classes, 3), np.nan), np.zeros((classes, slices), np.float32))


def squeezed_target(target: Target, length: int) -> Target:
    """Return the target of the volume squeezed to ``length`` slices; itself if it is not longer.

    The gaussian is the same on every slice, so squeezing the label volume is squeezing its amplitudes.
    """
    slices = target.amplitude.shape[1]
    if slices <= length:
        return target
    points = target.points.copy()
    points[:, 0] = rescale(points[:, 0], slices, length)
    amplitude = squeeze(np.ascontiguousarray(target.amplitude.T[:, :, None]), length)[..., 0].T
    return Target(points, np.ascontiguousarray(amplitude))


def faded_by_distance(target: Target, volume: Volume, half_mm: float) -> Target:
    """Return the target with an amplitude that fades with a slice's distance from the point, whatever its series.

    Of several series that show a place only one is labelled, often nearer by less than a millimetre. The choice of the
    series is one bit per point, but the distance of every slice can be learnt. Amplitudes below ``FADED``, and those on
    slices that do not show the place, are 0. An amplitude stays as it is where the slice, or the point's own slice, has
    no geometry.

    Args:
        target: The target of one volume.
        volume: That volume.
        half_mm: Distance from the slice's plane at which the amplitude is 1/2, mm.
    """
    amplitude = target.amplitude.copy()
    for c, (slice_, row, column) in enumerate(target.points):
        point = None if np.isnan(slice_) else volume.grid_to_patient(int(slice_), row, column)
        for s in range(len(volume)) if point else ():
            place = volume.patient_to_grid(s, point)
            if place is None:
                continue
            peak = 0.5 ** (math.dist(point, volume.grid_to_patient(s, *place)) / half_mm)
            shown = all(-0.5 <= coordinate < DETECTOR_GRID - 0.5 for coordinate in place)
            amplitude[c, s] = peak if shown and peak >= FADED else 0
    return Target(target.points, amplitude)
