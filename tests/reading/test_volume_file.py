"""Researchers' volumes: the same pictures, places and grades as the DICOM files that they were made of."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lumbar.faults import DataNotFoundError
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SEVERITIES
from tests.making.scanner_files import every, pixels_of, read_only_study, scanned_study, set_pixels, write_all
from tests.reading.test_picture_choice import assert_same_grids

NAMES = {SAGITTAL_T1: "sub-01_acq-sag_T1w", SAGITTAL_T2: "sub-01_acq-sag_T2w", AXIAL_T2: "sub-01_acq-tra_T2w"}
FINER = 5
SUFFIXES = (".nii", ".nii.gz", ".mha")


def fine_study():
    """Return the small study with pixels that are finer than its slices are thick, as researchers' volumes have."""
    series = scanned_study()
    for one in every(series):
        set_pixels(one, np.kron(pixels_of(one), np.ones((FINER, FINER), np.uint16)))
        one.PixelSpacing = [float(v) / FINER for v in one.PixelSpacing]
    return series


def lps_grid(slices) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels (column, row, slice) of a uniform series, and their affine to mm, LPS."""
    ordered = sorted(slices, key=lambda one: tuple(map(float, one.ImagePositionPatient)))
    positions = np.array([one.ImagePositionPatient for one in ordered], float)
    along = np.reshape(np.array(ordered[0].ImageOrientationPatient, float), (2, 3))
    spacing = np.array(ordered[0].PixelSpacing, float)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along[0] * spacing[1], along[1] * spacing[0]
    affine[:3, 2], affine[:3, 3] = (positions[-1] - positions[0]) / (len(ordered) - 1), positions[0]
    return np.stack([pixels_of(one).T for one in ordered], axis=-1), affine


def write_volume(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Write a volume with its affine to LPS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nibabel = pytest.importorskip("nibabel", reason="pip install nibabel")
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine), path)
        return
    sitk = pytest.importorskip("SimpleITK", reason="pip install SimpleITK")
    image = sitk.GetImageFromArray(voxels.transpose())
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(path))


def reordered(voxels: np.ndarray, affine: np.ndarray, order: tuple[int, ...], flips: tuple[bool, ...]):
    """Return the same volume stored along other axes, some reversed."""
    affine = affine.copy()
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
            affine[:3, axis] *= -1
            voxels = np.flip(voxels, axis)
    columns = [*order, 3]
    return np.ascontiguousarray(voxels.transpose(order)), affine[:, columns]


def write_study(root: Path, suffix: str, order=(0, 1, 2), flips=(False,) * 3, sidecars: bool = True) -> Path:
    for description, slices in fine_study().items():
        path = root / "sub-01/anat" / f"{NAMES[description]}{suffix}"
        write_volume(path, *reordered(*lps_grid(slices), order, flips))
        if sidecars:
            told = {"EchoTime": slices[0].EchoTime / 1000, "RepetitionTime": slices[0].RepetitionTime / 1000}
            told |= {"Modality": "MR", "SeriesDescription": slices[0].SeriesDescription}
            (path.parent / f"{NAMES[description]}.json").write_text(json.dumps(told))
    return root


@pytest.fixture(scope="module")
def unaltered(tmp_path_factory):
    return read_only_study(write_all(tmp_path_factory.mktemp("unaltered"), fine_study()))[0]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("order", "flips"),
    [
        ((0, 1, 2), (False, False, False)),
        ((2, 0, 1), (True, False, True)),
        ((1, 2, 0), (False, True, True)),
        ((0, 1, 2), (True, True, True)),
    ],
)
@pytest.mark.parametrize("sidecars", [True, False])
def test_volumes_are_the_dicom_study(tmp_path, unaltered, suffix, order, flips, sidecars):
    study, left_out = read_only_study(write_study(tmp_path, suffix, order, flips, sidecars))
    assert_same_grids(study, unaltered)
    assert not left_out and study.study_id == "sub-01"
    for description, volume in study.volumes.items():
        for index in range(len(volume)):
            here, there = (
                v.grid_to_patient(index, 33.0, 99.0) for v in (volume, unaltered.volumes[description])
            )
            assert np.allclose(here, there, atol=1e-3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_points_go_back_into_voxels(tmp_path, suffix):
    study, _ = read_only_study(write_study(tmp_path, suffix, (2, 0, 1), (True, False, True)))
    for description, slices in fine_study().items():
        _, affine = reordered(*lps_grid(slices), (2, 0, 1), (True, False, True))
        volume = study.volumes[description]
        for index in (0, len(volume) - 1):
            voxel = volume.headers[index].voxel(*volume.grid_to_native(index, 33.0, 99.0))
            world = (affine @ [*voxel, 1.0])[:3]
            assert np.allclose(world, volume.grid_to_patient(index, 33.0, 99.0), atol=1e-3)


def test_names_and_a_map_describe_volumes(tmp_path):
    """Without side-cars and clear names the sequence is unknown; --series names it by study and file."""
    for number, slices in enumerate(fine_study().values()):
        write_volume(tmp_path / f"p1/v{number}.nii.gz", *lps_grid(slices))
    assert {d["reason"] for d in find_dataset(tmp_path).decisions} == {"unknown_sequence"}
    rows = [f"p1,v{n},{description}" for n, description in enumerate(NAMES)]
    (tmp_path / "map.csv").write_text("\n".join(["study_id,series_id,series_description", *rows]) + "\n")
    (ref,) = find_dataset(tmp_path, series_map=tmp_path / "map.csv").studies
    assert read_study(ref).volumes.keys() == NAMES.keys()


def test_patients_in_one_folder_and_in_folders_of_their_own(tmp_path):
    for subject in ("01", "02"):
        for folder in ("flat", f"deep/p{subject}"):
            for description, slices in fine_study().items():
                name = NAMES[description].replace("01", subject)
                write_volume(tmp_path / folder / f"{name}.nii.gz", *lps_grid(slices))
    assert [len(study.series) for study in find_dataset(tmp_path / "flat").studies] == [3, 3]
    assert [study.study_id for study in find_dataset(tmp_path / "deep").studies] == ["p01", "p02"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_volume_is_named(tmp_path, suffix):
    voxels, affine = lps_grid(fine_study()[AXIAL_T2])
    write_volume(tmp_path / f"s/good_tra_T2w{suffix}", voxels, affine)
    for name, content in {"bad": b"no volume", "empty": b""}.items():
        (tmp_path / f"s/{name}{suffix}").write_bytes(content)
    (study,) = find_dataset(tmp_path).studies
    assert {Path(fault.file).name for fault in study.faults} == {f"bad{suffix}", f"empty{suffix}"}
    assert {fault.reason for fault in study.faults} == {"malformed"}


def test_four_dimensions_and_an_affine_that_places_nothing(tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="pip install nibabel")
    series = np.zeros((4, 5, 6, 7), np.int16)
    nibabel.save(nibabel.Nifti1Image(series, np.eye(4)), tmp_path / "fmri.nii.gz")
    with pytest.raises(DataNotFoundError, match="three dimensions"):
        find_dataset(tmp_path)


def test_nifti_that_is_no_volume_is_named(tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="pip install nibabel")
    brain = nibabel.cifti2.BrainModelAxis.from_mask(np.ones((2, 2, 2), bool), affine=np.eye(4))
    axes = nibabel.cifti2.ScalarAxis(["thickness"]), brain
    nibabel.save(nibabel.Cifti2Image(np.zeros((1, 8), np.float32), axes), tmp_path / "a.dscalar.nii")
    with pytest.raises(DataNotFoundError, match="got a Cifti2Image, expected a NIfTI-1 or NIfTI-2 volume"):
        find_dataset(tmp_path)


@pytest.mark.parametrize(("suffix", "library"), [(".nii.gz", "nibabel"), (".mha", "SimpleITK")])
def test_a_library_that_is_missing_is_asked_for(tmp_path, monkeypatch, suffix, library):
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / f"a{suffix}").write_bytes(b"x")
    with pytest.raises(DataNotFoundError, match=f"pip install {library}"):
        find_dataset(tmp_path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_grades_are_those_of_dicom(tmp_path, suffix):
    import lumbar
    from tests.making.tiny_bundle import write_tiny_bundle

    write_study(tmp_path / "volumes", suffix, (2, 0, 1), (True, True, False))
    grader = lumbar.load(write_tiny_bundle(tmp_path / "bundle"), device="cpu", precision="fp32")
    tables = [
        grader.grade(path).table
        for path in (tmp_path / "volumes", write_all(tmp_path / "dicom", fine_study()))
    ]
    difference = np.abs(tables[0][[*SEVERITIES]].to_numpy() - tables[1][[*SEVERITIES]].to_numpy())
    assert difference.max() < 1e-6
    assert np.abs(tables[0][["x", "y", "z"]].to_numpy() - tables[1][["x", "y", "z"]].to_numpy()).max() < 0.01
