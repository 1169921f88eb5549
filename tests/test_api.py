"""The package from Python: the same numbers as ``infer.py``, one study or a clear error, no side effects."""

import logging
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch

import infer
import lumbar
from lumbar.faults import BundleError, DataNotFoundError
from lumbar.outputs.submission import read_submission
from lumbar.sites import DESCRIPTION_SITES, SAGITTAL_T1, SAGITTAL_T2, SEVERITIES, SITE_NAMES
from phantom import write_phantoms
from tests.making.small_study import write_studies
from tests.making.tiny_bundle import write_tiny_bundle

CHECKOUT = Path(__file__).resolve().parents[1]
COLUMNS = ["site", *SEVERITIES, "slice", "row", "column", "x", "y", "z"]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    """Two phantoms in the competition's layout."""
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantoms(folder, studies=2, seed=9)
    return folder


@pytest.fixture(scope="module")
def grader() -> lumbar.Grader:
    """The shipped bundle, as the README loads it, in float32."""
    return lumbar.load(CHECKOUT, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def submitted(phantoms, tmp_path_factory) -> dict[str, np.ndarray]:
    """The probabilities that ``infer.py`` submits for the phantoms, by row id."""
    out = tmp_path_factory.mktemp("out") / "submission.csv"
    flags = {"--data": phantoms, "--bundle": CHECKOUT, "--out": out, "--device": "cpu", "--precision": "fp32"}
    assert infer.main([str(part) for flag in flags.items() for part in flag]) == 0
    return dict(zip(*read_submission(out), strict=True))


def studies_of(data: Path) -> list[Path]:
    return sorted((data / "train_images").iterdir())


def test_a_study_of_the_competition_s_folder_gets_the_grades_of_infer(phantoms, grader, submitted):
    for folder in studies_of(phantoms):
        result = grader.grade(folder)
        assert result.study_id == folder.name and list(result.table.columns) == COLUMNS
        rows = np.array([submitted[f"{folder.name}_{site}"] for site in result.table["site"]])
        assert (
            np.abs(result.table[list(SEVERITIES)].to_numpy() - rows).max() < 1e-8
        )  # as many digits are written
        assert tuple(result.table["site"]) == SITE_NAMES


def test_a_folder_and_a_zip_of_dicom_are_the_same_study(phantoms, grader, submitted, tmp_path):
    study = studies_of(phantoms)[0]
    plain = shutil.copytree(study, tmp_path / "anything")
    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", study)
    for path in (plain, str(plain), archive):
        table = grader.grade(path).table
        rows = np.array([submitted[f"{study.name}_{site}"] for site in table["site"]])
        assert np.abs(table[list(SEVERITIES)].to_numpy() - rows).max() < 1e-8


def test_points_lie_on_the_labelled_places(phantoms, grader):
    """In pixels of the file and in mm of the patient; the labels are the phantoms' own."""
    labels = pd.read_csv(phantoms / "train_label_coordinates.csv", dtype={"study_id": str})
    study = studies_of(phantoms)[0]
    table = grader.grade(study).table.set_index("site")
    distances = []
    for _, label in labels[labels.study_id == study.name].iterrows():
        site = f"{label.condition} {label.level}".lower().replace(" ", "_").replace("/", "_")
        folder = study / str(label.series_id)
        files = [pydicom.dcmread(path) for path in folder.iterdir()]
        (file,) = [one for one in files if one.InstanceNumber == label.instance_number]
        across, down = np.reshape(file.ImageOrientationPatient, (2, 3)).astype(float)
        spacing = np.array(file.PixelSpacing, float)
        place = (
            np.array(file.ImagePositionPatient, float)
            + across * label.x * spacing[1]
            + down * label.y * spacing[0]
        )
        distances.append(np.linalg.norm(table.loc[site, ["x", "y", "z"]].to_numpy(float) - place))
        if distances[-1] < 2:  # mm: on the same slice or its neighbour
            pixels = table.loc[site, ["row", "column"]].to_numpy(float) - [label.y, label.x]
            assert np.hypot(*(pixels * spacing)) < 2
    assert len(distances) == 25 and np.median(distances) < 2 and np.mean(np.array(distances) < 6) > 0.9


def test_crops_and_members_are_those_of_the_bundle(phantoms, grader):
    result = grader.grade(studies_of(phantoms)[0])
    detectors = [member.name for member in grader.bundle.detectors]
    classifiers = [member.name for member in grader.bundle.classifiers]
    assert list(result.crops) == detectors
    assert set(result.members) == {(d, c) for d in detectors for c in classifiers}
    for crops in result.crops.values():
        assert (
            crops.shape == (25, 5, 64, 64)
            and crops.dtype == np.float32
            and 0 <= crops.min() < crops.max() <= 1
        )
    weights = [c.weight for _ in detectors for c in grader.bundle.classifiers]
    mean = np.average(list(result.members.values()), axis=0, weights=weights)
    assert np.allclose(mean, result.table[list(SEVERITIES)], atol=1e-12)


def test_a_missing_series_leaves_its_sites_out(phantoms, grader, tmp_path):
    study = shutil.copytree(studies_of(phantoms)[0], tmp_path / "study")
    described = pd.read_csv(phantoms / "train_series_descriptions.csv", dtype=str)
    own = described[described.study_id == studies_of(phantoms)[0].name]
    for series_id in own[own.series_description == SAGITTAL_T2].series_id:
        shutil.rmtree(study / series_id)
    result = grader.grade(study)
    assert result.table.iloc[DESCRIPTION_SITES[SAGITTAL_T2], 1:].isna().all(axis=None)
    assert result.table.iloc[DESCRIPTION_SITES[SAGITTAL_T1]].notna().all(axis=None)
    assert any(SAGITTAL_T2 in fault.message for fault in result.faults)


def test_several_studies_are_named_in_the_error(phantoms, grader):
    with pytest.raises(DataNotFoundError) as raised:
        grader.grade(phantoms)
    assert all(study.name in str(raised.value) for study in studies_of(phantoms))
    assert "found 2 studies, expected one" in str(raised.value)


def test_no_study_is_an_error_that_names_the_place(phantoms, grader, tmp_path):
    unlisted = shutil.copytree(studies_of(phantoms)[0], phantoms / "train_images/77")
    try:
        with pytest.raises(DataNotFoundError, match=r"77 is not in .*train_series_descriptions.csv"):
            grader.grade(unlisted)
    finally:
        shutil.rmtree(unlisted)
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(DataNotFoundError, match=str(path)):
            grader.grade(path)


def test_a_study_without_a_readable_series_is_an_error_with_its_reasons(grader, tmp_path):
    data = write_studies(tmp_path / "data")
    for file in (data / "test_images/3").rglob("*.dcm"):
        file.write_bytes(b"no DICOM")
    with pytest.raises(
        DataNotFoundError, match=r"no series of the study could be read.*expected a DICOM file"
    ):
        grader.grade(data / "test_images/3")


def test_a_folder_without_a_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"weights_manifest\.json"):
        lumbar.load(tmp_path)


def test_neither_load_nor_grade_changes_a_setting_of_the_process(tmp_path):
    data = write_studies(tmp_path / "data")
    bundle = write_tiny_bundle(tmp_path / "bundle")

    def settings() -> tuple:
        return (
            logging.getLogger().level,
            list(logging.getLogger().handlers),
            logging.getLogger("pydicom").filters[:],
            list(warnings.filters),
            pydicom.config.settings.reading_validation_mode,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            np.geterr(),
        )

    before = settings()
    lumbar.load(bundle, device="cpu").grade(data / "test_images/1")
    assert settings() == before


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        lumbar.lod  # noqa: B018
    assert set(lumbar.__all__) == set(dir(lumbar))
