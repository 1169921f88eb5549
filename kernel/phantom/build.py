"""How widely a population's spines and trunks vary."""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Build:
    """Spreads are standard deviations, as shares of the mean where no unit is given.

    Attributes:
        size: Of the patient; size_limits: smallest and largest.
        disc_height, body_height: Of single discs and bodies.
        lordosis: Of the curve's depth; lordosis_limits: smallest and largest.
        disc_angle: Degrees, of single discs; spine_angle: degrees, of the whole spine.
        sacral_angle: Degrees, of the sacrum against the lumbar spine and of the sacrum's own curve, 0 for none.
        sacral_disc: mm, largest height of the rudimentary disc S1/S2, 0 for the mean adult's.
        slips: Chance per disc of a vertebra that has slipped.
        curve: mm, of a strong scoliosis's bow; curved: chance of one.
        most_bow: mm, the largest bow of any.
        inclination_limits: degrees, of the spine at a disc, positive where it runs backwards on its way down.
        transitional: Chance of a sacralised L5, and of a lumbarised S1.
        fat_back: (shape, scale in mm) of the gamma distribution of the fat under the skin; most_fat: mm.
        muscle_fat: Of the beta distribution of the muscles' fat.
        girth: Of the trunk; girth_limits: smallest and largest.
        marrow_changes: Chance per body and per end plate of another signal (haemangioma, metastasis, Modic change).
    """

    size: float
    size_limits: tuple[float, float]
    disc_height: float
    body_height: float
    lordosis: float
    lordosis_limits: tuple[float, float]
    disc_angle: float
    spine_angle: float
    sacral_angle: float
    sacral_disc: float
    slips: float
    curve: float
    curved: float
    most_bow: float
    inclination_limits: tuple[float, float]
    transitional: float
    fat_back: tuple[float, float]
    most_fat: float
    muscle_fat: tuple[float, float]
    girth: float
    girth_limits: tuple[float, float]
    marrow_changes: float


REALISTIC = Build(
    size=0.05, size_limits=(0.88, 1.13), disc_height=0.05, body_height=0.03,
    inclination_limits=(-inf, inf), most_bow=inf,
    lordosis=0.22, lordosis_limits=(0.5, 1.5), disc_angle=2.0, spine_angle=2.5, sacral_angle=0, sacral_disc=0,
    slips=0, curve=10, curved=0.08, transitional=0.02, fat_back=(4, 3.5), most_fat=45, muscle_fat=(2, 3),
    girth=0.1, girth_limits=(0.8, 1.25), marrow_changes=0,
)  # fmt: skip
WIDE = Build(
    size=0.09, size_limits=(0.78, 1.22), disc_height=0.16, body_height=0.06,
    inclination_limits=(-35, 65), most_bow=14,
    lordosis=0.4, lordosis_limits=(0.0, 2.0), disc_angle=3.5, spine_angle=6, sacral_angle=9, sacral_disc=4.5,
    slips=0.06, curve=16, curved=0.25, transitional=0.03, fat_back=(1.6, 16), most_fat=100, muscle_fat=(1, 1.2),
    girth=0.16, girth_limits=(0.7, 1.4), marrow_changes=0.15,
)  # fmt: skip
