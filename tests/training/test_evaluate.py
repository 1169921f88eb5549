"""evaluate.py: the official score, point errors in pixels and mm, member weights; bad input is named."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evaluate
from lumbar.outputs.submission import Submission, study_rows
from lumbar.outputs.tables import POINT_COLUMNS
from lumbar.reading.volume import SliceHeader, Volume
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, MISSING, SEVERITIES, SITE_NAMES, SITES
from tests.making.dicom_writer import AXIAL
from tests.making.labelled_competition import ROWS, join_axial_series, training_data_of, write_competition
from training.data.labels import read_grades
from training.evaluation import all_figures as all_figures_module
from training.evaluation.all_figures import all_figures
from training.evaluation.metric import best_constant, score
from training.evaluation.point_figures import LEVEL_SHARES, SiteErrors, mean_errors, place_errors, site_errors


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_competition(tmp_path_factory.mktemp("evaluate"), studies=3)


def predictions(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([3, 1, 1], (count, 25))


def write_submission(file, studies, probabilities):
    submission = Submission([row for study in studies for row in study_rows(study)], np.full((25, 3), 1 / 3))
    for study, rows in zip(studies, probabilities, strict=True):
        submission.set_study(study, rows)
    submission.write(file)
    return file


def write_members(file, studies, members):
    rows = [
        [study, detector, classifier, site, *p]
        for (detector, classifier), values in members.items()
        for study, sites in zip(studies, values, strict=True)
        for site, p in zip(SITE_NAMES, sites, strict=True)
    ]
    pd.DataFrame(rows, columns=["study_id", "detector", "classifier", "site", *SEVERITIES]).to_csv(
        file, index=False
    )
    return file


def test_score_members_and_files(data, tmp_path, capsys):
    studies, probabilities = ["100", "101", "102"], predictions(3)
    submission = write_submission(tmp_path / "submission.csv", studies, probabilities)
    members = write_members(
        tmp_path / "members.csv", studies, {("a", "x"): predictions(3, 1), ("a", "y"): probabilities}
    )
    out = ["--json", str(tmp_path / "f.json"), "--png", str(tmp_path / "f.png")]
    arguments = ["--data", str(data), "--submission", str(submission), "--members", str(members), *out]
    assert evaluate.main(arguments) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    expected = score(read_grades(data / "train.csv").of(studies), probabilities)
    assert figures["score"] == pytest.approx(expected["score"], abs=1e-6)
    assert figures["members"]["single"]["a x y"]["score"] == pytest.approx(expected["score"], abs=1e-6)
    assert (tmp_path / "f.png").stat().st_size and "prior" in capsys.readouterr().out


def test_out_of_fold_members_need_no_submission(data, tmp_path):
    """A run's folds grade different studies: together they are one member, and the members' mean is judged."""
    studies, given = ["100", "101", "102"], {name: predictions(3, seed) for seed, name in enumerate("12")}
    tables = []
    for fold, part in enumerate((slice(0, 2), slice(2, 3))):
        members = {("d", f"{name}/fold{fold}"): values[part] for name, values in given.items()}
        tables.append(pd.read_csv(write_members(tmp_path / "fold.csv", studies[part], members)))
    file = tmp_path / "members.csv"
    pd.concat(tables).sample(frac=1, random_state=0).to_csv(file, index=False)
    figures = all_figures(evaluate.parse(["--data", str(data), "--members", str(file), "--fit-weights"]))
    labels = read_grades(data / "train.csv").of(studies)
    assert figures["studies"] == 3 and set(figures["members"]["single"]) == {"d x 1", "d x 2"}
    for name, values in given.items():
        assert figures["members"]["single"][f"d x {name}"]["score"] == pytest.approx(
            score(labels, values)["score"]
        )
    assert figures["score"] == pytest.approx(score(labels, (given["1"] + given["2"]) / 2)["score"])
    assert set(figures["fit"]["weights"]) == {"1", "2"}


def test_the_prior_counts_where_a_member_graded_nothing(data, tmp_path, capsys):
    """As infer.py submits it; a condition that a member never graded has no term."""
    studies, given = ["100", "101", "102"], {name: predictions(3, seed) for seed, name in enumerate("12")}
    table = pd.read_csv(
        write_members(tmp_path / "m.csv", studies, {("d", name): values for name, values in given.items()})
    )
    axial, t1 = DESCRIPTION_SITES["Axial T2"], DESCRIPTION_SITES["Sagittal T1"]
    lost = (table["study_id"] == 101) & table["site"].isin(SITE_NAMES[axial])
    lost |= (table["classifier"] == 2) & table["site"].isin(SITE_NAMES[t1])
    table[~lost].to_csv(tmp_path / "m.csv", index=False)
    figures = all_figures(evaluate.parse(["--data", str(data), "--members", str(tmp_path / "m.csv")]))
    grades = read_grades(data / "train.csv")
    labels, prior = grades.of(studies), best_constant(grades.labels)
    mean = (given["1"] + given["2"]) / 2
    mean[:, t1] = given["1"][:, t1]
    for values in (mean, *given.values()):
        values[1, axial] = prior[axial]
    single = figures["members"]["single"]
    assert figures["score"] == pytest.approx(score(labels, mean)["score"])
    assert single["d x 1"] == pytest.approx(score(labels, given["1"]))
    assert np.isnan([single["d x 2"]["foraminal"], single["d x 2"]["score"]]).all()
    assert single["d x 2"]["subarticular"] == pytest.approx(score(labels, given["2"])["subarticular"])
    known = int((labels[1, axial] != MISSING).sum()), int((labels[:, t1] != MISSING).sum())
    assert figures["members"]["ungraded"] == {"d x 1": known[0], "d x 2": sum(known)}
    submission = write_submission(tmp_path / "s.csv", studies, predictions(3))
    arguments = ["--data", str(data), "--members", str(tmp_path / "m.csv")]
    assert evaluate.main([*arguments, "--submission", str(submission)]) == 0
    assert f"d x 2: {sum(known)} labelled sites not graded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda table: table.assign(study_id=table["study_id"] + 900), "got none of the studies to judge"),
        (lambda table: pd.concat([table, table[:1]]), "twice"),
        (lambda table: table.assign(severe=-0.1), "expected probabilities"),
        (lambda table: table.assign(severe="much"), "expected probabilities"),
        (lambda table: table.assign(normal_mild=0, moderate=0, severe=0), "expected probabilities"),
        (lambda table: table.drop(columns="severe"), "got no column"),
        (lambda table: table, "expected two or more"),  # classifiers to weigh
    ],
)
@pytest.mark.parametrize("submitted", [True, False])
def test_bad_members_are_named_in_one_line(data, tmp_path, capsys, spoil, said, submitted):
    studies = ["100", "101"]
    table = pd.read_csv(write_members(tmp_path / "members.csv", studies, {("d", "x"): predictions(2)}))
    spoil(table).to_csv(tmp_path / "members.csv", index=False)
    arguments = ["--data", str(data), "--members", str(tmp_path / "members.csv"), "--fit-weights"]
    if submitted:
        submission = write_submission(tmp_path / "s.csv", studies, predictions(2))
        arguments += ["--submission", str(submission)]
    assert evaluate.main(arguments) == 2
    message = capsys.readouterr().err
    assert said in message and "expected" in message and message.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--submission, --members or --points"),
        (["--points", "p.csv", "--png", "p.png"], "--png: expected --submission"),
        (["--submission", "s.csv", "--fit-weights"], "--fit-weights: expected --members"),
        (["--submission", "s.csv", "--fit-calibration"], "--fit-calibration: expected --members"),
        (["--members", "m.csv", "--by-level"], "--by-level: expected --fit-calibration"),
        (["--submission", "s.csv", "--contradicted", "c.csv"], "--contradicted: expected --members"),
        (["--members", "m.csv", "--threshold", "8"], "--threshold: got 8, expected 0 to 1"),
    ],
)
def test_a_command_without_what_it_asks_for_is_refused(arguments, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(["--data", "data", *arguments])
    assert said in capsys.readouterr().err


def test_point_errors_in_slices_pixels_and_mm(data, tmp_path):
    training_data = training_data_of(data, tmp_path)
    rows = []
    for (study, description), target in training_data.targets.items():
        for c, point in enumerate(target.points):
            z, y, x = point + np.array([1, 3, 4]) if description == "Sagittal T1" else point
            site = SITES[DESCRIPTION_SITES[description].start + c]
            rows.append([study, "d", site.name, 0, z, y, x, 0.5])
    pd.DataFrame(rows, columns=POINT_COLUMNS).to_csv(tmp_path / "points.csv", index=False)
    submission = write_submission(tmp_path / "s.csv", ["100"], predictions(1))
    options = evaluate.parse(
        ["--data", str(data), "--submission", str(submission), "--points", str(tmp_path / "points.csv")]
    )
    points = all_figures(options)["points"]["d"]
    moved, exact = points["Sagittal T1"], points["Axial T2"]
    assert (exact["px"], exact["slices"], exact["mm"], exact["level_right"]) == (0, 0, 0, 1)
    assert exact["shifted_studies"] == 0
    assert (moved["slices"], moved["y"], moved["x"], moved["px"]) == (1, 3, 4, 5)
    assert moved["slices_one_series"] == 1 and (moved["place_px"], moved["place_slices"]) == (5, 1)
    # A slice is 4 mm; 3 rows of 256 over 48 pixels of 1.5 mm, 4 columns over 40 of them.
    in_plane = np.hypot(3 * ROWS / 256 * 1.5, 4 * 40 / 256 * 1.5)
    assert moved["mm"] == pytest.approx(np.hypot(4, in_plane), rel=1e-6)
    assert set(moved["by_group"]) == {"left_neural_foraminal_narrowing", "right_neural_foraminal_narrowing"}


def two_series() -> Volume:
    """Return five slices of an axial series at z = 0, 6, ..., and one 2 mm above each of another, twice as fine."""
    fov = {"a": ((0.0, 0.0), 1.0), "b": ((-10.0, 20.0), 0.5)}
    headers = [
        SliceHeader(
            series,
            i + 1,
            f"{series}{i}",
            (*fov[series][0], 6.0 * i + z),
            AXIAL,
            (fov[series][1],) * 2,
            (256, 256),
        )
        for i in range(5)
        for series, z in (("a", 0.0), ("b", 2.0))
    ]
    grid = np.zeros((10, 1, 1), np.uint8)
    return Volume(AXIAL_T2, grid, grid, tuple(headers), "ImagePositionPatient")


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((2, 50, 40), (0, 0, 0)),
        ((4, 52, 43), (1, 2, 3)),  # the next slice of its own series, two on in the volume
        (
            (3, 60, 100),
            (2 / 6, 0, 0),
        ),  # the same place on the other: (50 - 20) / 0.5 rows, (40 + 10) / 0.5 columns
        ((1, 64, 90), (4 / 6, 2, 5)),  # the slice below it there, 4 mm from the label's
    ],
)
def test_a_point_on_another_series_counts_for_its_place(point, expected):
    label = np.array([2.0, 50.0, 40.0])  # on series a, z = 6
    assert place_errors(np.array(point, float), label, two_series()) == pytest.approx(expected)


@pytest.mark.parametrize("spoil", ["no study", "row missing", "no labels", "no point columns"])
def test_bad_input_is_named_in_one_line(data, tmp_path, capsys, spoil):
    folder, studies = data, ["100", "101"]
    if spoil == "no study":
        studies = ["7"]
    submission = write_submission(tmp_path / "s.csv", studies, predictions(len(studies)))
    if spoil == "row missing":
        lines = submission.read_text().splitlines()
        submission.write_text("\n".join(lines[:-1]) + "\n")
    elif spoil == "no labels":
        folder = tmp_path
    arguments = ["--data", str(folder), "--submission", str(submission)]
    if spoil == "no point columns":
        points = tmp_path / "points.csv"
        pd.DataFrame(columns=POINT_COLUMNS[:-1]).to_csv(points, index=False)
        arguments += ["--points", str(points)]
    assert evaluate.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("evaluate.py: ") and "expected" in message and message.count("\n") == 1


def test_help_loads_no_library_that_takes_seconds():
    heavy = ("torch", "timm", "pandas", "sklearn", "cv2", "pydicom", "matplotlib", "scipy")
    code = "import sys, evaluate\ntry: evaluate.parse(['--help'])\nfinally: "
    code += f"print(*{{*{heavy}}} & {{*sys.modules}}, file=sys.stderr)"
    kernel = Path(evaluate.__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=kernel, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.strip() == "" and "--fit-weights" in done.stdout


def test_ctrl_c_is_one_line_and_status_130(data, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(all_figures_module, "read_grades", interrupted)
    assert evaluate.main(["--data", str(data), "--members", "members.csv"]) == 130
    assert capsys.readouterr().err == "\nevaluate.py: interrupted.\n"


def canal_volume(slices: int = 3) -> Volume:
    """Return a sagittal volume of 1 mm pixels on the detector grid and slices 4 mm apart."""
    headers = tuple(
        SliceHeader(
            "1", i + 1, "", (4.0 * i, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0, 0.0, -1.0), (1.0, 1.0), (256, 256)
        )
        for i in range(slices)
    )
    grids = [np.zeros((slices, size, size), np.uint8) for size in (256, 512)]
    return Volume("Sagittal T2/STIR", *grids, headers, "ImagePositionPatient")


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        ((0, 0, 0), "own_level"),
        ((0, 9, 4), "own_level"),  # 9.8 mm
        ((0, 9, 5), "nowhere"),  # 10.3 mm
        ((0, 30, 0), "another_level"),
        ((0, 25, 0), "another_level"),
        ((0, 15, 0), "nowhere"),
        ((1, 9, 0), "own_level"),  # one slice is 4 mm: 9.8 mm
        ((1, 9, 4), "nowhere"),
        ((0, 0, 40), "nowhere"),
    ],
)
def test_a_point_is_near_its_own_level_another_or_none(moved, expected):
    truth = np.array([[1.0, 60 + 30 * level, 120] for level in range(5)])
    assert site_errors(truth[1] + moved, 1, truth, canal_volume()).near == expected


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        ((0, 0, 0), 1),
        ((2, 9, 9), 1),  # 8 of the 24 mm to the other side
        ((3, 0, 0), 0),  # midway
        ((4, 0, 0), 0),
        ((1, 40, 0), 1),  # another level, the same side
        ((6, 40, 0), 0),
    ],
)
@pytest.mark.parametrize("geometry", [True, False])
def test_a_point_is_on_the_side_whose_label_is_nearer(moved, expected, geometry):
    truth = np.array([[1.0 + 6 * side, 60 + 30 * level, 120] for side in (0, 1) for level in range(5)])
    volume = canal_volume(9)
    if not geometry:
        volume = replace(volume, headers=tuple(replace(h, spacing=None) for h in volume.headers))
    assert site_errors(truth[1] + moved, 1, truth, volume).side_right == expected
    mirrored = truth[6] + np.array(moved) * (-1, 1, 1)
    assert site_errors(mirrored, 6, truth, volume).side_right == expected


def test_without_the_other_sides_label_no_side_is_counted():
    truth = np.array([[1.0 + 6 * side, 60 + 30 * level, 120] for side in (0, 1) for level in range(5)])
    truth[6] = np.nan
    assert np.isnan(site_errors(truth[1], 1, truth, canal_volume(9)).side_right)
    assert np.isnan(site_errors(truth[1], 1, truth[:5], canal_volume(9)).side_right)


@pytest.mark.parametrize(
    ("shifts", "expected"),
    [
        ((0, 0, 0, 0, 0), 0),
        ((1, 1, 1, 1, 1), 0.5),  # one of two studies
        ((-1, -1, -1, -1, -1), 0.5),
        ((1, 1, 1, 0, 0), 0.5),
        ((1, 1, 0, 0, 0), 0),
        ((-1, -1, 0, 1, 1), 0),  # wrong levels, but no shift
    ],
)
def test_a_spine_that_is_named_a_level_off_is_counted(shifts, expected):
    truth = np.array([[1.0, 60 + 30 * level, 120] for level in range(5)])
    rows = []
    for study, moves in (("1", shifts), ("2", (0,) * 5)):
        for level, shift in enumerate(moves):
            # Beyond the last level the nearest label is that of the level itself.
            errors = site_errors(truth[level] + (0, 30 * shift, 0), level, truth, canal_volume())
            assert errors.level_shift == (shift if 0 <= level + shift < 5 else 0)
            rows.append((study, *errors))
    table = pd.DataFrame(rows, columns=["study_id", *SiteErrors._fields]).assign(series=1, other_series=False)
    figures = mean_errors(table)
    assert figures["shifted_studies"] == expected
    right = [shift == 0 or not 0 <= level + shift < 5 for level, shift in enumerate(shifts)]
    assert figures["level_right"] == pytest.approx((sum(right) + 5) / 10)


def test_points_on_another_series_than_the_label_are_counted(tmp_path):
    root = write_competition(tmp_path / "data", 2)
    join_axial_series(root)  # study 100 has two; that of 101 has none and no label
    target = training_data_of(root, tmp_path).targets["100", AXIAL_T2]
    own = sorted({int(z) for z in target.points[:, 0]})
    rows = []
    for c, point in enumerate(target.points):
        moved = point + np.array([1 if int(point[0]) + 1 not in own else -1, 0, 0]) * (c < 3)
        rows.append(["100", "d", SITES[15 + c].name, 0, *moved, 0.5])
    pd.DataFrame(rows, columns=POINT_COLUMNS).to_csv(tmp_path / "points.csv", index=False)
    arguments = ["--data", str(root), "--points", str(tmp_path / "points.csv")]
    entry = all_figures(evaluate.parse(arguments))["points"]["d"][AXIAL_T2]
    assert entry["other_series"] == pytest.approx(0.3)


def test_points_alone_are_evaluated_without_predictions(data, tmp_path, capsys):
    rows = []
    for (study, description), target in training_data_of(data, tmp_path).targets.items():
        for c, point in enumerate(target.points):
            site = SITES[DESCRIPTION_SITES[description].start + c]
            rows.append([study, "d", site.name, 0, *(point + np.array([0, 0, 200 * (c % 2)])), 0.5])
    pd.DataFrame(rows, columns=POINT_COLUMNS).to_csv(tmp_path / "points.csv", index=False)
    arguments = ["--data", str(data), "--points", str(tmp_path / "points.csv")]
    figures = all_figures(evaluate.parse(arguments))
    for entry in figures["points"]["d"].values():
        assert sum(entry[share] for share in LEVEL_SHARES) == pytest.approx(1)
        assert 0 < entry["own_level"] < 1 and entry["nowhere"] > 0
    assert evaluate.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("own level" in line for line in lines)
    assert {"right side" in line for line in lines if "Sagittal T1" in line or "Axial" in line} == {True}
    assert {"right side" in line for line in lines if "Sagittal T2" in line} == {False}
