"""Tables along the spine: what every cross-section needs, sampled finely enough to be looked up.

A structure of the spine is a cross-section whose measures change along it. ``Profiles`` holds those measures
as functions of s, so that a whole image is painted with a few look-ups a pixel instead of a loop over levels.
"""

from dataclasses import dataclass

import numpy as np

from lumbar.phantom.anatomy import FIRST_LEVEL, Anatomy

_STEP = 0.25  # mm
_LUMBAR_END = FIRST_LEVEL + 4  # index of the L5/S1 disc
NORMAL_DEPTH = (15.5, 6.4)  # mm of the bony canal, at the midline and in the recess, at the disc
_BUMP = 5.5  # mm, how far from the disc's centre its narrowing of the canal reaches (standard deviation)


@dataclass(frozen=True)
class Profiles:
    """Rows of one float32 table over s; ``at`` looks a set of them up."""

    start: float
    rows: dict[str, int]
    table: np.ndarray

    def at(self, s: np.ndarray, *names: str) -> list[np.ndarray]:
        """Return the named measures at each s, arrays shaped like ``s``."""
        index = ((s - self.start) * np.float32(1 / _STEP)).astype(np.int32)
        np.clip(index, 0, self.table.shape[1] - 1, out=index)
        return [self.table[self.rows[name]].take(index) for name in names]


def build_profiles(anatomy: Anatomy) -> Profiles:
    """Tabulate a patient."""
    s = np.arange(anatomy.frame.s[0], anatomy.frame.s[-1], _STEP)
    disc = np.abs(s[:, None] - anatomy.disc).argmin(axis=1)  # index of the nearest
    middle = anatomy.disc[:-1] + (anatomy.disc_height[:-1] + anatomy.body_height[:-1]) / 2
    body = np.abs(s[:, None] - middle).argmin(axis=1)
    measures = {
        "disc": anatomy.disc[disc],
        "disc_half": anatomy.disc_height[disc] / 2,
        "wear": anatomy.wear[disc],
        "body": middle[body],
        **_body_measures(anatomy, s, middle, body),
        **_canal_measures(anatomy, s),
        **_foramen_measures(anatomy, s),
    }
    table = np.stack([np.broadcast_to(row, s.shape) for row in measures.values()]).astype(np.float32)
    return Profiles(float(s[0]), {name: row for row, name in enumerate(measures)}, table)


def _body_measures(anatomy: Anatomy, s, middle, body) -> dict[str, np.ndarray]:
    """Width and depth of the column, and which vertebrae have what behind them."""
    half_width = np.array([16, 17, 18.5, 20, 21.5, 22.5, 23.5, 25, 26, 24, 18, 14, 11]) * anatomy.size
    depth = np.array([27, 28, 29, 31, 32, 33, 34, 34.5, 33, 21, 15, 12, 10]) * anatomy.size
    waist = 1 - np.clip(np.abs(s - middle[body]) / (anatomy.body_height[body] / 2), 0, 1) ** 2
    waist *= np.interp(s, [anatomy.disc[_LUMBAR_END], anatomy.disc[_LUMBAR_END] + 10], [1.0, 0.0])
    lip = np.interp(s, anatomy.disc, np.clip(anatomy.wear - 0.35, 0, 1) * 2.5)  # osteophytes
    lumbar = (body >= 3) & (body < _LUMBAR_END)
    sacrum = np.interp(s - anatomy.disc[_LUMBAR_END], [-1, 4, 28, 50, 70], [0, 1, 1, 0.45, 0])
    return {
        "half_width": np.interp(s, anatomy.disc, half_width) - 2.3 * waist + lip * (1 - waist),
        "depth": np.interp(s, anatomy.disc, depth) - 1.8 * waist + lip * (1 - waist),
        "posterior": (body < _LUMBAR_END).astype(float),  # 1 where a vertebra with arch, 0 in the sacrum
        "transverse": np.where(lumbar, 1.0, 0.0),
        "ala": sacrum,
        "half_height": anatomy.body_height[body] / 2,
    }


def _canal_measures(anatomy: Anatomy, s) -> dict[str, np.ndarray]:
    """The canal's depth in the middle and in both recesses, the dural sac's share of it, the cord."""
    level = anatomy.level_disc
    bump = np.exp(-0.5 * ((s[:, None] - level - 1.0) / _BUMP) ** 2)
    rest = 1 - bump.sum(axis=1).clip(0, 1)
    end = anatomy.disc[_LUMBAR_END]
    away = np.interp(s, [end - 5, end + 12, end + 45, end + 80], [1.0, 0.85, 0.5, 0.25])
    bony = 16.0 * anatomy.size * away
    recess = 5.6 * anatomy.size * away
    sac_width = np.interp(s, [anatomy.disc[0], level[0], level[3], end, end + 38, end + 46],
                          [8.5, 10.0, 9.6, 8.2, 4.0, 0.0])  # fmt: skip
    cord = np.interp(s, [anatomy.conus - 30, anatomy.conus - 12, anatomy.conus], [4.4, 3.6, 0.0])
    return {
        "canal_depth": bony * rest + bump @ anatomy.canal_depth,
        "recess_left": recess * rest + bump @ anatomy.recess_depth[0],
        "recess_right": recess * rest + bump @ anatomy.recess_depth[1],
        "canal_width": np.interp(s, [level[0], end, end + 60], [11.3, 12.3, 7.0]) * anatomy.size,
        "sac_width": sac_width * anatomy.size,
        "front_fat": np.interp(s, [level[3], end, end + 20, end + 45], [0.5, 2.2, 4.0, 5.0]),
        "back_fat": 0.6 + 1.4 * np.interp(anatomy.canal_depth, [7, 13], [0, 1]) @ bump.T,
        "cord": cord,
        "normal_scale": anatomy.size * away,
    }


def _foramen_measures(anatomy: Anatomy, s) -> dict[str, np.ndarray]:
    """The nearest foramen's middle and size, each side."""
    nearest = np.abs(s[:, None] - anatomy.foramen[:, 2]).argmin(axis=1)
    graded = np.abs(s - anatomy.foramen[nearest, 2]) < 20
    names = {}
    for side, name in enumerate(("left", "right")):
        names[f"foramen_depth_{name}"] = np.where(graded, anatomy.foramen_half_depth[side][nearest], 4.8)
        names[f"foramen_height_{name}"] = np.where(graded, anatomy.foramen_half_height[side][nearest], 8.0)
    above = np.abs(s[:, None] - (anatomy.disc[:FIRST_LEVEL] - 5.0)).argmin(axis=1)
    upper = s < anatomy.foramen[0, 2] - 18
    centre = np.where(upper, (anatomy.disc[:FIRST_LEVEL] - 5.0)[above], anatomy.foramen[nearest, 2])
    recess = np.interp(s[:, None], [0], [0])[:, 0]
    level = np.abs(s[:, None] - anatomy.level_disc).argmin(axis=1)
    worn = np.clip(6.0 - anatomy.recess_depth[:, level], 0, 6) / 6  # thick joints narrow the recess
    return {
        **names,
        "foramen": centre,
        "foramen_offset": anatomy.foramen[nearest, 0],
        "foramen_back": anatomy.foramen[nearest, 1],
        "joint_left": worn[0] + recess,
        "joint_right": worn[1] + recess,
    }
