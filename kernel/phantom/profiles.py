"""Tables along the spine: the measures of every cross-section, sampled finely enough to be looked up.

A structure of the spine is a cross-section with measures that change along it. ``Profiles`` holds those measures
as functions of s, so that a whole image is painted with a few look-ups per pixel instead of a loop over levels.
"""

from dataclasses import dataclass

import numpy as np

from phantom.anatomy import FIRST_LEVEL, Anatomy

_STEP = 0.25  # mm between a table's samples
_ENDPLATE_DEPTH = 6.0  # mm that a change of an end plate reaches into the body
_LUMBAR_END = FIRST_LEVEL + 4  # index of the L5/S1 disc
NORMAL_DEPTH = (15.5, 6.4)  # mm of the bony canal, at the midline and in the recess, at the disc
_BUMP = 5.5  # mm, how far from the disc's centre its narrowing of the canal reaches (standard deviation)


@dataclass(frozen=True)
class Table:
    """Named measures sampled every ``_STEP`` mm from ``start``: (measure, sample) float32."""

    start: float
    rows: dict[str, int]
    values: np.ndarray

    @classmethod
    def of(cls, along: np.ndarray, measures: dict[str, np.ndarray]) -> "Table":
        """Build a table of measures given at ``along`` (n,) mm."""
        values = np.stack([np.broadcast_to(row, along.shape) for row in measures.values()])
        return cls(float(along[0]), {n: row for row, n in enumerate(measures)}, values.astype(np.float32))

    def at(self, along: np.ndarray, names) -> list[np.ndarray]:
        """Return the named measures at each place, arrays shaped like ``along``."""
        index = ((along - np.float32(self.start)) * np.float32(1 / _STEP)).astype(np.int32)
        np.clip(index, 0, self.values.shape[1] - 1, out=index)
        return [self.values[self.rows[name]].take(index) for name in names]


@dataclass(frozen=True)
class Profiles:
    """One patient's measures: ``spine`` as functions of s, ``trunk`` as functions of z."""

    spine: Table
    trunk: Table

    def at(self, s: np.ndarray, *names: str) -> list[np.ndarray]:
        """Return the named measures at places along the spine."""
        return self.spine.at(s, names)

    def at_height(self, z: np.ndarray, *names: str) -> list[np.ndarray]:
        """Return the named measures at heights z."""
        return self.trunk.at(z, names)


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
        "marrow": _marrow(anatomy, s, disc, body),
        **_body_measures(anatomy, s, middle, body),
        **_canal_measures(anatomy, s),
        **_foramen_measures(anatomy, s),
        **_psoas_measures(anatomy, s),
    }
    return Profiles(Table.of(s, measures), _trunk_table(anatomy))


def _marrow(anatomy: Anatomy, s, disc, body) -> np.ndarray:
    """Return the factor on the marrow's signal: of the body, and of the end plate near a disc."""
    beyond = np.abs(s - anatomy.disc[disc]) - anatomy.disc_height[disc] / 2
    near = np.exp(-((np.clip(beyond, 0, None) / _ENDPLATE_DEPTH) ** 2))
    return anatomy.marrow[body] * (1 + (anatomy.endplate[disc] - 1) * near)


def _trunk_table(anatomy: Anatomy) -> Table:
    """Where the trunk's middle line runs: the spine's curve, smoothed."""
    frame = anatomy.frame
    order = np.argsort(frame.z)
    kernel = np.hanning(200) / np.hanning(200).sum()
    smooth = np.convolve(np.pad(frame.y, 100, mode="edge"), kernel, "same")[100:-100]
    z = np.arange(frame.z.min() - 80, frame.z.max() + 80, _STEP)
    return Table.of(
        z,
        {
            "middle_x": np.interp(z, frame.z[order], frame.offset[order]),
            "middle_y": np.interp(z, frame.z[order], smooth[order]),
        },
    )


def _psoas_measures(anatomy: Anatomy, s) -> dict[str, np.ndarray]:
    """Size of the psoas relative to its largest, and how far down its way forwards it is."""
    level = anatomy.level_disc
    size = np.interp(s, [level[0] - 25, level[0], level[3], level[4] + 60], [0, 0.55, 1.1, 1.0])
    return {
        "psoas_size": size * anatomy.girth + 1e-3,
        "psoas_down": np.interp(s, [level[2], level[4] + 60], [0, 1]),
    }


