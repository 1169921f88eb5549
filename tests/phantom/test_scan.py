"""Phantom pixels: planes agree in the patient, narrow sites are narrow, left is +x."""

from dataclasses import replace

import numpy as np
import pytest

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SITES
from phantom import draw_study
from phantom.anatomy import draw_anatomy
from phantom.contrast import draw_contrast
from phantom.grades import Grades, grade_thresholds
from phantom.profiles import build_profiles
from phantom.protocol import draw_protocol
from phantom.scan import scan_series

# A scanner without noise, coil or artefacts: only anatomy is measured.
IDEAL = {
    "saturation": None,
    "noise": 0.0,
    "coil": (1e9, 1e9),
    "fat_shift": 0.0,
    "ghost": 0.0,
    "wrap": 0.0,
    "clip": None,
}


def patient(severity: np.ndarray, seed: int):
    """Draw an anatomy and its scan at a given severity (25,) of 0, 1 or 2: the middle of each grade."""
    first, second = grade_thresholds().T
    narrowing = np.choose(severity, [first - 1.0, (first + second) / 2, second + 1.0])
    rng = np.random.default_rng(seed)
    anatomy = draw_anatomy(rng, Grades(severity, np.zeros(25, bool), narrowing))
    return anatomy, build_profiles(anatomy), draw_protocol(rng, anatomy)


def image_at(anatomy, profiles, plans, description, point, **changes):
    """Scan the slice nearest to a patient point; return its pixels, and the point's row and column."""
    plan = next(p for p in plans if p.description == description)
    plane = min(plan.planes, key=lambda one: abs(one.project(point)[2]))
    sequence = "T1" if description == SAGITTAL_T1 else "T2"
    contrast = draw_contrast(np.random.default_rng(0), sequence)
    plan = replace(
        plan, planes=(plane,), peak=1000.0, contrast=contrast, sequence=sequence, **IDEAL, **changes
    )
    pixels = next(scan_series(np.random.default_rng(0), anatomy, profiles, plan))
    row, column, _ = plane.project(point)
    return pixels, row, column, plane


def bright_area_mm2(pixels, row, column, plane, reach_mm, level):
    """Return the area brighter than ``level`` within ``reach_mm`` (down, across) of the point."""
    down, across = (round(mm / plane.spacing[0]) for mm in reach_mm)
    r, c = round(row), round(column)
    near = pixels[max(r - down, 0) : r + down + 1, max(c - across, 0) : c + across + 1]
    return float((near > level).sum() * plane.spacing[0] * plane.spacing[1])


# Group -> description, the neighbourhood looked at (mm), and the brightness that only open space has there.
MEASURES = {
    "spinal_canal_stenosis": (SAGITTAL_T2, (3, 10), 600),
    "left_neural_foraminal_narrowing": (SAGITTAL_T1, (9, 6), 700),
    "right_neural_foraminal_narrowing": (SAGITTAL_T1, (9, 6), 700),
    "left_subarticular_stenosis": (AXIAL_T2, (4, 3), 450),
    "right_subarticular_stenosis": (AXIAL_T2, (4, 3), 450),
}


@pytest.mark.parametrize("group", MEASURES)
def test_severe_sites_are_narrower(group):
    """Open area round the point falls from normal to moderate to severe, on average over levels and patients."""
    description, reach, level = MEASURES[group]
    sites = [site.index for site in SITES if site.group == group][1:4]
    area = {0: [], 1: [], 2: []}
    for severity, found in area.items():
        for seed in (1, 2):
            anatomy, profiles, plans = patient(np.full(25, severity), seed)
            for site in sites:
                view = image_at(anatomy, profiles, plans, description, anatomy.site_points()[site])
                found.append(bright_area_mm2(*view, reach, level))
    normal, moderate, severe = (np.mean(area[severity]) for severity in range(3))
    assert normal > 1.2 * moderate > 1.2 * 1.2 * severe


@pytest.mark.parametrize("side", ["left", "right"])
def test_left_is_plus_x(side):
    """One narrow side: its recess and its foramen are the closed ones, by patient coordinates alone."""
    severity = np.array([2 if site.side == side else 0 for site in SITES])
    anatomy, profiles, plans = patient(severity, 7)
    points = anatomy.site_points()
    for group in ("subarticular_stenosis", "neural_foraminal_narrowing"):
        open_area = {}
        for which in ("left", "right"):
            description, reach, level = MEASURES[f"{which}_{group}"]
            sites = [s.index for s in SITES if s.group == f"{which}_{group}"][1:4]
            assert all(
                (points[i, 0] > points[s, 0]) == (which == "left")
                for i, s in zip(sites, (1, 2, 3), strict=True)
            )
            views = [image_at(anatomy, profiles, plans, description, points[i]) for i in sites]
            open_area[which] = np.mean([bright_area_mm2(*view, reach, level) for view in views])
        other = "right" if side == "left" else "left"
        assert open_area[other] > 1.5 * open_area[side]


def test_series_agree_in_patient_coordinates():
    """Along the line where a sagittal and an axial slice cut, both show the same tissue."""
    agreement = []
    for index in range(3):
        study = draw_study(31, index)
        profiles = build_profiles(study.anatomy)
        plans = tuple(study.series.values())
        point = study.points[3]
        images = [
            image_at(study.anatomy, profiles, plans, d, point, thickness=0.1) for d in (SAGITTAL_T2, AXIAL_T2)
        ]
        sagittal, axial = images[0][3], images[1][3]
        direction = np.cross(sagittal.normal, axial.normal)
        direction /= np.linalg.norm(direction)
        normals = np.stack([sagittal.normal, axial.normal, direction])
        on_both = [sagittal.position @ sagittal.normal, axial.position @ axial.normal, point @ direction]
        start = np.linalg.solve(normals, on_both)
        values = []
        for pixels, _, _, plane in images:
            row, column, off = np.array(
                [plane.project(start + t * direction) for t in np.arange(-45, 45, 0.5)]
            ).T
            assert np.abs(off).max() < 1e-6
            values.append(pixels[np.rint(row).astype(int), np.rint(column).astype(int)].astype(float))
        agreement.append(np.corrcoef(*values)[0, 1])
    assert min(agreement) > 0.85


def test_fluid_is_bright_on_t2_and_dark_on_t1():
    anatomy, profiles, plans = patient(np.zeros(25, int), 4)
    for site in range(1, 4):
        point = anatomy.site_points()[site]
        t2, row, column, _ = image_at(anatomy, profiles, plans, SAGITTAL_T2, point)
        # A thread of the cauda may lie on the point itself: some 3 mm around it there is fluid all the same.
        assert t2[round(row) - 5 : round(row) + 6, round(column) - 5 : round(column) + 6].max() > 900
        t1, row, column, _ = image_at(anatomy, profiles, plans, SAGITTAL_T1, point)
        assert np.median(t1[round(row) - 2 : round(row) + 3, round(column) - 2 : round(column) + 3]) < 400
