"""The arithmetic of the benchmarks, on made-up measurements; seconds are never asserted."""

import csv
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lumbar.bundle.members import Detector
from lumbar.networks.detector import DetectorNetwork
from lumbar.outputs.tables import MEMBER_COLUMNS, POINT_COLUMNS
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, DESCRIPTIONS, SAGITTAL_T1, SAGITTAL_T2, SITE_NAMES
from lumbar.table_columns import GRADE_COLUMNS
from tests.benchmarks import disagreement, joint_levels, plausibility, removed_share, sagittal_prior, training
from tests.benchmarks import training_cost as price
from tests.benchmarks import unseen_studies as held_out
from tests.benchmarks.amp_agreement import same_places
from tests.benchmarks.flop_floor import floor_seconds, flops, lstm_flops
from tests.benchmarks.scaling import repeat_study
from tests.benchmarks.speed_ratio import figures
from tests.benchmarks.training_flops import DetectorPasses, Pass, count_pass
from tests.benchmarks.two_processes import Measured
from tests.making.labelled_competition import (
    join_axial_series,
    tiny_detector,
    tiny_recipe,
    training_data_of,
    training_setup,
    write_competition,
)
from tests.making.random_bundle import write_random_bundle
from tests.making.small_study import write_studies
from training.evaluation.metric import WEIGHTS

IMAGE = {
    "segmenter": {SAGITTAL_T2: 4e9, AXIAL_T2: 5e9},
    "pointer": {SAGITTAL_T2: 1e9, AXIAL_T2: 1e9},
    "backbone": 2e9,
    "sequence 1": 0.0,
    "sequence 2": 0.0,
}
COUNTS = {
    "pointer": {SAGITTAL_T2: 4, AXIAL_T2: 5},
    "segmenter": {SAGITTAL_T2: 4, AXIAL_T2: 1},
    "slices": 20,
    "backbone": 100,
}


def measured(seconds: float, points: np.ndarray, probabilities: np.ndarray) -> Measured:
    return Measured(
        seconds={"read": 0.0, "stage 1": seconds / 2, "stage 2": seconds / 2},
        points=points,
        margins=np.where(np.arange(25) < 20, 1e-3, 1e-6),
        searched=np.ones(25, bool),
        probabilities=probabilities,
        counts=COUNTS,
        peak_mb={"process": 1.0, "card": 0.0},
    )


def test_figures_compare_what_is_comparable():
    """In float32 an unclear point may differ, with AMP one pixel is allowed.

    A level with a differing point is left out of the probabilities.
    """
    points, probabilities = np.full((25, 3), 100), np.full((25, 3), 1 / 3)
    other_points, other = points.copy(), probabilities + 1e-4
    other_points[24] += (0, 1, -1)  # right subarticular, l5_s1: not clear
    other_points[3] += (0, 2, 0)  # spinal, l4_l5: clear
    other[4] += 0.5
    reference = [measured(s, points, probabilities) for s in (30.0, 20.0, 40.0)]
    kernel = [measured(s, other_points, other) for s in (3.0, 4.0, 2.0)]
    found = figures(reference, kernel, "fp32", IMAGE, rate=1e10)
    assert found["ratio"] == 10
    assert found["ratio_spread"] == [5, 20]
    assert found["points_equal"] == 19 / 20
    np.testing.assert_allclose(found["max_probability_difference"], 1e-4)
    assert figures(reference, kernel, "amp", IMAGE, rate=1e10)["points_equal"] == 24 / 25
    assert found["floor_s"] == 3 + 20
    assert found["stages"]["stage 1"]["times_floor"] == 1.5 / 3


def test_floor_counts_multiplications_and_additions():
    assert flops(nn.Linear(10, 20, bias=False), torch.rand(1, 10)) == 2 * 10 * 20
    assert lstm_flops(nn.Sequential(nn.LSTM(8, 4, bidirectional=True))) == 2 * 2 * (16 * 8 + 16 * 4)
    assert floor_seconds(COUNTS, IMAGE, 1e9) == {"stage 1": 30.0, "stage 2": 200.0}


