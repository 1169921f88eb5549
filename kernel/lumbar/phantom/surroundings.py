"""What lies around the spine: air, skin, fat, muscles of the back, psoas, vessels, kidneys, bowel."""

import numpy as np

from lumbar.phantom.anatomy import FIRST_LEVEL, Anatomy
from lumbar.phantom.canvas import Canvas, ellipse, texture
from lumbar.phantom.contrast import Contrast


def paint_surroundings(canvas: Canvas, anatomy: Anatomy, patient, spine, contrast: Contrast) -> None:
    """Paint the trunk; the spine goes on top.

    Args:
        canvas: (rows, columns).
        anatomy: The patient.
        patient: (x, y, z) arrays (rows, columns), mm.
        spine: (a, v, s) of the same points.
        contrast: Signals.
    """
    x, y, z = patient
    frame = anatomy.frame
    order = np.argsort(frame.z)
    smooth = np.convolve(np.pad(frame.y, 100, mode="edge"), np.hanning(200) / np.hanning(200).sum(), "same")
    middle_y = np.interp(z, frame.z[order], smooth[100:-100][order]).astype(np.float32)
    middle_x = np.interp(z, frame.z[order], frame.offset[order]).astype(np.float32)
    across, back = x - middle_x, y - middle_y
    wall = _paint_trunk(canvas, anatomy, across, back, z, contrast)
    marbling = texture(x, y, z, (1.6, 1.6, 9.0), 1, anatomy.seed)
    marbling += 0.6 * texture(x, y, z, (4.0, 4.0, 20.0), 1, anatomy.seed + 5)
    streaks = np.clip(0.5 * (marbling - 2.1 + 1.6 * anatomy.muscle_fat), 0, 0.9)
    muscle = contrast.muscle * (1 + np.float32(0.07) * marbling)
    muscle = muscle + streaks * (contrast.fat - muscle)
    _paint_abdomen(canvas, anatomy, patient, across, back, wall, contrast)
    _paint_back_muscles(canvas, anatomy, across, back, wall, muscle, z)
    _paint_beside_spine(canvas, anatomy, spine, muscle, contrast)


def _paint_trunk(canvas, anatomy, across, back, z, contrast) -> np.ndarray:
    """Paint skin, the fat under it and the trunk's wall; return the distance to the inside of the fat."""
    girth = np.float32(anatomy.girth)
    low = np.clip(-z / 120, -1, 1.2)  # the back's fat is thickest over the sacrum
    fascia_back = 50 * girth + 5 - 4 * np.exp(-((across / 9) ** 2)) - 7 * np.clip(low - 0.3, 0, 1)
    fat_back = anatomy.fat_back * (1 + 0.45 * low) + 3
    outer_back = fascia_back + fat_back
    half_width, half_depth = 148 * girth + anatomy.fat_back, 108 * girth
    centre = outer_back - half_depth - anatomy.fat_back
    # A rounded box: flat in the back, round at the flanks and in front.
    rise = np.abs(across / half_width) ** 2.5
    front = np.clip((centre - back) / (half_depth + anatomy.fat_back), 0, None) ** 2
    flank = (np.sqrt(rise + front) - 1) * 80
    behind = back - outer_back * np.sqrt(np.clip(1 - 0.75 * rise, 0.02, 1)).astype(np.float32)
    outside = np.maximum(flank, behind)
    canvas.signal[:] = 0
    canvas.paint(outside, contrast.skin)
    fat = contrast.fat * (1 + 0.04 * np.sin(across * 0.5) * np.sin(back * 0.4 + z * 0.35))
    canvas.paint(outside + 2.0, fat)
    inside = back - fascia_back * np.sqrt(np.clip(1 - 0.9 * rise, 0.02, 1)).astype(np.float32)
    return np.maximum(inside, flank + 0.7 * anatomy.fat_back + 6)


def _paint_abdomen(canvas, anatomy, patient, across, back, wall, contrast) -> None:
    """Paint the abdominal wall, bowel in its fat, kidneys, liver."""
    x, y, z = patient
    canvas.paint(wall, contrast.muscle)
    cavity = np.maximum(wall + 11, back + 2)
    canvas.paint(cavity, contrast.fat * np.float32(0.9))
    lumps = texture(x, y, z, (5.0, 5.0, 5.0), 2, anatomy.seed + 1)
    bowel = np.maximum(cavity, np.maximum(back + 45, (np.float32(0.25) - lumps) * 5))
    canvas.paint(bowel, contrast.bowel * (1 + 0.35 * texture(x, y, z, (3.0, 3.0, 3.0), 1, anatomy.seed + 2)))
    top = anatomy.frame.to_patient(0, 0, anatomy.disc[FIRST_LEVEL])[2]
    for side in (1, -1):
        tall = (z - (top - 5 + 8 * side)) / 2.0
        kidney = ellipse(np.hypot(across - side * 66 * anatomy.girth, tall), back + 24, 25.0, 24.0)
        canvas.paint(kidney, contrast.kidney)
        canvas.paint(kidney + 15, contrast.fat)
    liver = ellipse(np.hypot(across + 105, (z - top - 40) / 1.3), back + 60, 62.0, 60.0)
    canvas.paint(np.maximum(liver, cavity + 2), contrast.organ)


def _paint_back_muscles(canvas, anatomy, across, back, wall, muscle, z) -> None:
    """Paint multifidus, erector spinae and quadratus lumborum, each in a sleeve of fat."""
    side = np.abs(across)
    canvas.paint(np.maximum(wall + 1.0, np.abs(back - 28) - 31), np.float32(0.72) * canvas.signal.max())
    girth = anatomy.girth
    low = np.clip(-z / 110, 0, 1)
    multifidus = ellipse(side - 16 * girth - 2, back - 34, 14.5 * girth, 16 + 5 * low)
    erector = ellipse(
        side - (47 - 8 * low) * girth, back - 29, (23 - 9 * low) * girth, (21 - 3 * low) * girth
    )
    quadratus = ellipse(side - 63 * girth, back - 3, 18.0, 8.0)
    for shape in (quadratus, erector, multifidus):
        canvas.paint(np.maximum(shape, wall + 1.5), muscle)


def _paint_beside_spine(canvas, anatomy, spine, muscle, contrast) -> None:
    """Paint what runs along the column: psoas, aorta, vena cava."""
    a, v, s = spine
    level = anatomy.level_disc
    grow = np.interp(s, [level[0] - 25, level[0], level[3], level[4] + 60], [0, 0.55, 1.1, 1.0])
    down = np.interp(s, [level[2], level[4] + 60], [0, 1]).astype(np.float32)
    grow = (grow * anatomy.girth).astype(np.float32) + np.float32(1e-3)
    psoas = ellipse(np.abs(a) - 24 - 15 * grow - 14 * down, v + 17 + 28 * down, 16 * grow, 20 * grow)
    canvas.paint(psoas, muscle)
    end = level[3] - 6
    for offset, width, height in ((8.0, 9.0, 9.0), (-14.0, 11.0, 8.0)):
        spread = np.clip(s - end, 0, 80) * np.float32(0.45)
        artery = ellipse(np.abs(a - offset) - spread, v + 44 + 0.15 * spread, width * 0.8, height * 0.8)
        stem = ellipse(a - offset, v + 45, width, height)
        vessel = np.where(s < end, stem, artery)
        canvas.paint(vessel, contrast.vessel * 1.8)
        canvas.paint(vessel + 1.2, contrast.vessel)
