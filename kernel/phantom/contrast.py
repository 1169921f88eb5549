"""How bright each tissue is in each kind of sequence."""

from dataclasses import dataclass, fields, replace

import numpy as np

SEQUENCES = ("T1", "T2", "STIR")


@dataclass(frozen=True)
class Contrast:
    """Signal of each tissue, in units of the brightest; air is 0."""

    fat: float
    skin: float
    muscle: float
    marrow: float
    cortex: float
    ligament: float
    disc_fresh: float  # the nucleus of a young disc
    disc_worn: float
    annulus: float
    csf: float
    nerve: float
    vessel: float
    organ: float
    kidney: float
    bowel: float


_CONTRAST = {
    "T1": Contrast(
        fat=1.0, skin=0.45, muscle=0.30, marrow=0.52, cortex=0.07, ligament=0.16, disc_fresh=0.31, disc_worn=0.27,
        annulus=0.24, csf=0.17, nerve=0.33, vessel=0.08, organ=0.42, kidney=0.36, bowel=0.30,
    ),
    "T2": Contrast(
        fat=0.53, skin=0.25, muscle=0.15, marrow=0.34, cortex=0.05, ligament=0.08, disc_fresh=0.58, disc_worn=0.14,
        annulus=0.09, csf=1.0, nerve=0.30, vessel=0.06, organ=0.30, kidney=0.50, bowel=0.28,
    ),
    "STIR": Contrast(
        fat=0.12, skin=0.20, muscle=0.22, marrow=0.16, cortex=0.05, ligament=0.08, disc_fresh=0.50, disc_worn=0.15,
        annulus=0.09, csf=1.0, nerve=0.34, vessel=0.10, organ=0.38, kidney=0.65, bowel=0.30,
    ),
}  # fmt: skip
_FATTY = {"fat": 1.0, "skin": 0.5, "marrow": 0.55}  # share of each tissue's signal that comes from fat


def draw_contrast(rng: np.random.Generator, sequence: str) -> Contrast:
    """Draw a scanner's version of a sequence: every tissue some percent off its usual signal."""
    mean = _CONTRAST[sequence]
    return Contrast(**{f.name: getattr(mean, f.name) * rng.lognormal(0, 0.09) for f in fields(Contrast)})


def draw_wide_contrast(rng: np.random.Generator, sequence: str) -> Contrast:
    """Draw a contrast far wider than scanners have: a strongly changed sequence, or any signal for any tissue.

    A surface coil makes fat the brightest tissue of most real images, so fat is brighter on the average than usual.
    Source: SynthSeg (Billot et al. 2023), networks that have learnt from random contrasts read any real one.
    """
    mean, kind = _CONTRAST[sequence], rng.random()
    if kind < 0.6:
        signals = {f.name: getattr(mean, f.name) * rng.lognormal(0, 0.25) for f in fields(Contrast)}
        signals["fat"] *= rng.lognormal(0.35, 0.4)
        if sequence == "T2" and kind < 0.12:  # fat-suppressed
            signals |= {name: signals[name] * rng.uniform(0.1, 0.5) for name in ("fat", "marrow", "skin")}
        return Contrast(**signals)
    signals = {f.name: rng.uniform(0.03, 1.0) for f in fields(Contrast)}
    dark = ("cortex", "ligament", "annulus", "vessel")
    if rng.random() < 0.7:  # bone's shell and fibres have few protons, and flow no signal, in most sequences
        signals |= {name: rng.uniform(0.02, 0.2) for name in dark}
    return Contrast(**signals)


def split_fat(contrast: Contrast) -> tuple[Contrast, Contrast]:
    """Return (water, fat): their signals add up to ``contrast``. A chemical shift moves only the fat."""
    fat = {f.name: getattr(contrast, f.name) * _FATTY.get(f.name, 0.0) for f in fields(Contrast)}
    water = {name: getattr(contrast, name) - signal for name, signal in fat.items()}
    return replace(contrast, **water), replace(contrast, **fat)
