"""What is trained and how, as data: the published ensembles and small ones. A variant is a value here.

Numbers are of the solution's sections 3 and 5 where it has them; what the small recipes change is said
beside it.
"""

from dataclasses import dataclass, replace

from lumbar.networks.classifier import ClassifierConfig
from lumbar.networks.detector import DetectorConfig
from lumbar.networks.families import FAMILY_A, FAMILY_B
from lumbar.networks.heatmap import DECAY, REACH, SIGMA
from lumbar.sites import AXIAL_T2, DESCRIPTION_KEYS, DESCRIPTIONS
from training.data.crop_augmentation import CropAugmentation
from training.data.volume_augmentation import Affine, Brightness, DetectorAugmentation
from training.fitting.loop import Schedule


@dataclass(frozen=True)
class NetworkRecipe:
    """One network of stage 1, trained once a fold.

    xy_target: ``"own"`` or ``"union_of_levels"``. slices_per_step: slices of a volume from which the
    segmenter's loss is estimated, None for all. segmented: ``"all"`` slices or the ``"peaks"``, those that hold
    a point. pointer_share: the share of the steps from which the pointer, which reads every slice, learns.
    start_from: a network of the same recipe and make, named before it, whose weights it starts with (heads for
    another number of classes are its own). start_bias: the segmenter head's first bias, None for torch's. Take
    the logit of the share of marked pixels: from one much above it all of the last features first learn to
    push down, and none is left to rise at the points. pretraining: epochs on external images, where there
    are some. more: whether it learns from the volumes of ``--more`` too, where there are some. sequence_alone: only
    what reads the slices in order learns, on features of volumes that are not augmented.
    points: where stage 2's training points come from: ``"out_of_fold"``; ``"middle_epoch"``, the first fold's
    network, a middle epoch for its training studies and the chosen one for the others (family A);
    ``"first_fold"``, its chosen epoch for all (family B's axial); ``"labels"``, the labelled points, to which the
    crops' jitter adds the errors. sigma: of the labels' gaussian, pixels of the 256 grid; decay, reach: how it
    fades a slice away, and over how many slices. half: mm off the point at which it is half instead, on slices of
    all series that show the place.
    """

    name: str
    config: DetectorConfig
    schedule: Schedule
    augmentation: DetectorAugmentation | None
    xy_target: str
    points: str
    slices_per_step: int | None = None
    segmented: str = "all"
    pointer_share: float = 1.0
    start_from: str | None = None
    start_bias: float | None = None
    pretraining: int = 0
    more: bool = False
    sequence_alone: bool = False
    imagenet: bool = True
    seed: int = 42
    sigma: float = SIGMA
    decay: float = DECAY
    reach: int = REACH
    half: float | None = None


@dataclass(frozen=True)
class DetectorRecipe:
    """One detector: how its heatmaps become points, and the names of its networks."""

    name: str
    xy: str
    networks: tuple[str, ...]


@dataclass(frozen=True)
class ClassifierRecipe:
    """One classifier, trained once a fold on one detector's points.

    step1 trains everything, step2 only fresh heads, for the metric; None leaves step 2 out. class_weights:
    step 1 with the metric's weights. augmentation2 None lets step 2 run on cached features.
    """

    name: str
    config: ClassifierConfig
    detector: str
    step1: Schedule
    step2: Schedule | None
    augmentation: CropAugmentation | None
    augmentation2: CropAugmentation | None
    class_weights: bool = False
    any_severe: bool = True
    imagenet: bool = True
    seed: int = 42


@dataclass(frozen=True)
class Recipe:
    """A whole ensemble. fold_count, fold_seed: the split by study; folds: which are trained."""

    name: str
    purpose: str
    networks: tuple[NetworkRecipe, ...]
    detectors: tuple[DetectorRecipe, ...]
    classifiers: tuple[ClassifierRecipe, ...]
    folds: tuple[int, ...] = (0, 1, 2, 3, 4)
    fold_count: int = 5
    fold_seed: int = 42


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
            points="middle_epoch",
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
                points="first_fold" if d == AXIAL_T2 else "out_of_fold",
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
