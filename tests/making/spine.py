"""Phantom spines as volumes and detections without a picture being painted: geometry in milliseconds."""

from dataclasses import replace
from functools import cache

import numpy as np

from lumbar.grading.detection import Detection
from lumbar.grading.point_search import Points
from lumbar.grids import CROP_OFFSETS
from lumbar.reading.study import Study
from lumbar.reading.volume import SliceHeader, Volume
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, DESCRIPTIONS
from phantom import PhantomStudy, draw_study


def phantom_spine(index: int, seed: int = 1) -> tuple[Study, np.ndarray]:
    """Return a phantom's study, all slices the same speckle, and its sites (25, 3) in mm."""
    phantom = drawn(seed, index)
    study = Study(str(phantom.study_id))
    for description in DESCRIPTIONS:
        headers = [
            SliceHeader(
                str(series_id),
                instance,
                f"1.2.{series_id}.{instance}",
                tuple(float(v) for v in plane.position + phantom.shift),
                tuple(float(v) for v in (*plane.along_row, *plane.along_column)),
                tuple(map(float, plane.spacing)),
                tuple(plane.shape),
            )
            for series_id, plan in phantom.series.items()
            if plan.description == description
            for instance, plane in enumerate(plan.planes, start=1)
        ]
        if headers:
            headers.sort(key=lambda h, axis=2 if description == AXIAL_T2 else 0: h.position[axis])
            study.volumes[description] = speckled_volume(description, headers)
    return study, phantom.points + phantom.shift


@cache
def drawn(seed: int, index: int) -> PhantomStudy:
    return draw_study(seed, index)


def speckled_volume(description: str, headers: list[SliceHeader]) -> Volume:
    """Return a volume of bright speckle; its grids can't be written to."""
    rng = np.random.default_rng(0)
    grids = [
        np.broadcast_to(rng.integers(60, 250, (size, size), np.uint8), (len(headers), size, size))
        for size in (256, 512)
    ]
    return Volume(description, *grids, tuple(headers), "ImagePositionPatient")


def detection_of(study: Study, sites_mm: np.ndarray) -> Detection:
    """Return the points of a perfect detector of the sites (25, 3) in mm, on the nearest slices."""
    points = {}
    for description, volume in study.volumes.items():
        found = np.array([nearest(volume, site) for site in sites_mm[DESCRIPTION_SITES[description]]])
        points[description] = Points(
            found[:, None] + np.array([(o, 0, 0) for o in CROP_OFFSETS]),
            np.full((len(found), len(CROP_OFFSETS)), 0.9, np.float32),
            len(volume),
            "fixed",
            len(volume),
        )
    return Detection(points, {d: volume.grid512 for d, volume in study.volumes.items()})


def nearest(volume: Volume, site: np.ndarray) -> tuple[int, int, int]:
    """Return the slice, row and column on the 256 grid nearest to a point in mm, inside the picture."""
    best, least = None, np.inf
    for index in range(len(volume)):
        row, column = np.clip(volume.patient_to_grid(index, tuple(site)), 0, 255)
        off = np.linalg.norm(np.subtract(volume.grid_to_patient(index, row, column), site))
        if off < least:
            best, least = (index, round(float(row)), round(float(column))), off
    return best


def with_points(detection: Detection, description: str, points: np.ndarray) -> Detection:
    """Return the detection with other points (class, 5, 3) for one description."""
    found = replace(detection.points[description], points=points)
    return replace(detection, points=detection.points | {description: found})