def test_repeated_studies_are_the_same_study(tmp_path):
    root = write_studies(tmp_path / "one")
    copies = repeat_study(root, "1", 3, tmp_path / "many")
    with (copies / "test_series_descriptions.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["study_id"] for row in rows] == [study for study in "123" for _ in range(4)]
    for row in rows:
        original = root / "test_images" / "1" / row["series_id"]
        copied = copies / "test_images" / row["study_id"] / row["series_id"]
        assert {f.name: f.read_bytes() for f in copied.iterdir()} == {
            f.name: f.read_bytes() for f in original.iterdir()
        }


def test_training_flops_are_the_closed_formula():
    """A gradient costs as much as its forward pass. The image's own is not computed. Grouped convolutions count
    their groups."""
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 4, 1)
    )
    network, images = layers.to("meta"), torch.empty(1, 3, 16, 16, device="meta")
    each = [2 * 16 * 16 * weights for weights in (8 * 3 * 9, 8 * 9, 4 * 8)]
    found = count_pass(network, lambda: network(images))
    assert found.forward == sum(each)
    assert found.both == 2 * each[0] + 3 * each[1] + 3 * each[2]
    assert found.kept == 4 * 16 * 16 * (3 + 8 + 8)  # what goes into each convolution, float32
    up = nn.ConvTranspose2d(8, 4, 2, stride=2).to("meta")
    one = 2 * 16 * 16 * (8 * 4 * 4)
    assert count_pass(up, lambda: up(torch.empty(1, 8, 16, 16, device="meta"))).both == 2 * one


def test_an_lstm_costs_as_much_at_every_slice():
    lstm = nn.LSTM(8, 4, batch_first=True, bidirectional=True).to("meta")
    one, five = (
        count_pass(lstm, lambda n=n: lstm(torch.empty(1, n, 8, device="meta", requires_grad=True))[0])
        for n in (1, 5)
    )
    assert one.forward == lstm_flops(lstm) and five.forward == 5 * one.forward
    assert five.both <= 3 * five.forward


def test_a_price_is_samples_times_their_flops(monkeypatch):
    passes = DetectorPasses(100, Pass(2, 6, 400), Pass(10, 30, 40), Pass(1, 3, 8))
    monkeypatch.setattr(price, "detector_passes", lambda config: passes)
    monkeypatch.setattr(price, "STUDIES", 10)
    monkeypatch.setattr(price, "SLICES", {SAGITTAL_T2: 6})
    recipe = tiny_recipe()  # batch 2, two epochs, both evaluated, two slices per step, one fold of five
    found = price.network_price(recipe.networks[0], recipe)
    volume = 2 * 6 + 6 * 30 + 3
    assert found.step_flops == 2 * volume and found.steps == 2 * 4
    assert found.flops == 2 * 8 * volume + 3 * 2 * (6 * (2 + 10) + 1)
    assert found.memory == 16 * 100 + 2 * (2 * 400 + 6 * 40 + 8) / 2 and found.weights == 200


@pytest.mark.slow
def test_every_member_of_a_recipe_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "REPEATS", 1)
    monkeypatch.setattr(training, "STEPS", 1)
    recipe = tiny_recipe()
    alone = replace(recipe.networks[0], name="alone", sequence_alone=True, augmentation=None)
    recipe = replace(recipe, networks=(*recipe.networks, alone))
    setup = training_setup(training_data_of(write_competition(tmp_path / "data"), tmp_path))
    result = training.measure(recipe, setup)
    assert list(result) == [member.name for member in (*recipe.networks, *recipe.classifiers)]
    for rates in result.values():
        ratio = rates["loader"]["median"] / rates["step"]["median"]
        assert rates["step"]["low"] > 0 and rates["loader / step"] == ratio
    assert len(training.lines(result)) == 1 + len(result)


def test_held_out_studies_are_the_first_folds_and_nothing_else_is_shown(tmp_path):
    data, shown = write_competition(tmp_path / "data", studies=5), tmp_path / "shown"
    recipe = {"fold_count": 5, "fold_seed": 42, "folds": [1]}
    setup = training_setup(training_data_of(data, tmp_path / "work"))
    training, validation = setup.split(1, setup.data.folds(5, 42))
    assert set(held_out.held_out_studies(data, recipe)) == set(validation) and len(training) == 4
    held_out.lay_out(data, set(validation), shown)
    assert {folder.name for folder in (shown / "train_images").iterdir()} == set(validation)
    assert (shown / "train.csv").read_bytes() == (data / "train.csv").read_bytes()
    for name in held_out.TABLES:
        with (shown / name).open() as file:
            assert {row["study_id"] for row in csv.DictReader(file)} == set(validation)


