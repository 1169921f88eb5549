"""What lies around the spine: air, skin, fat, muscles of the back, psoas, vessels, kidneys, bowel."""

from dataclasses import dataclass

import numpy as np

from phantom.anatomy import FIRST_LEVEL, Anatomy
from phantom.canvas import Canvas, distance_from, ellipse, texture
from phantom.profiles import Profiles


@dataclass(frozen=True)
class Grain:
    """Textures of one slice, each (rows, columns) of mean 0 and deviation 1.

    ``fine`` mottles, ``coarse`` makes lumps and (where it crosses 0) septa, ``fibre`` runs along the body.
    """

    fine: np.ndarray
    coarse: np.ndarray
    fibre: np.ndarray


def draw_grain(patient, seed: int) -> Grain:
    """Return the textures at patient points (x, y, z)."""
    return Grain(
        fine=texture(*patient, (0.9, 0.9, 0.9), 1, seed),
        coarse=texture(*patient, (0.8, 0.8, 1.1), 4, seed + 1),
        fibre=texture(*patient, (1.0, 1.0, 5.0), 2, seed + 2),
    )


def paint_surroundings(canvas: Canvas, anatomy: Anatomy, profiles: Profiles, patient, spine, grain, contrast):
    """Paint the trunk; the spine goes on top.

    Args:
        canvas: (rows, columns).
        anatomy, profiles: The patient.
        patient: (x, y, z) arrays (rows, columns), mm.
        spine: (a, v, s) of the same points.
        grain: Textures of the same points.
        contrast: Signals.
    """
    x, y, z = patient
    middle_x, middle_y = profiles.at_height(z, "middle_x", "middle_y")
    across, back = x - middle_x, y - middle_y
    septa = np.clip(1 - np.abs(grain.coarse) * np.float32(6), 0, 1)
    fat = contrast.fat * (1 + np.float32(0.09) * grain.fine) * (1 - np.float32(0.5) * septa)
    # Fat in muscle: thin sheets between the bundles, and lumps in the fatty.
    sheets = np.clip(1 - np.abs(grain.fibre) * np.float32(9), 0, 1) * np.float32(
        0.25 + 0.4 * anatomy.muscle_fat
    )
    lumps = grain.coarse + np.float32(0.5) * grain.fibre - np.float32(2.7 - 1.5 * anatomy.muscle_fat)
    lumps = np.clip(lumps * 2, 0, 0.85)
    streaks = np.maximum(sheets, lumps)
    muscle = contrast.muscle * (1 + np.float32(0.12) * grain.fine)
    muscle += streaks * (contrast.fat - muscle)
    uneven = np.float32(1.1) * grain.coarse  # mm; nothing soft has a smooth outline
    wall = _paint_trunk(canvas, anatomy, across, back, z, fat, contrast) + uneven
    _paint_abdomen(canvas, anatomy, profiles, across, back, z, wall, fat, grain, contrast)
    _paint_back_muscles(canvas, anatomy, across, back + uneven, wall, muscle, z, fat)
    _paint_beside_spine(canvas, anatomy, profiles, spine, uneven, muscle, contrast)


def _paint_trunk(canvas, anatomy, across, back, z, fat, contrast) -> np.ndarray:
    """Paint skin, the fat under it and the trunk's wall; return the distance to the inside of the fat."""
    girth = anatomy.girth
    low = np.clip(z * np.float32(-1 / 120), -1, 1.2)  # the back's fat is thickest over the sacrum
    groove = np.clip(1 - np.abs(across) * np.float32(1 / 16), 0, 1)
    fascia_back = 50 * girth + 5 - 4 * groove * groove - 7 * np.clip(low - np.float32(0.3), 0, 1)
    outer_back = fascia_back + anatomy.fat_back * (1 + np.float32(0.45) * low) + 3
    half_width, half_depth = 148 * girth + anatomy.fat_back, 108 * girth + anatomy.fat_back
    centre = outer_back - half_depth
    # A rounded box: flat in the back, round at the flanks and in front.
    share = np.abs(across) * np.float32(1 / half_width)
    rise = share * share * np.sqrt(share)
    front = np.clip((centre - back) * np.float32(1 / half_depth), 0, None)
    flank = (np.sqrt(rise + front * front) - 1) * np.float32(80)
    outside = np.maximum(flank, back - outer_back * np.sqrt(np.clip(1 - np.float32(0.75) * rise, 0.02, 1)))
    canvas.signal[:] = 0
    canvas.paint(outside, contrast.skin)
    canvas.paint(outside + np.float32(2.0), fat)
    inside = back - fascia_back * np.sqrt(np.clip(1 - np.float32(0.9) * rise, 0.02, 1))
    return np.maximum(inside, flank + np.float32(0.7 * anatomy.fat_back + 6))


