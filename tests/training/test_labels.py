"""Labels find their slice and pixel whatever the order of files; faults are named and counted."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold

from lumbar.grids import squeeze
from lumbar.networks.heatmap import points_to_heatmap
from lumbar.reading.volume import SliceHeader, Volume
from lumbar.sites import DESCRIPTION_SITES, DESCRIPTIONS, SAGITTAL_T1, SAGITTAL_T2, SITE_NAMES, SITES
from tests.making.labelled_competition import join_axial_series, training_data_of, write_competition
from training.data.detector_dataset import PretrainingDataset, class_planes, join_volumes
from training.data.external_labels import improved_group, read_improved_coordinates, read_pretraining_images
from training.data.labels import read_coordinates, read_grades, study_folds
from training.data.targets import FADED, Target, faded_by_distance, squeezed_target
from training.errors import LabelError

TABLE = "train_label_coordinates.csv"


def test_every_label_lies_on_its_dot(tmp_path):
    training_data = training_data_of(write_competition(tmp_path / "data"), tmp_path)
    assert len(training_data.targets) == 4 * len(DESCRIPTIONS) and not training_data.faults
    for (study, description), target in training_data.targets.items():
        volume = training_data.cache.volumes(study)[description]
        for z, y, x in target.points.astype(int):
            assert volume.grid256[z, y, x] > 60, (study, description)  # the background is below 40
        if description != "Axial T2":  # +x is the patient's left: the left sites lie on the later slices
            sides = [site.side for site in SITES[DESCRIPTION_SITES[description]]]
            assert all(
                z == {"left": 4, "right": 1, None: 3}[s]
                for s, z in zip(sides, target.points[:, 0], strict=True)
            )


def test_amplitudes_are_the_gaussian_label_right_at_the_ends_and_under_a_squeeze(tmp_path):
    training_data = training_data_of(write_competition(tmp_path / "data", studies=2), tmp_path)
    for target in training_data.targets.values():
        expected = points_to_heatmap(target.points, (target.amplitude.shape[1], 256, 256))
        whole = target.amplitude[:, :, None, None] * class_planes(target.points, sigma=4)[:, None]
        np.testing.assert_allclose(whole, expected, atol=1e-6)
        short = squeezed_target(target, 4)
        for c in range(2):
            np.testing.assert_allclose(
                short.amplitude[c][:, None, None] * class_planes(short.points, sigma=4)[c],
                squeeze(expected[c], 4),
                atol=1e-6,
            )


def test_two_joined_series_expand_each_in_its_own(tmp_path):
    root = write_competition(tmp_path / "data", studies=2)
    join_axial_series(root)
    training_data = training_data_of(root, tmp_path)
    # The labels of the moved series name its old study. That both lie at one position is no unusable label.
    assert {fault.reason for fault in training_data.faults} == {"no_series"}
    target = training_data.targets["100", "Axial T2"]
    assert target.amplitude.shape == (10, 12)  # two times six slices at the same heights, joined
    for amplitude, point in zip(target.amplitude, target.points, strict=True):
        assert len(np.flatnonzero(amplitude)) <= 5 and amplitude[int(point[0])] == 1
        assert {int(z) % 2 for z in np.flatnonzero(amplitude)} == {
            int(point[0]) % 2
        }  # every other slice is its own


def tilted_volume(random: np.random.Generator, slices: int) -> Volume:
    """Return slices that lie anyhow: two series by turns, 6 cm wide."""
    headers = []
    for s in range(slices):
        along_row, along_column, _ = np.linalg.qr(np.eye(3) + random.normal(0, 0.2, (3, 3)))[0].T
        position = random.normal(0, (4, 4, 3)) - 30 * (along_row + along_column)
        headers.append(
            SliceHeader(
                str(s % 2), s, "", tuple(position), (*along_row, *along_column), (0.6, 0.5), (100, 120)
            )
        )
    return Volume("Axial T2", np.zeros((slices, 1, 1)), np.zeros((slices, 1, 1)), tuple(headers), "")


@pytest.mark.parametrize("seed", range(5))
def test_a_label_fades_with_the_distance_whatever_the_series(seed):
    random = np.random.default_rng(seed)
    volume, half = tilted_volume(random, 12), 2.5
    points = np.column_stack([random.integers(0, 12, 10), random.uniform(0, 255, (10, 2))])
    points[3] = np.nan
    target = Target(points, random.random((10, 12)).astype(np.float32))
    faded = faded_by_distance(target, volume, half)
    np.testing.assert_array_equal(faded.points, points)
    np.testing.assert_array_equal(faded.amplitude[3], target.amplitude[3])
    seen = set()
    for c in set(range(10)) - {3}:
        place = np.array(volume.grid_to_patient(int(points[c, 0]), *points[c, 1:]))
        assert faded.amplitude[c, int(points[c, 0])] == pytest.approx(1)
        for s, header in enumerate(volume.headers):
            along_row, along_column = np.reshape(header.orientation, (2, 3))
            offset = place - header.position
            expected = 0.5 ** (abs(offset @ np.cross(along_row, along_column)) / half)
            inside = -0.5 <= offset @ along_row / 0.5 < 119.5 and -0.5 <= offset @ along_column / 0.6 < 99.5
            seen.add((inside, expected >= FADED))
            assert faded.amplitude[c, s] == pytest.approx(expected if inside and expected >= FADED else 0)
    assert len(seen) >= 3


def test_a_label_stays_as_it_is_on_slices_that_do_not_say_where_they_lie():
    volume = tilted_volume(np.random.default_rng(0), 4)
    headers = [replace(header, position=None) if s < 2 else header for s, header in enumerate(volume.headers)]
    target = Target(np.array([[0.0, 128, 128], [2.0, 128, 128]]), np.full((2, 4), 0.3, np.float32))
    faded = faded_by_distance(target, replace(volume, headers=tuple(headers)), 2.5).amplitude
    np.testing.assert_array_equal(faded[0], target.amplitude[0])
    np.testing.assert_array_equal(faded[1, :2], target.amplitude[1, :2])
    assert faded[1, 2] == 1


def test_a_study_whose_id_holds_a_nul_is_another_study(tmp_path):
    file = tmp_path / "train.csv"
    header = ",".join(("study_id", *SITE_NAMES))
    file.write_text(f"{header}\n1,{',' * 24}\n1\0,{',' * 24}\n")
    grades = read_grades(file)
    assert grades.study_ids == ("1", "1\0") and (grades.labels == -1).all()


def test_bad_labels_are_named_and_skipped_or_fatal(tmp_path):
    root = write_competition(tmp_path / "data", studies=2)
    table = pd.read_csv(root / TABLE)
    table["condition"] = table["condition"].astype(object)
    table.loc[0, "instance_number"] = 77
    table.loc[1, "x"] = 4000.0
    table.loc[2, "condition"] = "Gibbus"
    table.loc[3, "series_id"] = 100001  # a canal point on the T1 series, as some of the competition's are
    table.loc[4, "y"] = np.nan
    table = pd.concat([table, table.iloc[[5]], table.iloc[[6]].assign(study_id=999)])
    table.to_csv(root / TABLE, index=False)
    (root / "train_images/101/101000/3.dcm").write_bytes(b"not a DICOM file")
    training_data = training_data_of(root, tmp_path)
    reasons = sorted(fault.reason for fault in training_data.faults)
    assert [r for r in reasons if r not in ("not_dicom", "no_slice")] == [
        "no_study",
        "not_a_number",
        "other_description",
        "outside",
        "repeated",
        "unknown_site",
    ]
    assert reasons.count("not_dicom") == 1 and "101" in next(
        f.where for f in training_data.faults if f.reason == "not_dicom"
    )
    assert reasons.count("no_slice") >= 1
    assert len(pd.read_csv(tmp_path / "faults.csv")) == len(reasons)
    assert ("100", SAGITTAL_T2) not in training_data.targets  # none of its five points was usable
    with pytest.raises(LabelError, match="can't be used"):
        training_data_of(root, tmp_path, strict=True)


def test_tables_that_can_not_be_used_are_refused(tmp_path):
    root = write_competition(tmp_path / "data", studies=2)
    with pytest.raises(LabelError, match="no such file"):
        read_grades(tmp_path / "train.csv")
    text = (root / "train.csv").read_text()
    (root / "train.csv").write_text(text.replace("Normal/Mild", "Mild", 1))
    with pytest.raises(LabelError, match="'Mild'"):
        read_grades(root / "train.csv")
    with pytest.raises(LabelError, match="no column"):
        read_coordinates(root / "train.csv")


def test_folds_are_scikit_learns_over_studies():
    studies = tuple(str(s) for s in range(23))
    folds = study_folds(studies, 5, 42)
    for fold, (_, validation) in enumerate(KFold(5, shuffle=True, random_state=42).split(studies)):
        assert {s for s in studies if folds[s] == fold} == {studies[i] for i in validation}


def test_improved_coordinates_replace_the_official_ones(tmp_path):
    root = write_competition(tmp_path / "data", studies=2)
    rows = []
    for side, x in (("L", 0.9), ("R", 0.25)):
        rows.append([100, 100000, 3, "Spinal Canal Stenosis", "L1/L2", side, x, 0.5])
        rows.append([100, 100001, 2, "Neural Foraminal Narrowing", "L4/L5", side, x, 0.75])
    columns = [
        "study_id",
        "series_id",
        "instance_number",
        "condition",
        "level",
        "side",
        "relative_x",
        "relative_y",
    ]
    file = tmp_path / "coords_rsna_improved.csv"
    pd.DataFrame(rows, columns=columns).to_csv(file)  # with the unnamed index column
    table, faults = read_improved_coordinates(file)
    assert len(table) == 3 and not faults and set(table["unit"]) == {"fraction"}
    targets = training_data_of(root, tmp_path, improved=file).targets
    assert tuple(targets["100", SAGITTAL_T2].points[0, 1:]) == (128, 64)  # the "R" row
    assert tuple(targets["100", SAGITTAL_T1].points[3, 1:]) == (192, 230)  # left foramen, L4/L5
    assert tuple(targets["100", SAGITTAL_T1].points[8, 1:]) == (192, 64)
    assert improved_group("Left Neural Foraminal Narrowing", "L") == "left_neural_foraminal_narrowing"


def test_pretraining_images_in_the_data_sets_format(tmp_path):
    folder = tmp_path / "data" / "processed_spider_jpgs"
    folder.mkdir(parents=True)
    image = np.zeros((120, 100), np.uint8)
    image[10:110, 40:60] = np.linspace(50, 255, 100).astype(np.uint8)[:, None]
    cv2.imwrite(str(folder / "1.jpg"), image)
    levels = ["L1/L2", "L2/L3", "L3/L4", "L4/L5", "L5/S1"]
    rows = [
        [name, "spider", 50, 20 * i, level, 0.5, 0.1 + 0.2 * i]
        for name in ("1.jpg", "2.jpg")
        for i, level in enumerate(levels)
    ]
    columns = ["filename", "source", "x", "y", "level", "relative_x", "relative_y"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "coords_pretrain.csv", index=False)
    images, faults = read_pretraining_images(tmp_path)
    assert [fault.reason for fault in faults] == ["unreadable"] and "2.jpg" in faults[0].where
    assert images[0].pixels.shape == (256, 256) and images[0].points[:, 1].tolist() == [128] * 5
    assert images[0].points[:, 0].tolist() == [26, 77, 128, 179, 230]
    batch = join_volumes([PretrainingDataset(images, 10, None, 0)[0]])
    assert batch.grid.shape == (1, 3, 256, 256) and batch.labelled.all()
    assert batch.planes[0, 3, 179, 128] == batch.planes[0, 8, 179, 128] == 1
