"""Which part of a wide appearance carries to real slices: a network learns from phantoms with and without each.

    python -m tests.benchmarks.appearance --real DIR --out RUN --bundle BUNDLE

The sagittal T1 network of BUNDLE learns on, for a few epochs, as the recipe ``wide_sagittal`` shows it wide views:

| variant | phantoms |
|---|---|
| wide | wide contrast, view and shape, in random looks (``augmentation.appearance``) |
| -contrast | contrasts as scanners have them |
| -view | fields of view, stacks and artefacts as scanners have them |
| -shape | spines and trunks as most people have them |
| -looks | the phantoms of ``wide``, without random looks |

It is measured on the first real studies that fold 0 of the recipe ``nfn_small`` leaves out. Nothing is chosen by them:
the last epoch counts. Trained networks stay in RUN, so a killed command goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from lumbar.bundle.loading import load_bundle
from lumbar.networks.device_choice import choose_device
from lumbar.sites import SAGITTAL_T1
from phantom import WIDE_PARTS, write_phantoms
from tests.benchmarks.__main__ import REPOSITORY
from tests.benchmarks.ablations import POINT_FIGURES, log_progress
from tests.benchmarks.paired_differences import compare, lines
from tests.benchmarks.unseen_studies import held_out_studies, lay_out
from training.data.training_data import DataPaths, TrainingData, read_training_data
from training.fitting.loop import BEST, save_tensors
from training.fitting.run_file import recipe_identity
from training.fitting.train_detector import TrainingSetup, evaluate_network, train_network
from training.json_files import write_strict_json
from training.recipes.reading import read_recipe
from training.recipes.schema import NetworkRecipe

# By variant: the phantoms' appearance.
APPEARANCES = {"wide": "wide"} | {
    f"-{part}": ",".join(other for other in WIDE_PARTS if other != part) for part in WIDE_PARTS
}
SEED = 301  # of the phantoms
NETWORK = "wide_t1-sagittal_t1-views"
EPOCHS = 5
START = "start"


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.appearance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--real", type=Path, required=True, help="labelled real studies with sagittal T1 slices")
    add("--out", type=Path, required=True, metavar="RUN", help="run folder; may exist, goes on")
    add(
        "--bundle",
        type=Path,
        default=REPOSITORY,
        help="where the network comes from (default: the shipped one)",
    )
    add("--phantoms", type=int, default=60, help="of each appearance (default: %(default)s)")
    add("--studies", type=int, default=40, help="real ones (default: %(default)s)")
    add("--seeds", type=int, default=3, help="of each training (default: %(default)s)")
    add("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    log_progress()
    comparison = measure(options)
    print("\n".join(lines("appearance", comparison)))
    if options.json:
        write_strict_json(options.json, comparison)
    return comparison


def measure(options: argparse.Namespace) -> dict:
    """Draw, train and measure; trainings in RUN are not repeated. Return the comparison, the start's figures beside."""
    recipe = network_recipe()
    real = options.out / "real"
    if not real.is_dir():
        left_out = held_out_studies(options.real, recipe_identity(read_recipe("nfn_small"))["recipe"])
        lay_out(options.real, set(left_out[: options.studies]), real)
    setup = TrainingSetup(read(real), choose_device("cpu", "amp"), workers=0, imagenet=None)
    start = load_bundle(options.bundle).detectors[0].networks[SAGITTAL_T1]
    studies = list(setup.data.study_ids)
    figures: dict[str, list[dict[str, float]]] = {}
    plain = recipe.augmentation and replace(recipe.augmentation, appearance=None)
    for variant in (*APPEARANCES, "-looks"):
        learning = recipe if variant != "-looks" else replace(recipe, augmentation=plain)
        learnt = drawn(options.out, APPEARANCES.get(variant, "wide"), options.phantoms)
        for seed in range(options.seeds):
            folder = options.out / variant / f"seed{seed}"
            first = options.out / START / folder.name / BEST
            first.parent.mkdir(parents=True, exist_ok=True)
            save_tensors(start, first)
            result = train_network(
                replace(learning, seed=seed),
                [],
                studies,
                replace(setup, extra_data=learnt),
                folder,
            )
            figures.setdefault(variant, []).append(result["best"])
    before = evaluate_network(recipe, start, studies, setup, options.out / "start.png")
    beside = {START: {name: before[name] for name in POINT_FIGURES}}
    return compare(figures, POINT_FIGURES) | {"beside": beside}


def network_recipe() -> NetworkRecipe:
    """Return the training that all variants share: short, and the pointer learns in few of its steps."""
    recipe = next(network for network in read_recipe("wide_sagittal").networks if network.name == NETWORK)
    schedule = replace(recipe.schedule, epochs=EPOCHS, evaluate_every=EPOCHS)
    return replace(recipe, schedule=schedule, start_from=START, pointer_share=0.15, extra_studies=True)


def drawn(out: Path, appearance: str, studies: int) -> TrainingData:
    """Return sagittal T1 phantoms of an appearance, drawn if they are not there."""
    folder = out / "phantoms" / appearance
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_phantoms(folder, studies, SEED, appearance=appearance, descriptions=[SAGITTAL_T1])
    return read(folder)


def read(folder: Path) -> TrainingData:
    """Decode a labelled folder beside it."""
    cache = folder.with_name(f"{folder.name}-cache")
    return read_training_data(DataPaths(folder, cache, None, None, 0, strict=False), folder)


if __name__ == "__main__":
    main()
