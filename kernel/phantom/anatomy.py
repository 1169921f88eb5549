"""One patient's lumbar spine as numbers: where every level is, how wide, how worn, how narrow."""

from dataclasses import dataclass

import numpy as np

from lumbar.sites import LEVELS, SITES
from phantom.build import REALISTIC, Build
from phantom.frame import STEP, SpineFrame
from phantom.grades import Grades, narrowing_to_severity

# Discs from T9/T10 down to S4/S5, and the mean adult's heights in mm (body: of the vertebra below the disc).
DISCS = ("T9/T10", "T10/T11", "T11/T12", "T12/L1", "L1/L2", "L2/L3", "L3/L4", "L4/L5", "L5/S1")
DISCS = (*DISCS, "S1/S2", "S2/S3", "S3/S4", "S4/S5")
FIRST_LEVEL = DISCS.index("L1/L2")
_ORIGIN = DISCS.index("L3/L4")
_SACRUM = DISCS.index("L5/S1")
_DISC_HEIGHT = np.array([4, 5, 6, 7.5, 8.5, 9.5, 10.5, 10.8, 9, 2.5, 1.2, 0.8, 0.8])
_BODY_HEIGHT = np.array([21, 22.5, 24, 24.7, 25.2, 25.5, 25.5, 24.2, 28, 22, 18, 16, 15])
# Inclination of the spine at the discs in degrees, positive where it runs backwards on its way down.
_INCLINATION = np.array([3, -4, -8, -11, -12, -9, -3, 8, 26, 44, 40, 24, -2])

# Severity (phantom.grades.narrowing_to_severity) to millimetres.
_SEVERITY = (-3, -1, 0, 1, 2, 3, 4)
_CANAL_DEPTH = (17.5, 15.5, 13.6, 10.8, 7.0, 4.4, 3.0)  # front to back, mid-sagittal
_RECESS_DEPTH = (7.6, 6.6, 5.5, 3.9, 2.0, 0.8, 0.3)  # front to back, 8.5 mm off the midline
_FORAMEN_HALF_DEPTH = (6.4, 5.6, 4.9, 3.9, 2.6, 1.8, 1.4)
_FORAMEN_HALF_HEIGHT = (11.0, 9.8, 8.8, 7.3, 5.4, 4.2, 3.6)
RECESS_OFFSET = 8.5  # mm from the midline
_LEAST_DISC = 0.8  # mm
# The foramen's middle by level: from the midline, and behind the vertebral bodies' posterior wall.
_FORAMEN_OFFSET = np.array([15.0, 16.0, 17.0, 18.5, 21.5])
_FORAMEN_BACK = np.array([5.5, 5.0, 4.5, 2.0, -2.8])
_FORAMEN_ABOVE_DISC = np.array([5.5, 5.5, 5.5, 6.5, 10.0])


@dataclass(frozen=True)
class Anatomy:
    """One patient.

    Attributes:
        frame: The bent spine's coordinates.
        disc: (13,) mm along the spine, centres of ``DISCS``.
        disc_height: (13,) mm.
        body_height: (13,) mm of the body below each disc.
        wear: (13,) 0 fresh to 1 worn-out disc.
        canal_depth: (5,) mm at the levels.
        recess_depth, foramen_half_depth, foramen_half_height: (2, 5) mm, left first.
        foramen: (5, 3) the foramen's middle on the left (a, v, s); the right one has -a.
        size: Scale of widths and depths.
        conus: mm along the spine where the cord ends.
        fat_back: mm of fat under the skin of the back.
        muscle_fat: 0 lean to 1.
        girth: Scale of the trunk.
        transitional: None, "sacralised L5" or "lumbarised S1".
        seed: Of the tissue's texture.
        marrow: (13,) factor on the marrow's signal in the body below each disc.
        endplate: (13,) the same factor at both end plates of each disc (Modic changes).
    """

    frame: SpineFrame
    disc: np.ndarray
    disc_height: np.ndarray
    body_height: np.ndarray
    wear: np.ndarray
    canal_depth: np.ndarray
    recess_depth: np.ndarray
    foramen_half_depth: np.ndarray
    foramen_half_height: np.ndarray
    foramen: np.ndarray
    size: float
    conus: float
    fat_back: float
    muscle_fat: float
    girth: float
    transitional: str | None
    seed: int
    marrow: np.ndarray
    endplate: np.ndarray

    @property
    def level_disc(self) -> np.ndarray:
        """(5,) mm along the spine, the centres of the five graded discs."""
        return self.disc[FIRST_LEVEL : FIRST_LEVEL + len(LEVELS)]

    def site_points(self) -> np.ndarray:
        """Return (25, 3) patient mm: the point of each site, where the competition's annotators put it.

        That is the middle of the canal or the recess at the disc's level, or the middle of the foramen.
        """
        points = []
        for site in SITES:
            level = LEVELS.index(site.level)
            side = {"left": 1, "right": -1, None: 0}[site.side]
            if site.side is None:
                point = (0.0, 0.5 + _SIZE_OF_CANAL_MIDDLE * self.size, self.level_disc[level])
            elif "foraminal" in site.group:
                a, v, s = self.foramen[level]
                point = (side * a, v, s)
            else:
                point = (side * RECESS_OFFSET * self.size, 3.4 * self.size, self.level_disc[level])
            points.append(self.frame.to_patient(*point))
        return np.array(points)


