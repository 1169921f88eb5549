"""The joint choice of levels, plainly: all peaks of the whole heatmap, all pairs of left and right, all steps.

Written from the option's description, not from its code; only the numbers of ``level_prior`` are repeated here.
"""

import numpy as np

OFFSETS = (-2, -1, 0, 1, 2)
PEAKS, BLOCK, NEAR = 4, 8, 8.0


def joint_points(
    heatmap: np.ndarray, frame: np.ndarray, xy: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the points (class, 5, 3) of all levels chosen together, their values and their margins (class, 5).

    heatmap: (class, S, row, column) of the real slices. frame: (S, 3, 3), a slice's (lateral, forwards, height) in mm
    of (1, row, column). A margin is the lead over the next best chain, or over the next best pixel of the block.
    """
    peaks = [
        find_peaks(volume) for volume in heatmap
    ]  # of each class, rows (slice, row, column, value, lead)
    places = [np.array([frame[int(z)] @ (1, y, x) for z, y, x, *_ in own]) for own in peaks]
    scores = [np.log(np.maximum(own[:, 3], np.finfo(np.float32).tiny)) for own in peaks]
    through = chains(scores, places)
    points, values, margins = [], [], []
    for own, best in zip(peaks, through, strict=True):
        order = np.argsort(-best, kind="stable")
        lead = best[order[0]] - best[order[1]] if len(order) > 1 else np.inf
        z, y, x = own[order[0]][:3]
        near = [p for p in own if abs(p[0] - z) <= 1 and np.hypot(p[1] - y, p[2] - x) <= NEAR]
        near.sort(key=lambda peak: -peak[3])
        if len(near) > 1:
            lead = min(lead, near[0][3] - near[1][3])
        z, y, x, value, pixel_lead = near[0]
        for offset in OFFSETS:
            row = (y, x, value, pixel_lead)
            if xy == "dynamic" and offset:
                row = near_peak(own, min(max(z + offset, 0), len(frame) - 1), row, z)
            points.append((z + offset, *row[:2]))
            values.append(row[2])
            margins.append(min(lead, row[3]))
    shape = (len(peaks), len(OFFSETS))
    points = np.array(points).astype(int).reshape(*shape, 3)
    return points, np.reshape(values, shape), np.reshape(margins, shape)


def near_peak(peaks: np.ndarray, slice_: float, chosen: tuple, chosen_slice: float) -> tuple:
    """Return row, column, value and margin of a slice's largest peak near the chosen one, or the chosen place."""
    y, x, _, lead = chosen
    if slice_ == chosen_slice:
        return chosen
    near = [p for p in peaks if p[0] == slice_ and np.hypot(p[1] - y, p[2] - x) <= NEAR and p[3] > 0]
    near.sort(key=lambda peak: -peak[3])
    if not near:
        return y, x, 0.0, lead
    gap = near[0][3] - near[1][3] if len(near) > 1 else np.inf
    return near[0][1], near[0][2], near[0][3], min(lead, gap, near[0][4])


def find_peaks(volume: np.ndarray) -> np.ndarray:
    """Return the four largest peaks of each slice (S, row, column): rows (slice, row, column, value, lead)."""
    found = []
    for z, image in enumerate(volume):
        if not image.any():
            continue
        rows, columns = image.shape[0] // BLOCK, image.shape[1] // BLOCK
        largest = image.reshape(rows, BLOCK, columns, BLOCK).max(axis=(1, 3))
        own = []
        for r in range(rows):
            for c in range(columns):
                around = largest[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2]
                if largest[r, c] == around.max():
                    block = image[r * BLOCK : (r + 1) * BLOCK, c * BLOCK : (c + 1) * BLOCK]
                    y, x = np.unravel_index(block.argmax(), block.shape)
                    second, first = np.sort(block.ravel())[-2:]
                    own.append((z, r * BLOCK + y, c * BLOCK + x, first, first - second))
        own.sort(key=lambda peak: -peak[3])
        found += own[:PEAKS]
    return np.array(found)


def chains(scores: list[np.ndarray], places: list[np.ndarray]) -> list[np.ndarray]:
    """Return, for each class, the score of the best chain through each of its candidates."""
    if len(scores) == 5:  # one candidate on the right that fits everything
        scores = [*scores, *[np.zeros(1)] * 5]
    states, steps = [], []
    for level in range(5):
        left, right = scores[level], scores[5 + level]
        pairs = left[:, None] + right[None]
        if len(places) == 10:
            pairs = pairs + [[beside(a, b) for b in places[5 + level]] for a in places[level]]
        states.append(pairs.ravel())
        if level:
            left_step = np.array([[step(a, b) for b in places[level]] for a in places[level - 1]])
            right_step = np.zeros((1, 1))
            if len(places) == 10:
                right_step = np.array([[step(a, b) for b in places[5 + level]] for a in places[4 + level]])
            both = left_step[:, None, :, None] + right_step[None, :, None, :]
            steps.append(both.reshape(len(states[-2]), len(states[-1])))
    down, up = [states[0]], [states[4]]
    for level in range(1, 5):
        down.append((down[-1][:, None] + steps[level - 1]).max(axis=0) + states[level])
        up.insert(0, (up[0][None] + steps[4 - level]).max(axis=1) + states[4 - level])
    through = [
        (d + u - own).reshape(len(scores[level]), -1)
        for level, (d, u, own) in enumerate(zip(down, up, states, strict=True))
    ]
    best = [pairs.max(axis=1) for pairs in through] + [pairs.max(axis=0) for pairs in through]
    return best[: len(places)]


def step(upper: np.ndarray, lower: np.ndarray) -> float:
    """Return the score of two places of one side at neighbouring levels."""
    lateral, _, height = lower - upper
    if height >= 0:
        return np.log(1e-4)
    length = np.linalg.norm(lower - upper)
    return max(-((np.log(length / 31) / 0.17) ** 2) / 2 - (lateral / 6) ** 2 / 2, np.log(1e-4))


def beside(left: np.ndarray, right: np.ndarray) -> float:
    """Return the score of the left and the right place of one level."""
    lateral, forwards, height = left - right
    score = -(((lateral - 32) / 8) ** 2) / 2 - (forwards / 8) ** 2 / 2 - (height / 8) ** 2 / 2
    return max(score, np.log(1e-4))
