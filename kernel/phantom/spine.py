"""The spine painted from its cross-sections: column, arches, joints, foramina, canal, dural sac, roots."""

import numpy as np

from phantom.anatomy import RECESS_OFFSET, Anatomy
from phantom.canvas import Canvas, distance_from, ellipse, smoothstep
from phantom.contrast import Contrast
from phantom.profiles import NORMAL_DEPTH, Profiles
from phantom.thecal_sac import paint_sac

REACH = 62.0  # mm from the midline that the spine takes up
_SHELL = 0.9  # mm of cortical bone


def paint_spine(
    canvas: Canvas, anatomy: Anatomy, profiles: Profiles, spine, mottle, contrast: Contrast
) -> None:
    """Paint the spine over its surroundings.

    Args:
        canvas: (rows, columns).
        anatomy: The patient; profiles: the same as tables.
        spine: (a, v, s) arrays (rows, columns), mm.
        mottle: (rows, columns) texture of mean 0 and deviation 1.
        contrast: Signals.
    """
    a, v, s = spine
    side = np.abs(a)
    (change,) = profiles.at(s, "marrow")
    marrow = contrast.marrow * (1 + np.float32(0.09) * mottle) * change
    parts = (
        (_paint_sacrum, side < 58),
        (_paint_column, (side < 31) & (v < 9)),
        (_paint_arches, (side < 40) & (v > -7)),
        (_paint_joints, (side < 28) & (v > 2) & (v < 26)),
        (_paint_foramina, (side < 33) & (v > -9) & (v < 14)),
        (_paint_canal, (side < 15) & (v > -3) & (v < 24)),
    )
    for paint, reach in parts:
        window = bounding_window(reach)
        if window is not None:
            part = Canvas(canvas.signal[window], 1 / canvas.sharpness)
            place = tuple(coordinate[window] for coordinate in spine)
            paint(part, anatomy, profiles, place, mottle[window], marrow[window], contrast)


def bounding_window(reach: np.ndarray) -> tuple[slice, slice] | None:
    """Return the smallest (rows, columns) that hold every True, None if there is none."""
    rows, columns = np.flatnonzero(reach.any(axis=1)), np.flatnonzero(reach.any(axis=0))
    if not len(rows):
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _paint_bone(canvas: Canvas, distance, marrow, contrast: Contrast) -> None:
    """Paint a bone: a dark shell around marrow."""
    canvas.paint(distance, contrast.cortex)
    canvas.paint(distance + _SHELL, marrow)


def _paint_sacrum(canvas, anatomy, profiles, spine, mottle, marrow, contrast) -> None:
    """Paint the wings of the sacrum and, beside them, the iliac bones."""
    a, v, s = spine
    side = np.abs(a)
    ala, size = profiles.at(s, "ala", "normal_scale")
    if not ala.any():
        return
    wing = np.maximum(side - 10 - 36 * ala, np.abs(v + 4 + 0.25 * side) - 13 * ala - 1)
    _paint_bone(canvas, wing + 50 * (ala < 0.05), marrow, contrast)
    crest = np.maximum(side - 9, np.abs(v - 16 * size - 5) - 4)
    _paint_bone(canvas, crest + 50 * (ala < 0.4), marrow, contrast)


def _paint_column(canvas, anatomy, profiles, spine, mottle, marrow, contrast) -> None:
    """Paint vertebral bodies, end plates and discs."""
    a, v, s = spine
    side = np.abs(a)
    disc, half, wear, width, depth = profiles.at(s, "disc", "disc_half", "wear", "half_width", "depth")
    oval = ellipse(side, v + np.float32(0.45) * depth, width, np.float32(0.62) * depth)
    hollow = v + np.float32(1.2) * (
        1 - np.clip(side * np.float32(0.09), 0, 1)
    )  # the posterior wall is hollow
    body = np.maximum(oval, hollow)
    middle = np.clip(-oval / (np.float32(0.45) * width), 0, 1)  # 0 at the rim, 1 in the disc's middle
    half = half * (np.float32(0.72) + np.float32(0.42) * middle)  # end plates are hollow too
    endplate = half - np.abs(s - disc)  # positive in the disc
    _paint_bone(canvas, np.maximum(body, endplate - np.float32(0.5)), marrow, contrast)
    bulge = np.float32(0.6) + np.float32(1.6) * wear
    rim = np.maximum(np.maximum(oval - bulge, v - np.float32(0.4)), -endplate + np.float32(0.35))
    canvas.paint(rim, contrast.annulus)
    nucleus = contrast.disc_fresh + smoothstep(wear * np.float32(1.25)) * (
        contrast.disc_worn - contrast.disc_fresh
    )
    nucleus = nucleus * (1 + np.float32(0.08) * mottle)
    inner = np.maximum(np.maximum(oval + 4.0, v + 4.0), -endplate + 1.0)
    alpha = np.clip(np.float32(0.5) - inner * np.float32(0.4), 0, 1)
    canvas.blend(alpha, nucleus)


