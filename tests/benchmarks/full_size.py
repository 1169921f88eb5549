"""Ideas of the solution's classifiers at their full size, each on and off with the same seeds. For a card.

    python -m tests.benchmarks.full_size --data DIR --out RUN --imagenet hub

With ``--device cpu --seeds 1 --studies 12 --held-out 4 --epochs 1`` it is rehearsed on a CPU, in a few minutes. The
classifier is the first of the recipe ``family_a``:

two_steps   the solution: everything is trained to rank, then fresh heads for the metric. Every batch has CutMix.
            Sequences go along the conditions of a level.
one_step    everything is trained for the metric, in the first step's epochs.
no_cutmix   two_steps without CutMix.
all_sites   two_steps with sequences along all 25 sites.

Crops lie at the labelled points. In training they are jittered, which stands for a detector's errors. The studies held
out are spread evenly and choose no epoch: the last one counts. All variants of a seed come before the next seed. The
table is printed, and written to RUN/figures.json, after each seed. A killed command goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from lumbar.networks.device_choice import choose_device
from lumbar.sites import CONDITION_SITES
from tests.benchmarks.ablation_recipes import Bench, lay_out, train
from tests.benchmarks.ablations import GRADE_FIGURES, constant_figures, log_progress
from tests.benchmarks.paired_differences import compare, lines
from training.data.training_data import DataPaths, read_training_data
from training.fitting.train_detector import TrainingSetup
from training.json_files import write_strict_json
from training.recipes.reading import read_recipe, with_epochs
from training.recipes.schema import ClassifierRecipe

FIGURES = (*GRADE_FIGURES, *(f"auc_{condition}" for condition in CONDITION_SITES))
RECIPE, KIND = "family_a", "classifier"
JITTER = {"z_jitter": 1, "xy_jitter": 3}  # a detector's errors: that of nfn_plus is 0.2 slices, 2.6 px off


def main(arguments: list[str] | None = None) -> dict:
    options = parse(arguments)
    log_progress()
    device = choose_device(options.device, "amp")
    cache = options.cache or options.out / "cache"
    paths = DataPaths(options.data, cache, None, None, options.loaders, strict=False)
    data = read_training_data(paths, options.out)
    setup = TrainingSetup(data, device, options.loaders, options.imagenet)
    count = options.studies or len(data.study_ids)
    bench = lay_out({KIND: variants(options.epochs)}, setup, options.out, count, options.held_out)
    print(f"device {device.torch} ({device.reason}), {len(bench.training)} studies to train on", flush=True)
    figures: dict[str, list[dict]] = {name: [] for name in bench.variants[KIND]}
    result: dict = {}
    for seed in range(options.seeds):
        for name in figures:
            figures[name].append(train(bench, KIND, name, seed))
        result = compared(bench, figures)
        print("\n".join(lines(f"{seed + 1} of {options.seeds} seeds", result)), flush=True)
        write_strict_json(options.out / "figures.json", result)
    return result


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.full_size",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="studies with points and grades, as the competition's")
    add("--out", type=Path, required=True, metavar="RUN", help="run folder; may exist, goes on")
    add("--cache", type=Path, help="decoded studies, to share between runs (default RUN/cache)")
    add("--imagenet", metavar="FOLDER|hub", help="ImageNet weights (default: random start)")
    add("--device", choices=("cuda", "cpu"), default="cuda", help="default: %(default)s")
    add("--seeds", type=int, default=3, help="of each variant (default: %(default)s)")
    add("--studies", type=int, help="the first so many (default: all)")
    add("--held-out", type=int, default=240, help="of these studies (default: %(default)s)")
    add("--epochs", type=int, help="of each step (default: the recipe's)")
    add("--loaders", type=int, default=4, help="processes that decode and load (default: %(default)s)")
    return parser.parse_args(arguments)


def variants(epochs: int | None) -> dict[str, ClassifierRecipe]:
    """Return the classifiers by name. Each step has the epochs of the recipe, or so many."""
    recipe = read_recipe(RECIPE)
    one = (recipe if epochs is None else with_epochs(recipe, epochs)).classifiers[0]
    solution = replace(
        one,
        step1=replace(one.step1, evaluate_every=one.step1.epochs),
        step2=replace(one.step2, evaluate_every=one.step2.epochs),
        augmentation=replace(one.augmentation, **JITTER),
        augmentation2=replace(one.augmentation2, **JITTER),
    )
    return {
        "two_steps": solution,
        "one_step": replace(solution, class_weights=True, step2=None, augmentation2=None),
        "no_cutmix": replace(
            solution,
            augmentation=replace(solution.augmentation, cutmix=0.0),
            augmentation2=replace(solution.augmentation2, cutmix=0.0),
        ),
        "all_sites": replace(solution, config=replace(solution.config, sequence="all")),
    }


def compared(bench: Bench, figures: dict[str, list[dict]]) -> dict:
    """Return the comparison with the training studies' constant beside it, of the conditions that are labelled."""
    constant = constant_figures(bench, FIGURES)
    known = {name: value for name, value in constant.items() if not np.isnan(value)}
    return compare(figures, tuple(known)) | {"beside": {"best constant": known}}


if __name__ == "__main__":
    main()
