"""The direction of rows and columns -> the turn to the usual one, and the way back to the file's own pixels.

Scanners write sagittal slices with columns to the patient's back and rows to the feet, axial ones with columns to
the left and rows to the back. Converters mirror, transpose and turn pictures upside down, with the right
ImageOrientationPatient (PS3.3 C.7.6.2.1.1). The networks know the usual pictures alone.
"""

import itertools

import numpy as np

from lumbar.reading.tags import MAX_TILT, tilt
from lumbar.sites import AXIAL_T2

# (transposed, rows reversed, columns reversed): first transposed, then reversed, an own picture is the usual one.
Turn = tuple[bool, bool, bool]
AS_STORED: Turn = (False, False, False)
TURNS: tuple[Turn, ...] = tuple(itertools.product((False, True), (False, True), (False, True)))

# Direction in the patient (x, y, z; LPS) in which the column index grows, then the row index.
USUAL_SAGITTAL = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0]])
USUAL_AXIAL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def usual_turn(orientation: tuple[float, ...] | None, description: str) -> Turn:
    """Return the turn that brings a picture nearest to the usual directions of its description's plane.

    Args:
        orientation: (6,) direction cosines of increasing column, then of increasing row; None: as stored.
        description: One of the three. It decides the plane: a tilted slice may be nearer to another one.
            A slice that lies across it, MAX_TILT or more, stays as it is.
    """
    plane, usual = ("axial", USUAL_AXIAL) if description == AXIAL_T2 else ("sagittal", USUAL_SAGITTAL)
    if orientation is None or tilt(orientation, plane) >= MAX_TILT:
        return AS_STORED
    own = np.reshape(orientation, (2, 3))
    # AS_STORED comes first, so that a tie turns nothing.
    return max(TURNS, key=lambda turn: round(float((turned_directions(own, turn) * usual).sum()), 6))


def turned_directions(directions: np.ndarray, turn: Turn) -> np.ndarray:
    """Return the directions (2, 3) of increasing column and increasing row of the turned picture."""
    transposed, rows, columns = turn
    along_row, along_column = directions[::-1] if transposed else directions
    return np.stack([-along_row if columns else along_row, -along_column if rows else along_column])


def turned(pixels: np.ndarray, turn: Turn) -> np.ndarray:
    """Return a view of the picture (row, column), turned."""
    transposed, rows, columns = turn
    pixels = pixels.T if transposed else pixels
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]


def turned_pair(pair: tuple, turn: Turn) -> tuple:
    """Return what belongs to (rows, columns), a shape or a spacing, of the turned picture."""
    return (pair[1], pair[0]) if turn[0] else (pair[0], pair[1])


def to_own(turn: Turn, shape: tuple[int, int], row: float, column: float) -> tuple[float, float]:
    """Return a coordinate of the turned picture in the file's own rows and columns.

    Args:
        shape: (rows, columns) of the file's own picture.
    """
    rows, columns = turned_pair(shape, turn)
    row = rows - 1 - row if turn[1] else row
    column = columns - 1 - column if turn[2] else column
    return turned_pair((row, column), turn)


def from_own(turn: Turn, shape: tuple[int, int], row: float, column: float) -> tuple[float, float]:
    """Return an own coordinate in rows and columns of the turned picture; inverse of ``to_own``."""
    rows, columns = turned_pair(shape, turn)
    row, column = turned_pair((row, column), turn)
    return rows - 1 - row if turn[1] else row, columns - 1 - column if turn[2] else column
