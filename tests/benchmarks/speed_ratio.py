"""Reference and kernel on the same study by turns: how much faster, how near to the floor, how equal."""

from pathlib import Path
from statistics import median

import numpy as np

from lumbar.networks.device_choice import choose_device
from lumbar.sites import LEVELS
from tests.benchmarks.flop_floor import floor_seconds, matrix_rate
from tests.benchmarks.two_processes import STAGES, Measured, Side

PRECISIONS = ("fp32", "amp")
MARGIN = 1e-4  # points are compared in float32 where the best voxel beats the next by more


def compare(root: Path, study_id: str, bundle: Path, device: str, runs: int, image: dict) -> dict[str, dict]:
    """Return ``figures`` by precision, of ``runs`` alternating runs after one to warm up.

    The machine's rate is measured after every round, because it varies from hour to hour; the median counts.
    """
    sides = {"reference": Side("reference", bundle, device, "fp32")}
    sides |= {precision: Side("kernel", bundle, device, precision) for precision in PRECISIONS}
    measured: dict[str, list[Measured]] = {name: [] for name in sides}
    devices = {precision: choose_device(device, precision) for precision in PRECISIONS}
    rates: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    try:
        for _ in range(runs + 1):
            for name, side in sides.items():
                measured[name].append(side.grade(root, study_id))
            for precision, chosen in devices.items():
                rates[precision].append(matrix_rate(chosen))
    finally:
        for side in sides.values():
            side.close()
    reference = measured["reference"][1:]
    return {p: figures(reference, measured[p][1:], p, image, median(rates[p])) for p in PRECISIONS}


def figures(
    reference: list[Measured], kernel: list[Measured], precision: str, image: dict, rate: float
) -> dict:
    """Return the figures of one precision; seconds are medians over the runs."""
    ratios = [total(r) / total(k) for r, k in zip(reference, kernel, strict=True)]
    floor = floor_seconds(kernel[-1].counts, image, rate)
    stages = {
        stage: {
            "reference_s": median(r.seconds[stage] for r in reference),
            "kernel_s": median(k.seconds[stage] for k in kernel),
        }
        for stage in STAGES
    }
    for stage, least in floor.items():
        stages[stage] |= {"floor_s": least, "times_floor": stages[stage]["kernel_s"] / least}
    return {
        "matrix_flops_a_second": rate,
        "ratio": median(ratios),
        "ratio_spread": [min(ratios), max(ratios)],
        "reference_s": median(map(total, reference)),
        "kernel_s": median(map(total, kernel)),
        "floor_s": sum(floor.values()),
        "points_equal": points_equal(reference[-1], kernel[-1], precision),
        "max_probability_difference": probability_difference(reference[-1], kernel[-1]),
        "stages": stages,
        "counts": kernel[-1].counts,
        "peak_memory_mb": {"reference": reference[-1].peak_mb, "kernel": kernel[-1].peak_mb},
    }


def total(measured: Measured) -> float:
    return sum(measured.seconds.values())


def points_equal(reference: Measured, kernel: Measured, precision: str) -> float:
    """Return the share of points that agree: in float32 exactly, of those that are clear; with AMP within
    one pixel on the same slice, of all that were searched for."""
    apart = np.abs(reference.points - kernel.points)
    if precision == "fp32":
        compared, equal = reference.margins > MARGIN, (apart == 0).all(axis=1)
    else:
        compared, equal = reference.searched, within_a_pixel(apart)
    return float(equal[compared].mean()) if compared.any() else float("nan")


def within_a_pixel(apart: np.ndarray) -> np.ndarray:
    """Return for differences (n, 3) whether the points lie on one slice and at most a pixel apart, (n,)."""
    return (apart[:, 0] == 0) & (apart[:, 1:] <= 1).all(axis=1)


def probability_difference(reference: Measured, kernel: Measured) -> float | None:
    """Return the largest difference at levels with five agreeing points, or None if there is no such level.

    The classifier reads along levels, so one differing crop moves its whole level.
    """
    equal = (reference.points == kernel.points).all(axis=1).reshape(-1, len(LEVELS)).all(axis=0)
    apart = np.abs(reference.probabilities - kernel.probabilities).reshape(-1, len(LEVELS), 3)
    return float(apart[:, equal].max()) if equal.any() else None