def _body_measures(anatomy: Anatomy, s, middle, body) -> dict[str, np.ndarray]:
    """Width and depth of the column, and which vertebrae have what behind them."""
    half_width = np.array([16, 17, 18.5, 20, 21.5, 22.5, 23.5, 25, 26, 24, 18, 14, 11]) * anatomy.size
    depth = np.array([27, 28, 29, 31, 32, 33, 34, 34.5, 33, 21, 15, 12, 10]) * anatomy.size
    waist = 1 - np.clip(np.abs(s - middle[body]) / (anatomy.body_height[body] / 2), 0, 1) ** 2
    waist *= np.interp(s, [anatomy.disc[_LUMBAR_END], anatomy.disc[_LUMBAR_END] + 10], [1.0, 0.0])
    lip = np.interp(s, anatomy.disc, np.clip(anatomy.wear - 0.35, 0, 1) * 2.5)  # osteophytes
    return {
        "half_width": np.interp(s, anatomy.disc, half_width) - 2.3 * waist + lip * (1 - waist),
        "depth": np.interp(s, anatomy.disc, depth) - 1.8 * waist + lip * (1 - waist),
        # mm to add to a distance: 0 where a vertebra has the structure, far outside where it has not.
        "no_arch": np.where(body < _LUMBAR_END, 0.0, 50.0),
        "no_transverse": np.where((body >= 3) & (body < _LUMBAR_END), 0.0, 50.0),
        "no_joint": np.where(s < anatomy.disc[_LUMBAR_END] + 10, 0.0, 50.0),
        "ala": np.interp(s - anatomy.disc[_LUMBAR_END], [-1, 4, 28, 50, 70], [0, 1, 1, 0.45, 0]),
    }


def _canal_measures(anatomy: Anatomy, s) -> dict[str, np.ndarray]:
    """The canal's depth in the middle and in both recesses, the dural sac's share of it, the cord."""
    level = anatomy.level_disc
    bump = np.exp(-0.5 * ((s[:, None] - level - 1.0) / _BUMP) ** 2)
    rest = 1 - bump.sum(axis=1).clip(0, 1)
    end = anatomy.disc[_LUMBAR_END]
    away = np.interp(s, [end - 5, end + 12, end + 45, end + 80], [1.0, 0.85, 0.5, 0.25])
    sac_width = np.interp(
        s, [anatomy.disc[0], level[0], level[3], end, end + 38, end + 46], [8.5, 10.0, 9.6, 8.2, 4.0, 0.0]
    )
    return {
        "canal_depth": 16.0 * anatomy.size * away * rest + bump @ anatomy.canal_depth,
        "recess_left": 5.6 * anatomy.size * away * rest + bump @ anatomy.recess_depth[0],
        "recess_right": 5.6 * anatomy.size * away * rest + bump @ anatomy.recess_depth[1],
        "canal_width": np.interp(s, [level[0], end, end + 60], [11.3, 12.3, 7.0]) * anatomy.size,
        "sac_width": np.maximum(sac_width * anatomy.size, 0.1),
        "front_fat": np.interp(s, [level[3], end, end + 20, end + 45], [0.5, 2.2, 4.0, 5.0]),
        "back_fat": 0.6 + 1.4 * np.interp(anatomy.canal_depth, [7, 13], [0, 1]) @ bump.T,
        "cord": np.interp(s, [anatomy.conus - 30, anatomy.conus - 12, anatomy.conus], [4.4, 3.6, -1.0]),
        "normal_scale": anatomy.size * away,
    }


def _foramen_measures(anatomy: Anatomy, s) -> dict[str, np.ndarray]:
    """The nearest foramen's middle and size, each side; the facet joints' thickness."""
    nearest = np.abs(s[:, None] - anatomy.foramen[:, 2]).argmin(axis=1)
    graded = np.abs(s - anatomy.foramen[nearest, 2]) < 20
    measures = {}
    for side, name in enumerate(("left", "right")):
        measures[f"foramen_depth_{name}"] = np.where(graded, anatomy.foramen_half_depth[side][nearest], 4.8)
        measures[f"foramen_height_{name}"] = np.where(graded, anatomy.foramen_half_height[side][nearest], 8.0)
        recess = np.interp(s, anatomy.level_disc, anatomy.recess_depth[side])
        measures[f"joint_{name}"] = 1 + 0.22 * np.clip(6.0 - recess, 0, 6) / 6  # thick joints narrow it
    thoracic = anatomy.disc[:FIRST_LEVEL] - 5.0
    above = thoracic[np.abs(s[:, None] - thoracic).argmin(axis=1)]
    return {
        **measures,
        "foramen": np.where(s < anatomy.foramen[0, 2] - 18, above, anatomy.foramen[nearest, 2]),
        "foramen_offset": anatomy.foramen[nearest, 0],
        "foramen_back": anatomy.foramen[nearest, 1],
    }
