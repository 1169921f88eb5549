"""The cost of a recipe's training: parameters, FLOPs, and from them GPU hours, memory and disk. Nothing is run.

    python -m tests.benchmarks.training_cost

* Counted: the FLOPs of one sample, forward and backward, through each network. A multiply-add counts as two.
* Assumed: the studies and slices below.
* Estimated, not measured: hours, by a sustained rate that small and grouped convolutions may not reach.
* Estimated, not measured: memory, as 16 bytes per parameter (float32, its gradient, AdamW's two moments) and half of
  the activations that autograd keeps in float32, because AMP halves most.
* Included: evaluations, and the points out of fold with every slice segmented.
* Left out: decoding, augmentation, ImageNet weights, and the pre-training on external images (under 1%).
"""

import argparse
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path

from lumbar.grids import CROP_GRID, CROP_OFFSETS, DETECTOR_GRID
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SITES
from tests.benchmarks.training_flops import classifier_passes, detector_passes
from training.json_files import write_strict_json
from training.recipes.reading import read_recipe
from training.recipes.schema import ClassifierRecipe, NetworkRecipe, Recipe, Schedule

NAMES = ("small", "family_a", "family_b")
STUDIES = 1975  # of the competition's training set
SLICES = {SAGITTAL_T2: 25, SAGITTAL_T1: 25, AXIAL_T2: 60}  # a study, about
MARKED = 25  # slices with a label: five levels, five slices each
IMAGES = len(SITES) * len(CROP_OFFSETS)  # a study's crops
RATES = {
    "T4": 15e12,
    "A100": 100e12,
}  # FLOP/s sustained in float16: a quarter and a third of the data sheets'


@dataclass(frozen=True)
class Price:
    """The price of one member.

    Attributes:
        flops: Of all its trainings.
        memory: Bytes on the card during a step.
        weights: Bytes in float16.
    """

    member: str
    trainings: int
    parameters: int
    step_flops: float
    steps: int
    flops: float
    memory: float
    weights: float


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.training_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    result = {name: recipe_price(read_recipe(name)) for name in NAMES}
    for name, price in result.items():
        print("\n".join(lines(name, price)))
    if options.json:
        write_strict_json(options.json, result)
    return result


def recipe_price(recipe: Recipe) -> dict:
    """Return the members' prices and the recipe's sums."""
    members = [network_price(network, recipe) for network in recipe.networks]
    members += [classifier_price(classifier, recipe) for classifier in recipe.classifiers]
    flops = sum(member.flops for member in members)
    shipped = {name for detector in recipe.detectors for name in detector.networks}
    shipped |= {classifier.name for classifier in recipe.classifiers}
    grids = STUDIES * sum(SLICES.values()) * (DETECTOR_GRID**2 + CROP_GRID**2)
    return {
        "members": [asdict(member) for member in members],
        "flops": flops,
        "hours": {card: flops / rate / 3600 for card, rate in RATES.items()},
        "memory": max(member.memory for member in members),
        "weights": sum(member.weights for member in members if member.member in shipped),
        "cache": grids,
    }


def network_price(recipe: NetworkRecipe, whole: Recipe) -> Price:
    """Price a network of stage 1: all slices through the pointer, those that the loss counts through the segmenter."""
    passes, schedule = detector_passes(recipe.config), recipe.schedule
    slices = min(SLICES[recipe.config.description], recipe.config.max_length)
    segmented = slices if recipe.slices_per_step is None else min(recipe.slices_per_step, slices)
    if recipe.segmented != "all" or recipe.xy_target == "union_of_levels":
        segmented = min(segmented, MARKED)
    parts = (passes.segmenter.times(segmented), passes.pointer.times(slices), passes.sequence)
    searched = slices * (passes.segmenter.forward + passes.pointer.forward) + passes.sequence.forward
    training, held_out = split(whole)
    volume = parts[0].both + recipe.pointer_share * (parts[1].both + parts[2].both)
    looks = evaluations(schedule) + 1  # and once for the points
    flops = schedule.epochs * training * volume + looks * held_out * searched
    kept = sum(part.kept for part in parts)
    return priced(recipe, whole, schedule, passes.parameters, volume, flops, kept)


def classifier_price(recipe: ClassifierRecipe, whole: Recipe) -> Price:
    """Price a classifier: step 1 whole; step 2 forward, its heads for nothing, once if nothing is augmented."""
    passes, schedule = classifier_passes(recipe.config), recipe.step1
    images = passes.image.times(IMAGES)
    study, graded = images.both + passes.study.both, images.forward + passes.study.forward
    training, held_out = split(whole)
    seen = schedule.epochs * training * study + evaluations(schedule) * held_out * graded
    if recipe.step2 is not None:
        epochs = recipe.step2.epochs if recipe.augmentation2 else 1
        seen += (epochs * training + evaluations(recipe.step2) * held_out) * graded
    kept = images.kept + passes.study.kept
    return priced(recipe, whole, schedule, passes.parameters, study, seen, kept)


def priced(
    recipe: NetworkRecipe | ClassifierRecipe,
    whole: Recipe,
    schedule: Schedule,
    parameters: int,
    sample: float,
    flops: float,
    kept: float,
) -> Price:
    """Return a member's price.

    Args:
        sample: FLOPs of a sample in training.
        flops: FLOPs of a fold.
        kept: Bytes per sample.
    """
    folds = len(whole.folds)
    return Price(
        member=recipe.name,
        trainings=folds,
        parameters=parameters,
        step_flops=schedule.batch * sample,
        steps=ceil(split(whole)[0] / schedule.batch) * schedule.epochs,
        flops=folds * flops,
        memory=16 * parameters + schedule.batch * kept / 2,
        weights=2 * parameters * folds,
    )


def split(recipe: Recipe) -> tuple[int, int]:
    """Return how many studies a fold trains on and holds out."""
    held_out = round(STUDIES / recipe.fold_count)
    return STUDIES - held_out, held_out


def evaluations(schedule: Schedule) -> int:
    return ceil(schedule.epochs / schedule.evaluate_every)


def lines(name: str, price: dict) -> list[str]:
    head = f"{name:36}{'trained':>8}{'M param':>9}{'GFLOP/step':>12}{'steps':>8}{'PFLOP all':>12}{'GB on card':>12}"
    rows = [
        f"{m['member']:36}{m['trainings']:8}{m['parameters'] / 1e6:9.2f}{m['step_flops'] / 1e9:12.1f}"
        f"{m['steps']:8}{m['flops'] / 1e15:12.1f}{m['memory'] / 1e9:12.2f}"
        for m in price["members"]
    ]
    hours = ", ".join(
        f"{card} {price['hours'][card]:.2g} h at {rate / 1e12:.0f} TFLOP/s" for card, rate in RATES.items()
    )
    return [
        head,
        *rows,
        f"  together {price['flops'] / 1e15:.0f} PFLOP; estimated, not measured: {hours}",
        f"  largest step {price['memory'] / 1e9:.1f} GB; weights {price['weights'] / 1e9:.2f} GB in float16; "
        f"decoded studies {price['cache'] / 1e9:.0f} GB",
    ]


if __name__ == "__main__":
    main()
