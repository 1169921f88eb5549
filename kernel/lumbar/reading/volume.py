"""Slices -> the 256 and 512 grids of one description, and the way back to the patient."""

from dataclasses import dataclass

import numpy as np

from lumbar.grids import CROP_GRID, DETECTOR_GRID, rescale, resize
from lumbar.reading.normalization import normalize_slice
from lumbar.reading.orientation import AS_STORED, Turn, from_own, to_own, turned_directions, turned_pair
from lumbar.reading.series import Series, Slice
from lumbar.reading.tags import point
from lumbar.sites import AXIAL_T2


@dataclass(frozen=True)
class SliceHeader:
    """A slice without its pixels, as in ``dicom_file.Slice``; geometry is the file's own.

    Attributes:
        shape: Own (rows, columns).
        frame: Number from 1 in a file of several frames, None in a file of one.
        turn: From the own picture to the one in the grids.
        slice_axis: Of a researchers' volume, the voxel axis that ``frame`` counts along; None of DICOM.
    """

    series_id: str
    instance_number: int | None
    sop_instance_uid: str
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    shape: tuple[int, int]
    frame: int | None = None
    turn: Turn = AS_STORED
    slice_axis: int | None = None

    @property
    def normal(self) -> np.ndarray | None:
        """(3,), LPS: the direction along rows times that along columns. None without an orientation."""
        if self.orientation is None:
            return None
        along_rows, along_columns = np.reshape(self.orientation, (2, 3))
        return np.cross(along_rows, along_columns)

    @property
    def usual_shape(self) -> tuple[int, int]:
        """(rows, columns) of the turned picture."""
        return turned_pair(self.shape, self.turn)

    @property
    def usual_spacing(self) -> tuple[float, float] | None:
        """mm between rows, between columns of the turned picture."""
        return self.spacing and turned_pair(self.spacing, self.turn)

    @property
    def usual_orientation(self) -> tuple[float, ...] | None:
        """(6,) direction cosines of the turned picture."""
        if self.orientation is None:
            return None
        return tuple(turned_directions(np.reshape(self.orientation, (2, 3)), self.turn).ravel().tolist())

    def voxel(self, row: float, column: float) -> list[float] | None:
        """Return the voxel (i, j, k) of an own row and column of a researchers' volume; None of DICOM."""
        if self.slice_axis is None or self.frame is None:
            return None
        index = [row, column]
        index.insert(self.slice_axis, self.frame - 1.0)
        return index

    def usual_share(self, row: float, column: float) -> tuple[float, float]:
        """Return shares 0..1 of the own picture's height and width as those of the turned one's."""
        row, column = turned_pair((row, column), self.turn)
        return 1 - row if self.turn[1] else row, 1 - column if self.turn[2] else column


@dataclass(frozen=True)
class Volume:
    """All series of one description as one stack in patient order.

    ``grid256`` (slice, 256, 256) and ``grid512`` (slice, 512, 512), uint8, each slice normalised on its own;
    ``headers`` one a slice. Sagittal: x ascending, so slice 0 is the patient's right side; axial: z ascending,
    from the feet up. ``order_key`` names the tag that the order comes from; only "ImagePositionPatient"
    promises the direction.

    Pixel coordinates are those of pixel centres, as OpenCV resizes: native (row + 0.5) * 256 / rows - 0.5.
    """

    description: str
    grid256: np.ndarray
    grid512: np.ndarray
    headers: tuple[SliceHeader, ...]
    order_key: str

    def __len__(self) -> int:
        return len(self.headers)

    @property
    def series_count(self) -> int:
        """Return how many series the volume is joined of."""
        return len({header.series_id for header in self.headers})

    def native_to_grid(self, slice_index: int, row: float, column: float) -> tuple[float, float]:
        """Return (row, column) on the 256 grid of a native pixel coordinate: the file's own rows and columns."""
        header = self.headers[slice_index]
        (rows, columns), (row, column) = header.usual_shape, from_own(header.turn, header.shape, row, column)
        return rescale(row, rows, DETECTOR_GRID), rescale(column, columns, DETECTOR_GRID)

    def grid_to_native(self, slice_index: int, row: float, column: float) -> tuple[float, float]:
        """Return the native (row, column), of the file's own picture, of a coordinate on the 256 grid of a slice."""
        header = self.headers[slice_index]
        rows, columns = header.usual_shape
        usual = rescale(row, DETECTOR_GRID, rows), rescale(column, DETECTOR_GRID, columns)
        return to_own(header.turn, header.shape, *usual)

    def grid_to_patient(
        self, slice_index: int, row: float, column: float
    ) -> tuple[float, float, float] | None:
        """Return (x, y, z) in mm, LPS, of a coordinate on the 256 grid (PS3.3 C.7.6.2.1.1); None where the
        slice lacks position, orientation or spacing."""
        header = self.headers[slice_index]
        if header.position is None or header.orientation is None or header.spacing is None:
            return None
        row, column = self.grid_to_native(slice_index, row, column)
        along_row, along_column = np.reshape(header.orientation, (2, 3))
        place = (
            np.array(header.position)
            + along_row * header.spacing[1] * column
            + along_column * header.spacing[0] * row
        )
        return point(*place)

    def patient_to_grid(
        self, slice_index: int, point: tuple[float, float, float]
    ) -> tuple[float, float] | None:
        """Return (row, column) on the 256 grid of a patient point (x, y, z) in mm, projected on the slice's
        plane; None where the slice has no geometry. Inverse of ``grid_to_patient``."""
        header = self.headers[slice_index]
        if header.position is None or header.orientation is None or header.spacing is None:
            return None
        offset = np.subtract(point, header.position)
        along_row, along_column = np.reshape(header.orientation, (2, 3))
        steps = np.stack([along_column * header.spacing[0], along_row * header.spacing[1]], axis=1)
        row, column = np.linalg.lstsq(steps, offset, rcond=None)[0]
        return self.native_to_grid(slice_index, float(row), float(column))


