"""Recipes for a laptop and for the material at hand, and the list of all recipes.

What differs from the published ones, and why: small encoders, a steeper learning rate over few epochs, the
segmenter's loss estimated from a sample of slices, classifiers trained (and validated) on crops at the labelled
points, jittered, as one fold has no points out of fold for the others, heads fitted on cached features. Made for
two CPU cores.
"""

from dataclasses import replace

from lumbar.networks.classifier import ClassifierConfig
from lumbar.networks.detector import DetectorConfig
from lumbar.sites import AXIAL_T2, DESCRIPTION_KEYS, SAGITTAL_T1, SAGITTAL_T2
from training.recipes.families import family_a, family_b
from training.recipes.schema import (
    Affine,
    Brightness,
    ClassifierRecipe,
    CropAugmentation,
    DetectorAugmentation,
    DetectorRecipe,
    NetworkRecipe,
    Recipe,
    Schedule,
)

MILD = DetectorAugmentation(
    affine=Affine(shift=0.0625, scale=0.1, rotate=10, p=0.75),
    brightness=Brightness(brightness=0.1, contrast=0.2, p=0.5),
)
MILDER = replace(MILD, affine=Affine(shift=0.0625, scale=0.05, rotate=5, p=0.5))
MILD_CROPS = CropAugmentation(
    affine=Affine(shift=0.03, scale=0.1, rotate=10, p=0.5),
    brightness=Brightness(brightness=0.1, contrast=0.2, p=0.5),
)


def small_network(description: str, length: int, schedule: Schedule) -> NetworkRecipe:
    """Return a network of about two megabytes in float16."""
    config = DetectorConfig(
        description=description,
        encoder="mobilenetv4_conv_small_050",
        feature_levels=5,
        decoder_channels=(48, 32, 24, 8, 8),
        pointer_encoder="mobilenetv4_conv_small_035",
        pointer="lstm",
        hidden=64,
        max_length=length,
    )
    return NetworkRecipe(
        name=f"small-{DESCRIPTION_KEYS[description]}",
        config=config,
        schedule=schedule,
        augmentation=MILDER,
        xy_target="own",
        stage2_points="labels",
        segmented="peaks",
        start_bias=-6.5,
        imagenet=False,
    )


def small() -> Recipe:
    """Return the shipped bundle's recipe: one set of networks as a fixed and a dynamic detector, two classifiers.

    The segmenter learns from a few slices a step, the pointer, which costs more, from a share of the steps; the
    second sagittal network starts from the first. An axial slice does not tell its level, so that its segmenter
    learns the sides alone; its pointer, which has to count them, goes on alone after the segmenter is done, then on
    more studies too, of several axial series, where it has to choose between slices of one place. Then a wider
    sequence learns, alone, how far each slice of each series is from the place, and in the end all of the pointer
    does; its last epoch is taken, as some six studies of the fold have several series, too few to choose by.
    """
    # The networks' lengths: no phantom has to be squeezed.
    schedule = Schedule(epochs=16, batch=12, lr=3e-3, weight_decay=1e-2, warmup=0.1, evaluate_every=4)
    sagittal_t2 = replace(small_network(SAGITTAL_T2, 24, schedule), slices_per_step=1, pointer_share=0.25)
    sagittal_t1 = replace(
        small_network(SAGITTAL_T1, 24, replace(schedule, epochs=12)),
        slices_per_step=1,
        pointer_share=0.3,
        start_from=sagittal_t2.name,
    )
    axial_start = replace(
        small_network(AXIAL_T2, 112, replace(schedule, epochs=10, batch=4, evaluate_every=2)),
        name="small-axial_t2-start",
        slices_per_step=3,
        pointer_share=0.5,
        xy_target="union_of_levels",
        augmentation=MILD,
    )
    pointer = replace(
        axial_start,
        name="small-axial_t2-pointer",
        schedule=replace(axial_start.schedule, lr=2e-3, evaluate_every=10),
        start_from=axial_start.name,
        slices_per_step=0,
        pointer_share=1.0,
    )
    joined = replace(
        pointer,
        name="small-axial_t2-joined",
        schedule=replace(pointer.schedule, epochs=5, evaluate_every=1),
        start_from=pointer.name,
        extra_studies=True,
    )
    sequence = replace(
        joined,
        name="small-axial_t2-sequence",
        config=replace(joined.config, hidden=256),
        schedule=Schedule(epochs=40, batch=16, lr=3e-3, weight_decay=1e-2, warmup=0.1, evaluate_every=10),
        augmentation=None,
        start_from=joined.name,
        sequence_alone=True,
        label_half_mm=2.5,
    )
    axial = replace(
        joined,
        name=f"small-{DESCRIPTION_KEYS[AXIAL_T2]}",
        config=sequence.config,
        schedule=replace(pointer.schedule, epochs=12, lr=1e-3, evaluate_every=12),
        start_from=sequence.name,
        label_half_mm=sequence.label_half_mm,
    )
    networks = (sagittal_t2, sagittal_t1, axial_start, pointer, joined, sequence, axial)
    names = (sagittal_t2.name, sagittal_t1.name, axial.name)
    step1 = Schedule(epochs=9, batch=2, lr=2e-3, weight_decay=1e-2, warmup=0.1, evaluate_every=3)
    step2 = Schedule(epochs=30, batch=8, lr=1e-3, weight_decay=1e-2, warmup=0.1, evaluate_every=5)
    classifiers = tuple(
        ClassifierRecipe(
            name=f"small-{backbone}-{sequence}",
            config=ClassifierConfig(backbone, sequence, "shift", (0.2, 0.2, 0.2)),
            detector=detector,
            step1=replace(step1, epochs=epochs),
            step2=step2,
            augmentation=replace(MILD_CROPS, z_jitter=1, xy_jitter=3),
            augmentation2=None,
            class_weights=True,
            imagenet=False,
        )
        for backbone, sequence, detector, epochs in (
            ("regnetx_002", "level", "small_fixed", 9),
            ("test_byobnet", "level_skip", "small_dynamic", 13),
        )
    )
    detectors = (
        DetectorRecipe("small_fixed", "fixed", names),
        DetectorRecipe("small_dynamic", "dynamic", names),
    )
    purpose = "small networks from a random start, for a few hundred phantoms on two CPU cores"
    return Recipe("small", purpose, networks, detectors, classifiers, folds=(0,), fold_count=10)