def _paint_abdomen(canvas, anatomy, profiles, across, back, z, wall, fat, grain, contrast) -> None:
    """Paint the abdominal wall, bowel in its fat, kidneys, liver."""
    canvas.paint(wall, contrast.muscle)
    cavity = np.maximum(wall + 11, back + 2)
    canvas.paint(cavity, np.float32(0.7) * fat)
    rarer = np.clip((back + 75) * np.float32(0.05), 0, 4)  # towards the spine
    lumps = np.maximum(cavity, (rarer - np.float32(0.2) - grain.coarse) * np.float32(3.5))
    canvas.paint(lumps, contrast.ligament)
    canvas.paint(lumps + 2, contrast.bowel * (1 + np.float32(0.35) * grain.fine))
    top = anatomy.frame.to_patient(0, 0, anatomy.disc[FIRST_LEVEL])[2]
    for side in (1, -1):
        tall = (z - (top - 5 + 8 * side)) * np.float32(0.5)
        beside = across - np.float32(side * 66 * anatomy.girth)
        if np.abs(tall).min() > 25 or np.abs(beside).min() > 25:
            continue
        kidney = ellipse(distance_from(beside, tall), back + 24, 25.0, 24.0)
        canvas.paint(kidney, contrast.kidney * (1 + np.float32(0.08) * grain.fine))
        canvas.paint(kidney + 15, fat)
    lengthwise = (z - np.float32(top + 40)) * np.float32(0.77)
    if across.min() < -43 and np.abs(lengthwise).min() < 62:
        liver = ellipse(distance_from(across + 105, lengthwise), back + 60, 62.0, 60.0)
        canvas.paint(np.maximum(liver, cavity + 2), contrast.organ * (1 + np.float32(0.1) * grain.fine))


def _paint_back_muscles(canvas, anatomy, across, back, wall, muscle, z, fat) -> None:
    """Paint multifidus, erector spinae and quadratus lumborum, each in a sleeve of fat."""
    side = np.abs(across)
    canvas.paint(np.maximum(wall + 1.0, np.abs(back - 28) - 31), np.float32(0.9) * fat)
    girth = anatomy.girth
    low = np.clip(z * np.float32(-1 / 110), 0, 1)
    multifidus = ellipse(side - np.float32(16 * girth + 2), back - 34, 15.5 * girth, 18 + 6 * low)
    middle, width = (47 - 8 * low) * girth, (26 - 10 * low) * girth
    erector = ellipse(side - middle, back - 29, width, (24 - 3 * low) * girth)
    quadratus = ellipse(side - np.float32(60 * girth), back - 3, 24.0, 10.0)
    for shape in (quadratus, erector, multifidus):
        canvas.paint(np.maximum(shape, wall + 1.5), muscle)


def _paint_beside_spine(canvas, anatomy, profiles, spine, uneven, muscle, contrast) -> None:
    """Paint what runs along the column: psoas, aorta, vena cava."""
    a, v, s = spine
    grow, down = profiles.at(s, "psoas_size", "psoas_down")
    middle = 24 + 15 * grow + 14 * down
    canvas.paint(ellipse(np.abs(a) - middle, v + 17 + 28 * down + uneven, 17 * grow, 21 * grow), muscle)
    if np.abs(a).min() > 60:
        return
    # Aorta (left) and cava part at L4 into their branches, which drift outwards.
    spread = np.clip(s - np.float32(anatomy.level_disc[3] - 6), 0, 80) * np.float32(0.45)
    for offset, width, height in ((8.0, 9.0, 9.0), (-14.0, 11.0, 8.0)):
        shrink = 1 - np.clip(spread * np.float32(0.1), 0, 0.3)
        apart = np.abs(a - np.float32(offset)) - spread
        vessel = ellipse(apart, v + 45 + np.float32(0.15) * spread, width * shrink, height * shrink)
        canvas.paint(vessel, contrast.vessel * 1.8)
        canvas.paint(vessel + np.float32(1.2), contrast.vessel)