def build_volume(series: list[Series], description: str) -> Volume:
    """Join the series of one description, in the order given, into one volume in patient order.

    Within a series a slice of another size than the first one's is resized to that before the grids. Bilinear, on
    uint8, without antialiasing, the aspect ratio ignored (solution, section 2).

    Args:
        series: At least one, each with at least one slice.
        description: One of the three.

    Returns:
        A Volume in the order of ``patient_order``.
    """
    order_key, order = patient_order([one.slices for one in series], description)
    joined = [(one, s) for one in series for s in one.slices]
    # Written straight to their places: the grids exist once, and no native picture outlives its turn.
    grid256 = np.empty((len(order), DETECTOR_GRID, DETECTOR_GRID), np.uint8)
    grid512 = np.empty((len(order), CROP_GRID, CROP_GRID), np.uint8)
    for place, index in enumerate(order):
        one, s = joined[index]
        image = resize(normalize_slice(s.pixels), one.slices[0].pixels.shape)
        grid256[place] = resize(image, grid256.shape[1:])
        grid512[place] = resize(image, grid512.shape[1:])
    headers = tuple(slice_header(one.series_id, s) for one, s in (joined[index] for index in order))
    return Volume(description, grid256, grid512, headers, order_key)


def slice_header(series_id: str, one: Slice) -> SliceHeader:
    """Return a slice's header, without the pixels."""
    where = (one.position, one.orientation, one.spacing)
    what = (one.shape, one.frame, one.turn, one.slice_axis)
    return SliceHeader(series_id, one.instance_number, one.sop_instance_uid, *where, *what)


def patient_order(series: list[list[Slice]], description: str) -> tuple[str, np.ndarray]:
    """Order the joined slices of several series along the patient: sagittal x ascending, axial z ascending.

    The key is ``ImagePositionPatient``, or the first of ``SliceLocation``, ``InstanceNumber`` and file name
    that all slices have; the latter two can't be compared between series, which stay one after another. Such
    an order has no direction of its own: the positions that are there, if two are, give it theirs. Equals
    keep the order given.

    Args:
        series: Slices of each series in instance order.
        description: One of the three, which decides the axis.

    Returns:
        The key's name; the indices of the joined slices in order.
    """
    axis = 2 if description == AXIAL_T2 else 0
    slices = [s for one in series for s in one]
    corners = [s.corner[axis] for s in slices if s.corner is not None]
    if len(corners) == len(slices):
        return "ImagePositionPatient", np.argsort(corners, kind="stable")
    locations = [s.slice_location for s in slices if s.slice_location is not None]
    if len(locations) == len(slices):
        order = np.argsort(locations, kind="stable")
        return "SliceLocation", _along_axis(slices, order, axis)
    ends = np.cumsum([len(one) for one in series])
    parts = [_along_axis(slices, part, axis) for part in np.split(np.arange(len(slices)), ends[:-1])]
    numbered = all(s.instance_number is not None for s in slices)
    return ("InstanceNumber" if numbered else "file name"), np.concatenate(parts)


def _along_axis(slices: list[Slice], order: np.ndarray, axis: int) -> np.ndarray:
    """Reverse an order in which the positions that are known run down the axis."""
    corners = [slices[i].corner for i in order]
    known = [corner[axis] for corner in corners if corner is not None]
    return order[::-1] if len(known) > 1 and known[-1] < known[0] else order