def _roof(side: np.ndarray, size) -> np.ndarray:
    """Return how far behind the posterior wall the bony canal's roof is: an inverted V, mm."""
    centre, recess = NORMAL_DEPTH
    sunk = np.clip(side * np.float32(1 / 9.0), 0, 1)
    return size * (np.float32(centre) - np.float32(centre - recess - 2.0) * sunk)


def _paint_arches(canvas, anatomy, profiles, spine, mottle, marrow, contrast) -> None:
    """Paint pedicles, articular pillars, laminae, transverse and spinous processes."""
    a, v, s = spine
    side = np.abs(a)
    names = ("body", "no_arch", "no_transverse", "normal_scale")
    body, none, no_transverse, size = profiles.at(s, *names)
    z = s - body  # positive below the vertebra's middle
    roof = _roof(side, size)
    midline = float(side.min()) < 14
    if midline:
        ligament = np.maximum(np.abs(v - roof - np.float32(5.5)) - np.float32(4.5), side - 13)
        canvas.paint(ligament + none, contrast.ligament)
        # Between the spinous processes: ligament and fat.
        between = np.maximum(side - np.float32(2.2), np.abs(v - 31) - 10)
        canvas.paint(between + none, 0.5 * (contrast.fat + contrast.ligament))
    arm = np.maximum(ellipse(v - 5 - np.float32(0.12) * side, z + 4, 3.6, 5.2), np.abs(side - 24.5) - 12.5)
    _paint_bone(canvas, arm + no_transverse, marrow, contrast)
    if float(side.min()) < 21:
        pillar = np.maximum(
            ellipse(side - np.float32(15.5), v - np.float32(11.5), 4.8, 4.8), np.abs(z - 3) - 12
        )
        _paint_bone(canvas, pillar + none, marrow, contrast)
        pedicle = np.maximum(ellipse(side - 15, z + 5, 4.8, 7.2), np.abs(v - 3) - np.float32(7.5))
        _paint_bone(canvas, pedicle + none, marrow, contrast)
    if midline:
        sheet = np.abs(v - roof - np.float32(5.2)) * np.float32(0.75) - np.float32(2.4)
        lamina = np.maximum(np.maximum(sheet, np.abs(z - np.float32(6.5)) - 9), side - 13)
        _paint_bone(canvas, lamina + none, marrow, contrast)
        droop = np.abs(z - np.float32(0.32) * (v - 20) - 8) - np.float32(8.5)
        spinous = np.maximum(
            np.maximum(side - np.float32(2.8), droop), np.maximum(roof + 4 - v, v - 45 * size)
        )
        _paint_bone(canvas, spinous + none, marrow, contrast)


