"""The small networks of the ablations, how each is trained, and on which studies."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lumbar.networks.architecture import ClassifierConfig
from lumbar.sites import AXIAL_T2, SAGITTAL_T2
from tests.benchmarks.true_points import true_points
from training.errors import LabelError
from training.fitting.run_file import RUN_FILE, check_same_run
from training.fitting.train_classifier import PointsByStudy, train_classifier
from training.fitting.train_detector import TrainingSetup, train_network
from training.json_files import write_strict_json
from training.recipes.augmentation import NO_AFFINE
from training.recipes.reading import read_recipe
from training.recipes.schema import ClassifierRecipe, LabelNoise, NetworkRecipe, Schedule

Variants = dict[str, dict[str, NetworkRecipe] | dict[str, ClassifierRecipe]]
STUDIES, HELD_OUT = 160, 40
# Evaluated once, after the last epoch.
DETECTING = Schedule(epochs=20, batch=12, lr=3e-3, weight_decay=1e-2, warmup=0.1, evaluate_every=20)
GRADING = Schedule(epochs=8, batch=2, lr=2e-3, weight_decay=1e-2, warmup=0.1, evaluate_every=8)
SMALL = read_recipe("small")
SAGITTAL = next(network for network in SMALL.networks if network.config.description == SAGITTAL_T2)
JUDGES = "judges"
NETWORK = replace(
    SAGITTAL,
    name="ablation",
    schedule=DETECTING,
    augmentation=replace(SAGITTAL.augmentation, affine=NO_AFFINE),  # a warp would smear a single voxel
)
CLASSIFIER = ClassifierRecipe(
    name="ablation",
    config=ClassifierConfig("test_byobnet", "level", "shift", (0.2, 0.2, 0.2)),
    detector="labels",
    step1=GRADING,
    step2=None,
    augmentation=replace(SMALL.classifiers[0].augmentation, xy_jitter=4),  # about a detector's errors
    augmentation2=None,
    class_weights=True,
    imagenet=False,
)


def with_config(**options) -> ClassifierRecipe:
    """Return the classifier's recipe with options of its architecture and crops."""
    return replace(CLASSIFIER, config=replace(CLASSIFIER.config, **options))


def with_schedule(**options) -> ClassifierRecipe:
    """Return the classifier's recipe with options of its schedule."""
    return replace(CLASSIFIER, step1=replace(GRADING, **options))


def with_augmentation(**options) -> ClassifierRecipe:
    """Return the classifier's recipe with options of its augmentation."""
    return replace(CLASSIFIER, augmentation=replace(CLASSIFIER.augmentation, **options))


VARIANTS: Variants = {
    "detector": {
        "expanding": NETWORK,
        # A pixel away exp(-50) is left; each variant starts near the logit of its share of marked pixels.
        "single_voxel": replace(NETWORK, sigma=0.1, reach=0, start_bias=-11.0),
    },
    "classifier": {
        "level": CLASSIFIER,
        "alone": with_config(sequence="alone"),
        "nine_slices": with_config(canal_margin=2),
        "axial_canal": with_config(canal_from=AXIAL_T2),
        "fifty_mm": with_config(window_mm=50.0),
        "levels_high": with_config(window_levels=1.5),
        "averaged": with_schedule(ema_decay=0.99),
        "clipped": with_schedule(clip_grad_norm=1.0),
        "mixed": with_augmentation(mixup=0.3, mixup_alpha=0.3),
        "dropped": with_augmentation(description_dropout=0.1),
        "contradicted": replace(CLASSIFIER, label_noise=LabelNoise(judged_by=(JUDGES,))),
    },
}


@dataclass(frozen=True)
class Bench:
    """The inputs that all trainings share.

    Attributes:
        variants: Recipes by kind, "detector" or "classifier", and by name.
        points: The labelled points, on which classifiers are trained.
        out: RUN.
    """

    variants: Variants
    setup: TrainingSetup
    training: list[str]
    held_out: list[str]
    points: PointsByStudy
    out: Path

    def folder(self, kind: str, variant: str, seed: int) -> Path:
        return self.out / kind / variant / f"seed{seed}"


def lay_out(variants: Variants, setup: TrainingSetup, out: Path, count: int, held_out_count: int) -> Bench:
    """Hold out studies, evenly spread; LabelError if the folder has other trainings."""
    studies = list(setup.data.study_ids[:count])
    if not 0 < held_out_count < len(studies):
        raise LabelError(
            f"--held-out: got {held_out_count}, expected 1 to {len(studies) - 1} of {len(studies)} studies"
        )
    held_out = [studies[number * len(studies) // held_out_count] for number in range(held_out_count)]
    sizes = {
        kind: {variant: asdict(recipe) for variant, recipe in recipes.items()}
        for kind, recipes in variants.items()
    }
    data = {"data": setup.data.fingerprint, "studies": studies, "held_out": held_out}
    identity = json.loads(json.dumps({"sizes": sizes, **data}))
    check_same_run(out, identity)
    write_strict_json(out / RUN_FILE, identity)
    training = [study for study in studies if study not in held_out]
    return Bench(variants, setup, training, held_out, true_points(setup.data), out)


def train(bench: Bench, kind: str, variant: str, seed: int) -> dict[str, float]:
    """Train one network, if that is not done, and return its figures on the held-out studies."""
    recipe, folder = replace(bench.variants[kind][variant], seed=seed), bench.folder(kind, variant, seed)
    if kind == "detector":
        figures = train_network(recipe, bench.training, bench.held_out, bench.setup, folder)["best"]
    else:
        result = train_classifier(recipe, bench.training, bench.held_out, bench.points, bench.setup, folder)
        figures = result["figures"]
    # A figure that does not exist is null in a result that is read again.
    return {name: float("nan") if value is None else value for name, value in figures.items()}


def train_judges(bench: Bench) -> None:
    """Train the classifiers that contradict labels, out of fold: two, each on half of the training studies."""
    halves = bench.training[::2], bench.training[1::2]
    for fold, half in enumerate(halves):
        folder = bench.out / "classifier" / JUDGES / f"fold{fold}"
        train_classifier(
            bench.variants["classifier"]["level"], halves[1 - fold], half, bench.points, bench.setup, folder
        )
