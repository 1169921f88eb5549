"""The worth of the solution's ideas: small networks with and without each, the same seeds on both sides.

    python -m tests.benchmarks.ablations --data runs/phantoms --out runs/ablations --cache runs/cache

gaussian    a detector's labels: fading over neighbouring pixels and slices, against one voxel per point. Sagittal T2.
level_wise  a classifier's second LSTM: along the conditions of a level, against none. Crops at the labelled points,
            jittered.
options     options from other solutions on that classifier, each by itself: nine slices of the canal, its axial
            slices, averaged weights, gradient clipping, mixup, description dropout. Last,
            labels that two classifiers contradict out of fold are left out.
sizes       that classifier's crops: 64 pixels of the grid, against 50 mm and 1.5 times the level's height.
tta         three detectors: each one's crops graded and the probabilities averaged, against their points averaged,
            and against one detector. Detectors and classifiers of the other two; the labelled points elsewhere.

The studies held out are spread evenly. They choose no epoch: the last one counts. Trained networks stay in RUN, so a
killed command goes on. One hour of one core. ``full_size.py`` beside this file has ideas at the solution's size.
"""

import argparse
import logging
import os
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from lumbar.networks.device_choice import choose_device
from tests.benchmarks.ablation_recipes import HELD_OUT, STUDIES, VARIANTS, Bench, lay_out, train, train_judges
from tests.benchmarks.averaging import average
from tests.benchmarks.paired_differences import compare, lines
from training.data.classifier_dataset import seen_labels
from training.data.training_data import DataPaths, read_training_data
from training.evaluation.metric import TERMS, best_constant
from training.fitting.classifier_step import grade_figures
from training.fitting.train_detector import TrainingSetup
from training.json_files import write_strict_json

# By ablation: kind and variant of each training; the solution's variant first.
TRAININGS = {
    "gaussian": (("detector", "expanding"), ("detector", "single_voxel")),
    "level_wise": (("classifier", "level"), ("classifier", "alone")),
    "options": tuple(
        ("classifier", name)
        for name in (
            "level",
            "nine_slices",
            "axial_canal",
            "averaged",
            "clipped",
            "mixed",
            "dropped",
            "contradicted",
        )
    ),
    "sizes": (("classifier", "level"), ("classifier", "fifty_mm"), ("classifier", "levels_high")),
    "tta": (("detector", "expanding"), ("classifier", "level")),
}
POINT_FIGURES = ("error", "z", "y", "x", "beyond_8px")
GRADE_FIGURES = (*TERMS, "mean_loss")


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.ablations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the competition's folder, or phantoms")
    add("--out", type=Path, required=True, metavar="RUN", help="run folder; may exist, goes on")
    add("--cache", type=Path, help="decoded studies, to share between runs (default RUN/cache)")
    add("--seeds", type=int, default=3, help="of each network (default: %(default)s)")
    add("--only", choices=TRAININGS, help="one of the ablations")
    add("--studies", type=int, default=STUDIES, help="the first so many (default: %(default)s)")
    add("--held-out", type=int, default=HELD_OUT, help="of these studies (default: %(default)s)")
    add("--workers", type=int, default=os.cpu_count(), help="trainings side by side (default: %(default)s)")
    add("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    log_progress()
    paths = DataPaths(
        options.data, options.cache or options.out / "cache", None, None, options.workers, strict=False
    )
    setup = TrainingSetup(read_training_data(paths, options.out), choose_device("cpu", "amp"), 0, None)
    bench = lay_out(VARIANTS, setup, options.out, options.studies, options.held_out)
    result = measure(
        bench, [options.only] if options.only else list(TRAININGS), options.seeds, options.workers
    )
    for name, comparison in result.items():
        print("\n".join(lines(name, comparison)))
    if options.json:
        write_strict_json(options.json, result)
    return result


def measure(bench: Bench, names: list[str], seeds: int, workers: int) -> dict[str, dict]:
    """Train the members that the ablations need, side by side, and return their comparisons by name."""
    jobs = list(
        dict.fromkeys(
            (*variant, seed) for name in names for variant in TRAININGS[name] for seed in range(seeds)
        )
    )
    if "options" in names:
        train_judges(bench)
    if workers > 1:
        with ProcessPoolExecutor(workers, get_context("spawn"), start_worker) as pool:
            trained = list(pool.map(train, repeat(bench), *zip(*jobs, strict=True)))
    else:
        trained = [train(bench, *job) for job in jobs]
    by_job = dict(zip(jobs, trained, strict=True))
    result = {}
    for name in names:
        variants = {
            variant: [by_job[kind, variant, seed] for seed in range(seeds)]
            for kind, variant in TRAININGS[name]
        }
        if name == "gaussian":
            result[name] = compare(variants, POINT_FIGURES)
        elif name in ("level_wise", "options", "sizes"):
            beside = {"best constant": constant_figures(bench)}
            result[name] = compare(variants, GRADE_FIGURES) | {"beside": beside}
        else:
            variants, errors = average(
                bench, bench.variants["detector"]["expanding"], bench.variants["classifier"]["level"], seeds
            )
            result[name] = compare(variants, GRADE_FIGURES) | {"beside": errors}
    return result


def constant_figures(bench: Bench, names: tuple[str, ...] = GRADE_FIGURES) -> dict[str, float]:
    """Return figures of the training studies' best constant, which a classifier has to beat."""
    grades = bench.setup.data.grades
    labels = seen_labels(grades.of(bench.held_out), bench.held_out, bench.points)
    constant = best_constant(grades.of(bench.training))
    figures = grade_figures(labels, np.broadcast_to(constant, (len(labels), *constant.shape)))
    return {name: figures[name] for name in names}


def log_progress() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )


def start_worker() -> None:
    """Prepare a process of its own: one thread each gives more than two that wait for each other."""
    torch.set_num_threads(1)
    log_progress()


if __name__ == "__main__":
    main()