@pytest.mark.parametrize(
    "flags", [[], ["--run", "r", "--bundle", "b"], ["--bundle", "b"], ["--run", "r", "--recipe", "small"]]
)
def test_unseen_studies_need_a_run_or_a_bundle_with_a_recipe(flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        held_out.main(["--data", "data", *flags])
    assert "expected --run, or --bundle and --recipe" in capsys.readouterr().err


def test_removed_shares_by_variant_place_and_half():
    """Labelled points: near the truth. Found points: the constant in one seed, and wrong sharpness in the other."""
    random, prior = np.random.default_rng(0), np.full((25, 3), 1 / 3)
    share = random.dirichlet((1, 1, 1), (200, 25))
    labels = (random.random((200, 25, 1)) > share.cumsum(-1)).sum(-1).astype(np.int8)
    near = 0.97 * np.eye(3)[labels] + 0.01
    best = share * WEIGHTS / (share * WEIGHTS).sum(-1, keepdims=True)
    sharp = best**3 / (best**3).sum(-1, keepdims=True)
    grades = {"labelled": {("a", name): near for name in ("plain-1", "plain-2", "other-1")}}
    constant = np.broadcast_to(prior, share.shape)
    grades["found"] = {("a", "plain-1"): constant, ("a", "plain-2"): sharp, ("b", "other-1"): best}
    result = removed_share.removed_shares(labels, grades, prior, "foraminal")
    np.testing.assert_allclose(list(result["constant"].values()), np.log(3))
    assert {name.partition(",")[0] for name in result["shares"]} == {"plain at a", "other at b"}
    one = result["shares"]["plain at a, one member"]
    np.testing.assert_allclose(one["variants"]["labelled"]["all"]["values"], 1 + np.log(0.98) / np.log(3))
    assert one["variants"]["found"]["first half"]["values"][0] == pytest.approx(0)
    assert one["differences"]["found - labelled"]["all"]["values"][0] == pytest.approx(
        np.log(0.98) / -np.log(3) - 1
    )
    calibrated = result["shares"]["plain at a, one member, calibrated"]["variants"]["found"]["all"]["values"]
    known = result["shares"]["other at b, one member"]["variants"]["found"]["all"]["mean"]
    assert one["variants"]["found"]["all"]["values"][1] < calibrated[1] - 0.05
    assert calibrated[1] == pytest.approx(known, abs=0.01)


def test_a_half_is_calibrated_by_the_other_one_alone():
    random = np.random.default_rng(1)
    labels, grades = random.integers(0, 3, (40, 25), np.int8), random.dirichlet((1, 1, 1), (40, 25))
    before = removed_share.across_halves(labels, grades)
    labels[::2] = 2 - labels[::2]
    after = removed_share.across_halves(labels, grades)
    np.testing.assert_array_equal(before[::2], after[::2])
    assert abs(before - after)[1::2].max() > 0.01


def test_points_agree_on_one_slice_and_within_a_pixel():
    points = np.zeros((5, 5, 3), int)
    others = points.copy()
    others[1:, 2] = [(0, 1, -1), (0, 2, 0), (1, 0, 0), (0, 0, -2)]
    others[:, 0] = 9  # the crop's other slices do not count
    assert same_places(points, others).tolist() == [True, True, False, False, False]


def test_disagreement_counts_wrong_grades_by_the_members_deviation(tmp_path):
    """Three sites: members agree and are right, differ and are wrong, and one has a single member."""
    names = SITE_NAMES[:3]
    rows = [
        ("1", "d", "a", names[0], 0.9, 0.05, 0.05),
        ("1", "d", "b", names[0], 0.9, 0.05, 0.05),
        ("1", "d", "a", names[1], 0.7, 0.2, 0.1),
        ("1", "d", "b", names[1], 0.3, 0.4, 0.3),
        ("1", "d", "a", names[2], 0.1, 0.1, 0.8),
    ]
    with (tmp_path / "members.csv").open("w", newline="") as file:
        csv.writer(file).writerows([MEMBER_COLUMNS, *rows])
    labels = dict.fromkeys(SITE_NAMES, "") | dict(
        zip(names, ("Normal/Mild", "Severe", "Severe"), strict=True)
    )
    with (tmp_path / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([GRADE_COLUMNS, ["1", *labels.values()]])
    judged = disagreement.judge(tmp_path / "members.csv", tmp_path / "train.csv")
    assert judged.studies == 1 and judged.wrong.tolist() == [False, True]
    assert judged.probability == pytest.approx([0.9, 0.5])
    assert judged.deviation == pytest.approx([0, np.std([0.7, 0.3], ddof=1)])
    lines = disagreement.text(judged).splitlines()
    assert lines[0] == "1 studies, 2 sites, 50.0% wrong"
    assert [line.split()[-1] for line in lines if line.split()[:1] in (["0.0%"], ["25.0%"])] == [
        "50.0%",
        "100.0%",
    ]

    reasons = disagreement.reasons_text(judged, {"1": {names[1]: ["undecided", "members_apart"]}})
    rows = {line[:20].strip(): line[20:].split() for line in reasons.splitlines()[2:]}
    assert rows.keys() == {"undecided", "members_apart", "any reason", "no reason"}  # neither is alone
    assert rows["any reason"] == ["1.00", "100.0%"] and rows["no reason"] == ["1.00", "0.0%"]


def test_flagged_studies_are_counted_with_and_without_a_lost_point(tmp_path):
    data = write_competition(tmp_path / "data", studies=3)
    rows = []
    for (study, description), target in training_data_of(data, tmp_path / "run").targets.items():
        for c, point in enumerate(target.points):
            lost = 60 if (study, c) == ("101", 0) else 0  # pixels of the detector grid
            site = SITE_NAMES[DESCRIPTION_SITES[description].start + c]
            rows.append([study, "d", site, 0, *(point + np.array([0, lost, 0])), 0.5])
    dump = tmp_path / "dump"
    dump.mkdir()
    pd.DataFrame(rows, columns=POINT_COLUMNS).to_csv(dump / "points.csv", index=False)
    flags = [{"study_id": study, "reason": "level_order"} for study in ("101", "101", "102")]
    (dump / "run.json").write_text(json.dumps({"flags": flags}))
    text = plausibility.judge_labelled(dump, data)
    assert "a point beyond 15 mm: 1 studies, 1 with a flag {'level_order': 1}" in text
    assert "no point beyond 15 mm: 2 studies, 1 with a flag {'level_order': 1}" in text


def test_axial_points_are_judged_with_and_without_a_sagittal_prior(tmp_path):
    root = write_competition(tmp_path / "data", 2)
    join_axial_series(root)
    detector = Detector("d", "fixed", {d: DetectorNetwork(tiny_detector(d)).eval() for d in DESCRIPTIONS})
    bundle = write_random_bundle(tmp_path / "bundle", [detector], [])
    result = sagittal_prior.main(["--data", str(root), "--bundle", str(bundle), "--widths", "2", "3"])
    assert list(result) == ["d, none", "d, 2 mm", "d, 3 mm"]
    assert all(0 <= parts["several series"]["other_series"] <= 1 for parts in result.values())


def test_sagittal_points_are_judged_with_levels_chosen_each_by_itself_and_together(tmp_path):
    root = write_competition(tmp_path / "data", 2)
    detector = Detector("d", "fixed", {d: DetectorNetwork(tiny_detector(d)).eval() for d in DESCRIPTIONS})
    bundle = write_random_bundle(tmp_path / "bundle", [detector], [])
    result = joint_levels.main(["--data", str(root), "--bundle", str(bundle)])
    ways = ("each by itself", "together")
    assert set(result) == {f"{d}, {way}" for d in (SAGITTAL_T2, SAGITTAL_T1) for way in ways}
    assert all(0 < figures["segmented"] <= 1 for figures in result.values())
    assert any(
        result[f"{SAGITTAL_T1}, {way}"]["px"] != result[f"{SAGITTAL_T1}, {ways[0]}"]["px"] for way in ways
    )