def _by_side(a: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the left value where a > 0, else the right one."""
    return right + (a > 0) * (left - right)


def _paint_joints(canvas, anatomy, profiles, spine, mottle, marrow, contrast) -> None:
    """Paint the facet joints: two processes and the slit between them, thick where the recess is narrow."""
    a, v, s = spine
    disc, left, right, none = profiles.at(s, "disc", "joint_left", "joint_right", "no_joint")
    thick = _by_side(a, left, right)
    across, back, along = np.abs(a) - np.float32(17.5), v - np.float32(14.0), s - disc + 2
    wide, deep, tall = (
        across / (np.float32(6.6) * thick),
        back / (np.float32(7.2) * thick),
        along * np.float32(1 / 11),
    )
    joint = (np.sqrt(wide * wide + deep * deep + tall * tall) - 1) * np.float32(6.5) + none
    _paint_bone(canvas, joint, marrow, contrast)
    slit = np.float32(0.75) * across - np.float32(0.66) * back + np.float32(0.2) * along
    inside = np.clip(np.float32(0.5) - (joint + 1) * 1.0, 0, 1)
    canvas.blend(inside * canvas.cover(np.abs(slit) - 1.3), contrast.cortex)
    canvas.blend(inside * canvas.cover(np.abs(slit) - 0.4), 0.6 * contrast.csf)


def _paint_foramina(canvas, anatomy, profiles, spine, mottle, marrow, contrast) -> None:
    """Paint each foramen: what narrows it, the fat that is left, and the root."""
    a, v, s = spine
    centre, offset, back, none = profiles.at(s, "foramen", "foramen_offset", "foramen_back", "no_joint")
    measures = ("foramen_depth_left", "foramen_depth_right", "foramen_height_left", "foramen_height_right")
    depth_left, depth_right, height_left, height_right = profiles.at(s, *measures)
    half_depth, half_height = _by_side(a, depth_left, depth_right), _by_side(a, height_left, height_right)
    lateral = np.abs(a) - offset
    # An ellipsoid some 19 mm long: it opens towards the canal and, wider, to the side.
    reach = (lateral - np.float32(1.5)) * np.float32(1 / 9.5)
    closing = np.sqrt(np.clip(1 - reach * reach, 1e-4, 1))
    half_depth, half_height = half_depth * closing, half_height * closing
    along, deep = s - centre, v - back
    # What closes it: disc and lip from the front, the joint's process and ligament from the back.
    filling = ellipse(deep, along, np.float32(5.8) * closing, np.float32(10.2) * closing) + none
    behind = np.clip(np.float32(0.5) + deep * np.float32(0.6), 0, 1)
    canvas.paint(filling, contrast.annulus + behind * (np.float32(0.85) * contrast.marrow - contrast.annulus))
    # The foramen closes round the root, which keeps to its upper half.
    along = along + np.float32(0.35) * (np.float32(9) - half_height)
    key = half_depth * (1 - np.float32(0.45) * smoothstep(along / half_height))
    opening = ellipse(deep, along, key, half_height) + none
    canvas.paint(np.maximum(opening - 1, filling), contrast.cortex)
    canvas.paint(opening, contrast.fat * (1 + np.float32(0.06) * mottle))
    root_along = along + np.float32(0.25) * half_height - np.float32(0.45) * lateral
    root = np.maximum(distance_from(deep, root_along) - np.float32(2.8), opening + np.float32(0.3))
    canvas.paint(root, contrast.nerve)


def _paint_canal(canvas, anatomy, profiles, spine, mottle, marrow, contrast) -> None:
    """Paint the canal: its fat, the dural sac with cord and roots, the roots in the recesses."""
    a, v, s = spine
    side = np.abs(a)
    size, width = profiles.at(s, "normal_scale", "canal_width")
    bony = np.maximum(np.maximum(side - width - 0.8, v - _roof(side, size) - 1.5), -v - 0.3)
    canvas.paint(bony, contrast.ligament)
    front, depth = lumen(profiles, a, s)
    lumen_distance = np.maximum(np.maximum(front - v, v - front - depth), side - width)
    canvas.paint(lumen_distance, 0.9 * contrast.fat)
    paint_sac(canvas, anatomy, profiles, (a, v, s), (front, depth), lumen_distance, mottle, contrast)
    across = side - np.float32(RECESS_OFFSET * anatomy.size)
    traversing = distance_from(across, v - front - np.float32(0.5) * depth) - np.float32(1.9)
    canvas.paint(np.maximum(traversing, lumen_distance + 0.2), contrast.nerve * 0.9)


def lumen(profiles: Profiles, a: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the open canal begins behind the posterior wall and how deep it is, mm.

    The depth is the canal's in the midline, the recess's at ``RECESS_OFFSET`` and 0 at the canal's edge. A
    narrowing takes equal parts from the front (disc) and from the back (flavum, joint).
    """
    names = ("canal_depth", "recess_left", "recess_right", "canal_width", "normal_scale")
    canal, left, right, width, size = profiles.at(s, *names)
    side = np.abs(a)
    share = smoothstep((side - np.float32(2.5)) * np.float32(1 / 5.5))
    recess = _by_side(a, left, right)
    depth = canal + share * (recess - canal)
    wide = (np.float32(NORMAL_DEPTH[0]) + share * np.float32(NORMAL_DEPTH[1] - NORMAL_DEPTH[0])) * size
    front = np.float32(0.6) + np.float32(0.5) * np.clip(wide - depth, -0.4, None)
    outside = np.clip((side - 9 * size) / (width - 9 * size + np.float32(1e-3)), 0, 1)
    closing = np.sqrt(1 - outside * outside)
    return front + 0.5 * depth * (1 - closing), depth * closing