_SIZE_OF_CANAL_MIDDLE = 7.0  # mm behind the posterior wall: both walls close in on it


def draw_anatomy(rng: np.random.Generator, grades: Grades, build: Build = REALISTIC) -> Anatomy:
    """Draw a patient with sites as narrow as ``grades.narrowing``, of a population's build."""
    severity = narrowing_to_severity(grades.narrowing).reshape(5, len(LEVELS))
    size = float(np.clip(rng.normal(1.0, build.size), *build.size_limits))
    numbering = [1 - 2 * build.transitional, build.transitional, build.transitional]
    transitional = rng.choice([None, "sacralised L5", "lumbarised S1"], p=numbering)
    wear = _draw_wear(rng, severity)
    disc_height, body_height = _draw_heights(rng, size, wear, transitional, build)
    # Each disc's centre: half of both discs and the body between.
    steps = disc_height[:-1] / 2 + body_height[:-1] + disc_height[1:] / 2
    disc = np.concatenate([[0.0], np.cumsum(steps)])
    disc = disc - disc[_ORIGIN]
    foramen = np.stack([_FORAMEN_OFFSET * size, _FORAMEN_BACK * size, np.zeros(5)], axis=1)
    foramen[:, 2] = disc[FIRST_LEVEL : FIRST_LEVEL + 5] - _FORAMEN_ABOVE_DISC * size
    foramen[:, :2] += rng.normal(0, 0.5, (5, 2))
    return Anatomy(
        frame=_draw_frame(rng, disc, disc_height, build),
        disc=disc,
        disc_height=disc_height,
        body_height=body_height,
        wear=wear,
        canal_depth=np.interp(severity[0], _SEVERITY, _CANAL_DEPTH),
        foramen_half_depth=np.interp(severity[1:3], _SEVERITY, _FORAMEN_HALF_DEPTH),
        foramen_half_height=np.interp(severity[1:3], _SEVERITY, _FORAMEN_HALF_HEIGHT),
        recess_depth=np.interp(severity[3:5], _SEVERITY, _RECESS_DEPTH),
        foramen=foramen,
        size=size,
        conus=float(disc[FIRST_LEVEL] - 12 + rng.normal(0, 12)),
        fat_back=float(np.clip(rng.gamma(*build.fat_back), 4, build.most_fat)),
        muscle_fat=float(rng.beta(*build.muscle_fat)),
        girth=float(np.clip(rng.normal(1.0, build.girth), *build.girth_limits)),
        transitional=transitional,
        seed=int(rng.integers(2**31)),
        marrow=_draw_marrow(rng, build),
        endplate=_draw_marrow(rng, build),
    )


def _draw_marrow(rng: np.random.Generator, build: Build) -> np.ndarray:
    """Draw (13,) factors on the marrow's signal, most of them near 1; all are 1 in a build without changes."""
    factors = np.ones(len(DISCS))
    if build.marrow_changes:
        changed = rng.random(len(DISCS)) < build.marrow_changes
        factors = rng.lognormal(0, np.where(changed, 0.6, 0.06))
    return factors


