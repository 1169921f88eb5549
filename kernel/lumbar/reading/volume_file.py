"""Researchers' volumes, NIfTI and MetaImage -> the headers and slices that DICOM files give.

A file is a series. It is cut along the axis with the thickest voxels, in its own order of voxels; the affine places
them (NIfTI: RAS, turned to DICOM's LPS). The sequence is inferred from the JSON beside it (BIDS) or its name.
Needs nibabel for NIfTI, SimpleITK for MetaImage; neither is a requirement of inference.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lumbar.faults import DicomError
from lumbar.reading.dicom_file import Slice
from lumbar.reading.picture_header import LAST, Patient, PictureHeader
from lumbar.reading.picture_kind import picture_kind
from lumbar.reading.pixel_header import MAX_FILE_SAMPLES, MAX_FRAMES, MAX_SIDE
from lumbar.reading.series_facts import SeriesFacts
from lumbar.reading.tag_texts import plain_number
from lumbar.reading.tags import Geometry, Notes, point

LIBRARIES = {".nii": "nibabel", ".nii.gz": "nibabel", ".mha": "SimpleITK", ".mhd": "SimpleITK"}
BIDS_FOLDERS = ("anat", "nifti", "nii")  # between a patient's folder and its files
LPS_OF_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Grid:
    """A volume's voxels without their values: ``shape`` (i, j, k); ``affine`` (4, 4), voxel -> mm, LPS."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def slice_axis(self) -> int:
        """The axis with the thickest voxels; of equal ones that with the fewest."""
        steps = np.round(np.linalg.norm(self.affine[:3, :3], axis=0), 3)
        return max(range(3), key=lambda axis: (steps[axis], -self.shape[axis]))

    def geometry(self, index: int) -> Geometry:
        """Return where a slice lies: rows along the first axis that is left, columns along the second."""
        rows, columns = (axis for axis in range(3) if axis != self.slice_axis)
        steps = self.affine[:3, :3]
        lengths = np.linalg.norm(steps, axis=0)
        position = self.affine[:3, 3] + steps[:, self.slice_axis] * index
        orientation = (*steps[:, columns] / lengths[columns], *steps[:, rows] / lengths[rows])
        spacing = (float(lengths[rows]), float(lengths[columns]))
        return Geometry(point(*position), tuple(map(float, orientation)), spacing)


def suffix_of(path: Path) -> str:
    """Return the suffix of a file of volumes, ".nii.gz" as one; "" of any other file."""
    name = path.name.lower()
    return next((suffix for suffix in sorted(LIBRARIES, key=len, reverse=True) if name.endswith(suffix)), "")


def read_volume_headers(path: Path) -> list[PictureHeader]:
    """Return a header for each slice of a file.

    Raises:
        DicomError: The file can't be read, is no volume, or its library is not installed.
    """
    grid, _ = read_grid(path, pixels=False)
    stem = path.name[: -len(suffix_of(path))]
    facts, number, patient = facts_beside(path, stem)
    folder = path.parent.parent if path.parent.name.lower() in BIDS_FOLDERS else path.parent
    rows, columns = (grid.shape[axis] for axis in range(3) if axis != grid.slice_axis)
    step = float(np.linalg.norm(grid.affine[:3, grid.slice_axis]))
    first = PictureHeader(
        path=path,
        frame=0,
        study_uid=str(folder),
        series_uid=stem,
        patient=patient,
        frame_of_reference="",
        number=number,
        text=facts.text,
        instance=0,
        passes=("", "", ""),
        when="",
        place=Geometry(None, None, None),
        shape=(rows, columns),
        thickness=step,
        identity=(str(path), 0),
        is_image=True,
        facts=facts,
    )
    slices = range(grid.shape[grid.slice_axis])
    return [replace(first, frame=n, place=grid.geometry(n), identity=(str(path), n)) for n in slices]


def facts_beside(path: Path, stem: str) -> tuple[SeriesFacts, int, Patient]:
    """Return the facts, series number and patient in a file's name and in the JSON beside it."""
    try:
        told = json.loads((path.parent / f"{stem}.json").read_text("utf-8"))
    except (OSError, ValueError):  # none, or not readable
        told = {}
    told = told if isinstance(told, dict) else {}

    def text(key: str) -> str:
        value = told.get(key, "")
        return str(value).strip() if isinstance(value, (str, int, float)) else ""

    def milliseconds(key: str) -> float | None:  # of seconds, as BIDS has them
        value = plain_number(text(key))
        return value * 1000 if value else None

    types = tuple(map(str, told["ImageType"])) if isinstance(told.get("ImageType"), list) else ()
    name = re.sub(r"^(?:(?:sub|ses)-[a-zA-Z0-9]+_?)+", "", stem)  # the patient, not the sequence
    words = " ".join(filter(None, (text("SeriesDescription"), text("ProtocolName"), name)))
    facts = SeriesFacts(
        modality=text("Modality"),
        text=words,
        body_part=text("BodyPartExamined"),
        image_type=types,
        picture=picture_kind(types, "", "", words.lower()),
        echo=milliseconds("EchoTime"),
        repetition=milliseconds("RepetitionTime"),
        inversion=milliseconds("InversionTime"),
    )
    subject = re.match(r"sub-([a-zA-Z0-9]+)", stem)
    number = plain_number(text("SeriesNumber"))
    patient = Patient(text("PatientID") or (subject[1] if subject else ""), "", "", "")
    return facts, LAST if number is None else int(number), patient


