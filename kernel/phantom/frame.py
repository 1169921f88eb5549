"""The bent spine's own coordinates, exactly invertible.

Spine coordinates (a, v, s) are in mm. ``s`` runs down the posterior wall of the vertebral bodies, with 0 at the
L3/L4 disc. ``v`` points backwards from it, ``a`` to the patient's left. In them the spine is straight, so that every
structure is a cross-section that changes with ``s``. Patient coordinates (x, y, z) are DICOM's LPS in mm, with
the L3/L4 disc's posterior edge at the origin.
"""

import cv2
import numpy as np

STEP = 0.5  # mm between the curve's samples
_GRID = 1.5  # mm between the samples of the lookup from (y, z) to the curve
_REACH = (-130.0, 110.0)  # mm of y that the lookup covers; beyond, nothing of the spine is


class SpineFrame:
    """Maps between patient and spine coordinates of one study."""

    def __init__(self, s: np.ndarray, inclination: np.ndarray, offset: np.ndarray, twist: float):
        """Integrate the curve.

        Args:
            s: (n,) mm, evenly spaced by ``STEP``, holding 0.
            inclination: (n,) radians; positive where the spine runs backwards on its way down.
            offset: (n,) mm, sideways position of the curve (scoliosis), positive to the left.
            twist: Radians of axial rotation per mm of ``offset``.
        """
        self.s, self.twist, self.offset = s, twist, offset
        origin = int(np.argmin(np.abs(s)))
        self.y = _integrate(np.sin(inclination), origin)
        self.z = -_integrate(np.cos(inclination), origin)
        self.inclination = inclination
        self.tilt = np.gradient(offset, STEP)
        self._lookup = self._build_lookup()

    def _build_lookup(self) -> np.ndarray:
        """Return (z, y, 4) float32: s, v, sideways offset and tilt of the nearest point of the curve."""
        self._corner = (_REACH[0], self.z.min() - 40)
        y = np.arange(_REACH[0], _REACH[1], _GRID)
        z = np.arange(self._corner[1], self.z.max() + 40, _GRID)
        y, z = np.meshgrid(y.astype(np.float32), z.astype(np.float32))
        coarse = slice(None, None, 16)
        curve_y, curve_z = self.y[coarse].astype(np.float32), self.z[coarse].astype(np.float32)
        # |p - c|^2 less what does not depend on the curve's point
        distance = curve_y**2 + curve_z**2 - 2 * (y[..., None] * curve_y + z[..., None] * curve_z)
        s = self.s[coarse][np.argmin(distance, axis=-1)]
        for _ in range(9):  # the foot of the perpendicular, by damped steps along the curve
            angle = np.interp(s, self.s, self.inclination)
            along = (y - np.interp(s, self.s, self.y)) * np.sin(angle)
            along -= (z - np.interp(s, self.s, self.z)) * np.cos(angle)
            s = np.clip(s + 0.8 * along, self.s[0], self.s[-1])
        angle = np.interp(s, self.s, self.inclination)
        back = (y - np.interp(s, self.s, self.y)) * np.cos(angle)
        back += (z - np.interp(s, self.s, self.z)) * np.sin(angle)
        sideways = np.interp(s, self.s, self.offset)
        return np.stack([s, back, sideways, np.interp(s, self.s, self.tilt)], axis=-1).astype(np.float32)

    def to_spine(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return (a, v, s) of patient points; three arrays (rows, columns) in, three out, float32."""
        column = ((y - self._corner[0]) / _GRID).astype(np.float32)
        row = ((z - self._corner[1]) / _GRID).astype(np.float32)
        found = cv2.remap(self._lookup, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        s, back, sideways, tilt = cv2.split(found)
        across = x.astype(np.float32) - sideways
        angle = np.float32(self.twist) * sideways
        return across + angle * back, back - angle * across, s + across * tilt

    def to_patient(self, a: float, v: float, s: float) -> np.ndarray:
        """Return the patient point (3,) of one point in spine coordinates; the inverse of ``to_spine``."""
        foot = s
        for _ in range(12):
            sideways = np.interp(foot, self.s, self.offset)
            angle = self.twist * sideways
            across = (a - angle * v) / (1 + angle**2)
            foot = s - across * np.interp(foot, self.s, self.tilt)
        back = (v + angle * a) / (1 + angle**2)
        bend = np.interp(foot, self.s, self.inclination)
        y = np.interp(foot, self.s, self.y) + back * np.cos(bend)
        z = np.interp(foot, self.s, self.z) + back * np.sin(bend)
        return np.array([sideways + across, y, z])


def _integrate(slope: np.ndarray, origin: int) -> np.ndarray:
    """Return the running trapezoid integral of ``slope`` over ``STEP``, 0 at index ``origin``."""
    total = np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2 * STEP)])
    return total - total[origin]