def _draw_wear(rng: np.random.Generator, severity: np.ndarray) -> np.ndarray:
    """Draw (13,) wear of the discs: age, and more where the level's sites are narrow."""
    age = rng.normal(0.35, 0.18)
    wear = age + rng.normal(0, 0.13, len(DISCS))
    wear[:FIRST_LEVEL] -= 0.1
    wear[FIRST_LEVEL : FIRST_LEVEL + 5] += 0.09 * np.clip(severity.mean(axis=0), -2, 3)
    wear[_SACRUM + 1 :] = 0.9
    return np.clip(wear, 0, 1)


def _draw_heights(rng, size, wear, transitional, build: Build) -> tuple[np.ndarray, np.ndarray]:
    """Draw (13,) heights of the discs and of the bodies below them, in mm."""
    disc_height = _DISC_HEIGHT * size * (1.08 - 0.45 * wear) * rng.normal(1, build.disc_height, len(DISCS))
    body_height = _BODY_HEIGHT * size * rng.normal(1, build.body_height, len(DISCS))
    disc_height = np.maximum(disc_height, _LEAST_DISC)
    disc_height[_SACRUM + 1 :] = _DISC_HEIGHT[_SACRUM + 1 :]
    if build.sacral_disc:  # a rudimentary disc in the sacrum, which is not the last of the spine
        disc_height[_SACRUM + 1] = rng.uniform(0.8, build.sacral_disc)
    if transitional == "sacralised L5":
        disc_height[_SACRUM] *= 0.5
    elif transitional == "lumbarised S1":
        disc_height[_SACRUM + 1] = 6.0
    return disc_height, body_height


def _draw_frame(
    rng: np.random.Generator, disc: np.ndarray, disc_height: np.ndarray, build: Build
) -> SpineFrame:
    """Draw lordosis, the sacrum's angle, slips and scoliosis."""
    s = np.arange(np.floor(disc[0] - 60), np.ceil(disc[-1] + 40), STEP)
    lordosis = np.clip(rng.normal(1.0, build.lordosis), *build.lordosis_limits)
    degrees = _INCLINATION * lordosis + rng.normal(0, build.disc_angle, len(disc))
    degrees = degrees + rng.normal(0, build.spine_angle)
    if build.sacral_angle:
        degrees[_SACRUM:] += np.clip(rng.normal(0, build.sacral_angle), -25, 25)
        degrees[_SACRUM + 1 :] += rng.normal(0, build.sacral_angle) * np.linspace(
            0.3, 1.5, len(disc) - _SACRUM - 1
        )
    angles = np.radians(np.clip(degrees, *build.inclination_limits))
    # Most of the bend is in the discs: steps at them, rounded over some 16 mm.
    middle = (disc[1:] + disc[:-1]) / 2
    knots = np.sort(np.concatenate([disc - 7, disc + 7]))
    steps = np.interp(middle, disc, angles)
    steps = np.concatenate([[angles[0]], steps, [angles[-1]]])
    inclination = np.interp(s, knots, np.repeat(steps, 2)[1:-1])
    for level in np.flatnonzero(rng.random(len(disc)) < build.slips) if build.slips else ():
        # A slip moves everything below a disc forwards or backwards: a steep piece of the curve at that disc.
        height = max(disc_height[level], 8.0)
        inclination += np.arctan2(rng.normal(0, 4.0), height) * (np.abs(s - disc[level]) < height / 2)
    kernel = np.hanning(int(16 / STEP))
    padded = np.pad(inclination, len(kernel), mode="edge")
    inclination = np.convolve(padded, kernel / kernel.sum(), mode="same")[len(kernel) : -len(kernel)]
    bow = rng.normal(0, 3.5) * (rng.random() < 0.85) + rng.normal(0, build.curve) * (
        rng.random() < build.curved
    )
    bow = np.clip(bow, -build.most_bow, build.most_bow)
    phase = rng.uniform(0, 2 * np.pi)
    offset = bow * np.sin(s / rng.uniform(35, 55) + phase) * np.exp(-((s / 140) ** 2))
    return SpineFrame(
        s, inclination, offset - offset[np.argmin(np.abs(s))], twist=float(rng.normal(0.008, 0.004))
    )
