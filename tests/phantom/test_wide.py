"""Phantoms of wide appearance: what varies, by how much, and that the truth stays the truth."""

import numpy as np
import pytest

from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from phantom import APPEARANCES, WIDE_PARTS, PhantomError, draw_study, write_phantoms
from phantom.anatomy import DISCS
from phantom.profiles import build_profiles
from phantom.scan import scan_series

STUDIES = 60


@pytest.fixture(scope="module")
def drawn():
    return {look: [draw_study(41, index, 1, look) for index in range(STUDIES)] for look in APPEARANCES}


def plans(studies, description):
    return [plan for study in studies for plan in study.series.values() if plan.description == description]


def test_grades_are_those_of_the_same_seed(drawn):
    for narrow, wide in zip(*drawn.values(), strict=True):
        assert narrow.study_id == wide.study_id
        np.testing.assert_array_equal(narrow.grades.labels, wide.grades.labels)


def test_views_and_stacks_reach_beyond_the_scanners(drawn):
    for description in (SAGITTAL_T1, SAGITTAL_T2):
        views = {
            look: [p.planes[0].shape[0] * p.planes[0].spacing[0] for p in plans(s, description)]
            for look, s in drawn.items()
        }
        counts = [len(p.planes) for p in plans(drawn["wide"], description)]
        assert 160 <= min(views["wide"]) < 200 and 420 < max(views["wide"]) <= 500
        assert min(views["realistic"]) >= 260 and max(views["realistic"]) <= 340
        assert min(counts) >= 8 and max(counts) <= 40 and np.ptp(counts) > 20
    axial = [
        sum(len(p.planes) for p in study.series.values() if p.description == AXIAL_T2)
        for study in drawn["wide"]
    ]
    assert min(axial) >= 15 and max(axial) <= 110 and np.ptp(axial) > 50


def test_fat_is_often_brighter_than_the_canal_as_it_never_is_in_the_realistic_t2(drawn):
    brighter = {
        look: np.mean([p.contrast.fat > p.contrast.csf for p in plans(s, SAGITTAL_T2)])
        for look, s in drawn.items()
    }
    assert brighter["realistic"] == 0 and 0.2 < brighter["wide"] < 0.8


def test_the_sacrum_and_the_last_discs_vary_more(drawn):
    last = DISCS.index("L5/S1")

    def spread(measure):
        return {look: np.std([measure(study.anatomy) for study in s]) for look, s in drawn.items()}

    def sacral_angle(anatomy):
        return np.interp(anatomy.disc[last + 2], anatomy.frame.s, anatomy.frame.inclination)

    for measure in (
        sacral_angle,
        lambda a: a.disc_height[last],
        lambda a: a.disc_height[last + 1],
        lambda a: a.size,
    ):
        values = spread(measure)
        assert values["wide"] > 1.25 * values["realistic"]
    assert all((study.anatomy.marrow == 1).all() for study in drawn["realistic"])
    assert any((np.abs(np.log(study.anatomy.marrow)) > 0.5).any() for study in drawn["wide"])


def test_the_curves_are_possible(drawn):
    degrees = [np.degrees(study.anatomy.frame.inclination) for study in drawn["wide"]]
    # A slip is a steep piece of the curve, so the largest angles are not those of discs.
    assert max(np.percentile(d, 95) for d in degrees) < 75
    tilts = [np.ptp(np.degrees(np.arctan(study.anatomy.frame.tilt))) for study in drawn["wide"]]
    assert 30 < max(tilts) < 50  # the Cobb angle of the strongest scoliosis


def test_labelled_points_lie_on_their_slices(drawn):
    labelled = 0
    for study in drawn["wide"]:
        for point, label in zip(study.points, study.points_on_slices, strict=True):
            if label is None:
                continue
            plan = study.series[label.series]
            row, column, off = plan.planes[label.instance - 1].project(point)
            assert (column, row) == pytest.approx((label.x, label.y)) and abs(off) <= plan.distance
            labelled += 1
    assert labelled > 0.8 * 25 * STUDIES


def test_the_order_of_the_discs_and_their_heights_are_possible(drawn):
    for study in drawn["wide"]:
        assert (np.diff(study.anatomy.disc) > 10).all() and (study.anatomy.disc_height >= 0.8).all()
        points = study.anatomy.site_points()[:5]
        gaps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        assert gaps.min() > 18 and gaps.max() < 62


def test_a_slice_is_scanned_with_a_gain_behind_the_spine(drawn):
    study = drawn["wide"][0]
    (plan,) = [p for p in study.series.values() if p.description == SAGITTAL_T2]
    pixels = next(scan_series(np.random.default_rng(0), study.anatomy, build_profiles(study.anatomy), plan))
    assert pixels.shape == plan.planes[0].shape and pixels.max() > 10


@pytest.mark.slow
def test_each_part_is_wide_by_itself():
    def spread(appearance):
        studies = [draw_study(42, index, 1, appearance) for index in range(STUDIES)]
        planes = [p.planes[0] for p in plans(studies, SAGITTAL_T1)]
        views = np.std([plane.shape[0] * plane.spacing[0] for plane in planes])
        signals = np.std([p.contrast.fat for p in plans(studies, SAGITTAL_T1)])
        return {"contrast": signals, "view": views, "shape": np.std([s.anatomy.size for s in studies])}

    realistic, wide = spread("realistic"), spread("wide")
    for part in WIDE_PARTS:
        alone = spread(part)
        for measure in WIDE_PARTS:
            changed = alone[measure] > (realistic[measure] * wide[measure]) ** 0.5
            assert changed == (measure == part), (part, measure)
        assert wide[part] > 1.5 * realistic[part]


def test_a_description_alone_is_written_as_beside_the_others(tmp_path):
    both = (SAGITTAL_T1, SAGITTAL_T2)
    for name, descriptions in (("both", both), ("one", both[:1])):
        write_phantoms(tmp_path / name, 1, 5, appearance="wide", descriptions=descriptions)
    files = [sorted((tmp_path / name).glob("train_images/*/*/*.dcm")) for name in ("both", "one")]
    assert len({file.parent for file in files[0]}) == 2 and len({file.parent for file in files[1]}) == 1
    for file in files[1]:
        assert file.read_bytes() == (tmp_path / "both" / file.relative_to(tmp_path / "one")).read_bytes()
    rows = {name: (tmp_path / name / "train_label_coordinates.csv").read_text() for name in ("both", "one")}
    kept = [row for row in rows["both"].splitlines() if "Canal" not in row]
    assert kept == rows["one"].splitlines() and len(kept) > 8


def test_an_unknown_appearance_is_refused(tmp_path):
    with pytest.raises(PhantomError, match="realistic, wide"):
        write_phantoms(tmp_path / "a", 1, 0, appearance="contrast,odd")