def read_volume_file(path: Path, wanted: tuple[int, ...] | None = None) -> tuple[list[Slice], Notes]:
    """Read a file into slices, as ``dicom_file.read_file`` does; ``wanted``: their indices, None for all."""
    grid, voxels = read_grid(path, pixels=True)
    assert voxels is not None
    slices = []
    for index in wanted or range(grid.shape[grid.slice_axis]):
        place = grid.geometry(index)
        pixels = np.ascontiguousarray(voxels.take(index, axis=grid.slice_axis))
        name, number = f"{path.name}#{index + 1}", index + 1
        where = (place.position, place.orientation, place.spacing)
        slices.append(Slice(pixels, *where, None, None, "", name, number, slice_axis=grid.slice_axis))
    return slices, []


def read_grid(path: Path, pixels: bool) -> tuple[Grid, np.ndarray | None]:
    """Return a file's grid and, if ``pixels``, its stored values (i, j, k), more brighter.

    Raises:
        DicomError: As ``read_volume_headers``.
    """
    library = LIBRARIES[suffix_of(path)]
    try:
        return (read_nifti if library == "nibabel" else read_meta_image)(path, pixels)
    except ImportError as error:
        message = f"{path}: needs {library}, which is not installed; pip install {library}"
        raise DicomError("no_decoder", message) from error
    except DicomError:
        raise
    except Exception as error:  # the libraries' errors depend on the bytes
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DicomError("malformed", f"{path}: got {cause}, expected a volume; copy it anew") from error


def read_nifti(path: Path, pixels: bool) -> tuple[Grid, np.ndarray | None]:
    """Read NIfTI with nibabel."""
    import nibabel  # pyright: ignore[reportMissingImports]
    from nibabel.arrayproxy import ArrayProxy  # pyright: ignore[reportMissingImports]

    image = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Image):
        message = (
            f"{path}: got a {type(image).__name__}, expected a NIfTI-1 or NIfTI-2 volume; export it as one"
        )
        raise DicomError("malformed", message)
    stored = image.dataobj
    assert isinstance(stored, ArrayProxy)  # a file's voxels always are
    grid = checked_grid(path, image.shape, LPS_OF_RAS @ image.affine)
    if not pixels:
        return grid, None
    voxels = np.asanyarray(stored.get_unscaled()).reshape(grid.shape)
    if stored.slope < 0:
        voxels = np.invert(voxels) if voxels.dtype.kind in "iu" else -voxels
    return grid, voxels


def read_meta_image(path: Path, pixels: bool) -> tuple[Grid, np.ndarray | None]:
    """Read MetaImage with SimpleITK."""
    import SimpleITK  # pyright: ignore[reportMissingImports]

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    dimensions = reader.GetDimension()
    affine = np.eye(4)
    if dimensions == 3:
        directions = np.reshape(reader.GetDirection(), (3, 3))
        affine[:3, :3], affine[:3, 3] = directions * reader.GetSpacing(), reader.GetOrigin()
    grid = checked_grid(path, reader.GetSize(), affine)
    if reader.GetNumberOfComponents() != 1:
        raise DicomError("colour", f"{path}: got {reader.GetNumberOfComponents()} values a voxel, expected 1")
    return grid, SimpleITK.GetArrayFromImage(reader.Execute()).transpose() if pixels else None


def checked_grid(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> Grid:
    """Return a grid of three dimensions within the bounds of a DICOM file.

    Raises:
        DicomError: It has others, is too large, or its affine is none.
    """
    sizes = tuple(map(int, shape))
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if len(sizes) != 3 or min(sizes) < 1:
        raise DicomError("bad_header", f"{path}: got a volume of {shape} voxels, expected three dimensions")
    grid = Grid(sizes, np.asarray(affine, float))
    if not np.isfinite(grid.affine).all() or abs(np.linalg.det(grid.affine)) < 1e-6:
        raise DicomError("bad_header", f"{path}: got an affine that places no voxel, expected one in mm")
    if (
        max(sizes) > MAX_SIDE
        or np.prod(sizes, dtype=float) > MAX_FILE_SAMPLES
        or sizes[grid.slice_axis] > MAX_FRAMES
    ):
        raise DicomError(
            "too_large", f"{path}: got {sizes} voxels, expected at most {MAX_FILE_SAMPLES}; refused"
        )
    return grid
