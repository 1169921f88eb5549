"""The dural sac: fluid, cord down to the conus, and the roots of the cauda equina as threads."""

import numpy as np

from phantom.anatomy import Anatomy
from phantom.canvas import Canvas, distance_from
from phantom.profiles import Profiles

_ROOTS = 18
_ROOT_RADIUS = 0.72  # mm; the sum of the threads' areas fills a sac of some 35 mm2
_LEAVING = (4, 4, 3, 3, 2, 2)  # threads that have left the sac past each level, from L1/L2 down


def paint_sac(
    canvas: Canvas, anatomy: Anatomy, profiles: Profiles, spine, opening, lumen_distance, mottle, contrast
):
    """Paint the sac inside the open canal.

    Args:
        canvas: (rows, columns).
        anatomy, profiles: The patient.
        spine: (a, v, s), mm.
        opening: (front, depth) of the open canal at each pixel, mm.
        lumen_distance: Signed distance to the open canal, mm.
        mottle: Texture.
        contrast: Signals.
    """
    a, v, s = spine
    front, depth = opening
    half_width, front_fat, back_fat, cord = profiles.at(s, "sac_width", "front_fat", "back_fat", "cord")
    middle_fat = np.clip(1 - (a / 5) ** 2, 0, 1)
    lower, upper = front + front_fat, front + depth - back_fat * middle_fat - np.float32(0.4)
    share = np.abs(a) / half_width
    taper = np.sqrt(np.clip(1 - share * share * share * share, 0, 1))
    centre = (lower + upper) / 2
    half_depth = (upper - lower) / 2 * taper
    distance = np.maximum(np.abs(v - centre) - half_depth, np.abs(a) - half_width)
    distance = np.maximum(distance, lumen_distance + 0.2)
    canvas.paint(distance - 0.6, contrast.ligament)
    alpha = canvas.cover(distance)
    canvas.blend(alpha, contrast.csf * (1 + np.float32(0.03) * mottle))
    inside = np.nonzero(alpha > 0.02)
    if not len(inside[0]):
        return
    picked = [field[inside] for field in (a, v, s, centre, np.maximum(half_depth, 0.3), half_width, cord)]
    cover = _threads(anatomy, *picked)
    pixels = canvas.signal[inside]
    canvas.signal[inside] = pixels + cover * alpha[inside] * (contrast.nerve - pixels)


def _threads(anatomy: Anatomy, a, v, s, centre, half_depth, half_width, cord) -> np.ndarray:
    """Return the share of each pixel (n,) covered by cord and roots."""
    rng = np.random.default_rng(anatomy.seed)
    # Each root's place across the sac: -1..1 to the side, -1..1 from front to back, mostly towards the back.
    sideways = np.sort(np.tanh(rng.normal(0, 1.0, _ROOTS)))
    backwards = np.clip(rng.normal(0.30, 0.42, _ROOTS), -0.75, 0.85)
    leave = np.repeat(np.arange(len(_LEAVING)), _LEAVING)[np.argsort(np.argsort(-np.abs(sideways)))]
    level = np.append(anatomy.level_disc, anatomy.level_disc[-1] + 45)
    sharp = np.float32(1 / 0.8)
    # Gathered around the cord above the conus, spread over the sac some 4 cm below it.
    spread = np.clip((s - anatomy.conus + 25) / 55, 0.45, 1).astype(np.float32)
    cover = np.clip(
        np.float32(0.5) - (distance_from(a * np.float32(0.85), v - centre) - cord) * sharp, 0, 1
    ) * (cord > 0.2)
    for place, depth, left in zip(sideways, backwards, leave, strict=True):
        wave = np.float32(0.07) * np.sin(s * np.float32(0.06) + np.float32(9 * place))
        toward = smooth_exit(s, level[left])
        at_side = (
            half_width * np.float32(0.85) * ((place * spread + wave) * (1 - toward) + np.sign(place) * toward)
        )
        at_depth = centre + half_depth * np.float32(0.9) * (np.float32(depth) * (1 - toward) - wave)
        apart = np.abs(a - at_side) + np.abs(v - at_depth) * np.float32(
            0.9
        )  # a diamond: cheaper than a circle
        thread = np.clip(np.float32(0.5) - (apart - np.float32(_ROOT_RADIUS * 1.2)) * sharp, 0, 1)
        thread *= s < level[left] + 3
        np.maximum(cover, thread, out=cover)
    return cover


def smooth_exit(s: np.ndarray, level: float) -> np.ndarray:
    """Return 0 well above the level at which a root leaves, 1 at it."""
    return np.clip((s - np.float32(level - 28)) / np.float32(28), 0, 1) ** 2
