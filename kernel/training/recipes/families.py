"""What is trained and how, as data: the published ensembles and small ones. A variant is a value here.

Numbers are of the solution's sections 3 and 5 where it has them; what the small recipes change is said
beside it.
"""

from dataclasses import replace

from lumbar.networks.classifier import ClassifierConfig
from lumbar.networks.detector import DetectorConfig
from lumbar.networks.families import FAMILY_A, FAMILY_B
from lumbar.sites import AXIAL_T2, DESCRIPTION_KEYS, DESCRIPTIONS
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

PAPER_DETECTOR_AUGMENTATION = DetectorAugmentation(
    affine=Affine(shift=0.0625, scale=0.1, rotate=45, p=0.75),
    brightness=Brightness(brightness=0.2, contrast=0.2, p=0.75),
)
PAPER_CROP_AUGMENTATION = CropAugmentation(
    flip_horizontal=0.5,
    flip_vertical=0.5,
    affine=Affine(shift=0.0625, scale=0.1, rotate=45, p=0.75),
    brightness=Brightness(brightness=0.2, contrast=0.2, p=0.75),
    cutmix=1.0,
)
DETECTOR_SCHEDULE = Schedule(epochs=40, batch=4, lr=1e-4, weight_decay=1e-2, warmup=0.1, evaluate_every=5)
PRETRAINING = 10  # epochs on external sagittal images, where there are some; the number is ours
STEP1 = Schedule(epochs=20, batch=4, lr=1e-4, weight_decay=1e-2, warmup=0.1, evaluate_every=1)
STEP2 = replace(STEP1, epochs=10)


def detector_config(description: str, encoder: str, channels: tuple[int, ...], length: int) -> DetectorConfig:
    """Return a network of both families' make: a U-Net on ``encoder`` and an LSTM pointer."""
    return DetectorConfig(
        description=description,
        encoder=encoder,
        feature_levels=len(channels),
        decoder_channels=channels,
        pointer_encoder="regnety_002",
        pointer="lstm",
        hidden=256,
        max_length=length,
    )


def family_a() -> Recipe:
    """Return family A: one fixed detector, three backbones, five folds (solution, sections 3, 5, 6)."""
    networks = tuple(
        NetworkRecipe(
            name=f"a-{DESCRIPTION_KEYS[d]}",
            config=detector_config(d, "regnety_002", (256, 128, 64, 32, 16), FAMILY_A.max_length[d]),
            schedule=DETECTOR_SCHEDULE,
            augmentation=PAPER_DETECTOR_AUGMENTATION,
            xy_target="own",
            stage2_points="middle_epoch",
            pretraining=0 if d == AXIAL_T2 else PRETRAINING,
        )
        for d in DESCRIPTIONS
    )
    classifiers = tuple(
        ClassifierRecipe(
            name=f"a-{backbone}",
            config=ClassifierConfig(backbone, "level", FAMILY_A.border, (0.2, 0.2, 0.2)),
            detector="family_a",
            step1=STEP1,
            step2=STEP2,
            augmentation=PAPER_CROP_AUGMENTATION,
            augmentation2=PAPER_CROP_AUGMENTATION,
        )
        for backbone in ("convnext_tiny", "caformer_s18", "pvt_v2_b3")
    )
    detector = DetectorRecipe("family_a", FAMILY_A.xy, tuple(n.name for n in networks))
    return Recipe(
        "family_a", "the published family A: 3 backbones x 5 folds", networks, (detector,), classifiers
    )


def family_b() -> Recipe:
    """Return family B: one dynamic detector, three sequence axes, two seeds, five folds."""
    networks = []
    for d in DESCRIPTIONS:
        config = detector_config(d, "tf_efficientnet_b5", (256, 128, 64, 32), FAMILY_B.max_length[d])
        if d == AXIAL_T2:
            config = detector_config(d, "regnety_002", (256, 128, 64, 32, 16), FAMILY_B.max_length[d])
            config = replace(config, pointer="transformer")
        networks.append(
            NetworkRecipe(
                name=f"b-{DESCRIPTION_KEYS[d]}",
                config=config,
                schedule=replace(DETECTOR_SCHEDULE, batch=2),
                augmentation=PAPER_DETECTOR_AUGMENTATION,
                xy_target="union_of_levels" if d == AXIAL_T2 else "own",
                stage2_points="first_fold" if d == AXIAL_T2 else "out_of_fold",
                pretraining=0 if d == AXIAL_T2 else PRETRAINING,
            )
        )
    classifiers = tuple(
        ClassifierRecipe(
            name=f"b-convnext_small-{sequence}-seed{seed}",
            config=ClassifierConfig("convnext_small", sequence, FAMILY_B.border, (0.4, 0.2, 0.4)),
            detector="family_b",
            step1=STEP1,
            step2=STEP2,
            augmentation=PAPER_CROP_AUGMENTATION,
            augmentation2=PAPER_CROP_AUGMENTATION,
            class_weights=True,
            seed=seed,
        )
        for seed in (42, 2024)
        for sequence in ("level", "level_skip", "level_slices")
    )
    detector = DetectorRecipe("family_b", FAMILY_B.xy, tuple(n.name for n in networks))
    purpose = "the published family B: convnext_small x 3 sequence axes x 2 seeds x 5 folds"
    return Recipe("family_b", purpose, tuple(networks), (detector,), classifiers)
