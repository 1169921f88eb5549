"""Phantom anatomy and planes: coordinates invert, points project, fields of view are real ones."""

import numpy as np
import pytest

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SITES
from phantom import draw_study
from phantom.anatomy import RECESS_OFFSET

STUDIES = 24


@pytest.fixture(scope="module")
def studies():
    return [draw_study(21, index) for index in range(STUDIES)]


def test_spine_coordinates_invert(studies):
    rng = np.random.default_rng(1)
    for study in studies[:6]:
        frame = study.anatomy.frame
        for a, v, s in rng.uniform((-30, -25, -90), (30, 25, 90), (40, 3)):
            point = frame.to_patient(a, v, s)
            back = [float(c[0, 0]) for c in frame.to_spine(*(np.full((1, 1), c) for c in point))]
            np.testing.assert_allclose(back, (a, v, s), atol=0.4)  # mm; the lookup is a 1.5 mm grid


def test_points_are_in_order(studies):
    """Levels run from the head downwards. Left is +x. The foramen lies behind the bodies, beside the canal."""
    for study in studies:
        points = study.anatomy.site_points().reshape(5, 5, 3)
        assert (np.diff(points[..., 2], axis=1) < 0).all()
        assert (points[1, :, 0] > points[0, :, 0] + 9).all() and (points[2, :, 0] < points[0, :, 0] - 9).all()
        assert (points[3, :, 0] > points[4, :, 0] + 12).all()
        assert RECESS_OFFSET == 8.5


def test_labelled_points_are_the_points(studies):
    """Pixel, instance, position, orientation and spacing lead back to the patient point, in every geometry."""
    shown = 0
    for study in studies:
        for point, label, site in zip(study.points, study.points_on_slices, SITES, strict=True):
            if label is None:
                continue
            plan = study.series[label.series]
            assert plan.description == site.description
            plane = plan.planes[label.instance - 1]
            along = (
                plane.along_row * plane.spacing[1] * label.x + plane.along_column * plane.spacing[0] * label.y
            )
            offset = point - (plane.position + along)
            assert abs(offset @ plane.along_row) < 1e-9 and abs(offset @ plane.along_column) < 1e-9
            assert abs(offset @ plane.normal) <= plan.distance  # the nearest slice; half a distance if inside
            nearest = min(abs(other.project(point)[2]) for other in plan.planes)
            assert abs(offset @ plane.normal) >= nearest - 1e-9
            shown += 1
    assert shown >= 0.985 * STUDIES * 25


def test_planes_are_real_ones(studies):
    for study in studies:
        for plan in study.series.values():
            for plane in plan.planes:
                rows = plane.shape[0]
                view = rows * plane.spacing[0]
                low, high = (150, 220) if plan.description == AXIAL_T2 else (260, 340)
                assert low - 1e-6 <= view <= high + 1e-6
                assert 192 <= rows <= 1024 and 0.3 <= plane.spacing[0] <= 1.0
                assert np.linalg.norm(plane.along_row) == pytest.approx(1)
                assert plane.along_row @ plane.along_column == pytest.approx(0, abs=1e-9)
            assert 3 <= plan.distance <= 6 and plan.thickness <= plan.distance
        count = dict.fromkeys((SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2), 0)
        for plan in study.series.values():
            count[plan.description] += len(plan.planes)
        assert 12 <= count[SAGITTAL_T2] <= 30 and 20 <= count[AXIAL_T2] <= 100


def test_as_many_axial_series_as_asked_for():
    def counts(least: int) -> list[int]:
        drawn = [draw_study(22, index, least).series.values() for index in range(STUDIES)]
        return [sum(plan.description == AXIAL_T2 for plan in plans) for plans in drawn]

    assert counts(2) == [max(2, count) for count in counts(1)]
    assert counts(3) == [3] * STUDIES


def test_instance_order_runs_both_ways(studies):
    for description, axis in ((SAGITTAL_T1, 0), (AXIAL_T2, 2)):
        plans = [p for study in studies for p in study.series.values() if p.description == description]
        ascending = [p.planes[-1].position[axis] > p.planes[0].position[axis] for p in plans]
        assert 0.25 < np.mean(ascending) < 0.75


# Mean of the point as a fraction of the image, from the competition's coordinates (data.md), and its spread.
FRACTIONS = {
    "spinal_canal_stenosis": ("y", (0.30, 0.42, 0.53, 0.64, 0.73), 0.055),
    "left_neural_foraminal_narrowing": ("y", (0.28, 0.39, 0.50, 0.60, 0.70), 0.057),
    "right_neural_foraminal_narrowing": ("y", (0.28, 0.39, 0.50, 0.60, 0.70), 0.057),
    "left_subarticular_stenosis": ("x", (0.55,) * 5, 0.023),
    "right_subarticular_stenosis": ("x", (0.455,) * 5, 0.023),
}


@pytest.mark.parametrize("group", FRACTIONS)
def test_points_lie_where_the_competitions_do(studies, group):
    """Mean within a third of the spread (and sampling error), spread within a third (and sampling error)."""
    axis, means, spread = FRACTIONS[group]
    for level in range(5):
        index = next(i for i, s in enumerate(SITES) if s.group == group) + level
        seen = []
        for study in studies:
            label = study.points_on_slices[index]
            if label is not None:
                rows, columns = study.series[label.series].planes[0].shape
                seen.append(label.x / columns if axis == "x" else label.y / rows)
        error = spread / np.sqrt(len(seen))
        assert abs(np.mean(seen) - means[level]) < spread / 3 + 2.5 * error
        assert np.std(seen) == pytest.approx(spread, rel=1 / 3 + 2.5 / np.sqrt(2 * len(seen)))