def nfn_small() -> Recipe:
    """Return a recipe for real sagittal T1 slices alone: the foramina's detector and grades, 80/20 by study.

    The detector starts from the small recipe's, which has learnt on phantoms to tell the levels: its folder has
    to lie among this run's networks. From ImageNet, 720 steps left it a level off at half of the foramina. Once the
    pointer knows the slices, the segmenter, which has to tell the levels, goes on with more slices a step.
    """
    lite0 = "tf_efficientnet_lite0"
    schedule = Schedule(epochs=18, batch=12, lr=2e-3, weight_decay=1e-2, warmup=0.1, evaluate_every=6)
    start = replace(
        small_network(SAGITTAL_T1, 38, schedule),
        name="nfn-sagittal_t1-start",
        augmentation=MILD,
        slices_per_step=2,
        pointer_share=0.5,
        start_from=f"small-{DESCRIPTION_KEYS[SAGITTAL_T1]}",
    )
    network = replace(
        start,
        name="nfn-sagittal_t1",
        schedule=replace(schedule, epochs=10, evaluate_every=5),
        slices_per_step=3,
        pointer_share=0.1,
        start_from=start.name,
    )
    classifier = ClassifierRecipe(
        name="nfn-lite0-level",
        config=ClassifierConfig(lite0, "level", "shift", (0.2, 0.2, 0.2)),
        detector="nfn",
        step1=Schedule(epochs=4, batch=8, lr=5e-4, weight_decay=1e-2, warmup=0.1, evaluate_every=2),
        step2=Schedule(epochs=20, batch=16, lr=1e-3, weight_decay=1e-2, warmup=0.1, evaluate_every=5),
        augmentation=replace(
            MILD_CROPS, affine=Affine(shift=0.0625, scale=0.1, rotate=15, p=0.75), z_jitter=1, xy_jitter=2
        ),
        augmentation2=None,
        class_weights=True,
    )
    purpose = "real sagittal T1 slices with their foramina (one description, one detector, one classifier)"
    detector = DetectorRecipe("nfn", "fixed", (network.name,))
    return Recipe("nfn_small", purpose, (start, network), (detector,), (classifier,), folds=(0,))


RECIPES = {recipe.name: recipe for recipe in (family_a(), family_b(), small(), nfn_small())}
