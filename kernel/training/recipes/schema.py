"""The fields of a recipe, each with its unit: the members of an ensemble and how each of them is trained.

The random changes of samples are in ``augmentation.py``. A recipe is a TOML file. ``reading.py`` makes these
dataclasses of it and checks every value against the types here. The numbers of the published ensembles are the
solution's, sections 3 and 5.
"""

from dataclasses import dataclass
from math import inf
from typing import Annotated, Literal

from lumbar.networks.architecture import ClassifierConfig, DetectorConfig
from lumbar.networks.heatmap import DECAY, REACH, SIGMA
from training.recipes.augmentation import CropAugmentation, DetectorAugmentation
from training.recipes.bounds import Bounds, Count, CountOrZero, Decay, NotNegative, Positive, Share


@dataclass(frozen=True)
class Schedule:
    """AdamW with a linear warm-up, then a cosine to 0.

    Attributes:
        epochs: Passes over the training studies.
        batch: Studies per step.
        lr: Learning rate at the end of the warm-up.
        weight_decay: AdamW's weight decay.
        warmup: Share of all steps, 0..1.
        evaluate_every: Epochs from one evaluation to the next. The last epoch is always evaluated.
        clip_grad_norm: Largest norm of a step's gradient, None for any: gradient clipping.
        ema_decay: Decay of the exponential moving average of the weights, which is then evaluated and exported in place
            of the last step's weights. None for no average.
    """

    epochs: Count
    batch: Count
    lr: Positive
    weight_decay: NotNegative
    warmup: Share
    evaluate_every: Count
    clip_grad_norm: Positive | None = None
    ema_decay: Decay | None = None


@dataclass(frozen=True)
class NetworkRecipe:
    """One network of stage 1, trained once per fold.

    Attributes:
        name: Name of the network and of its folder in the run.
        config: Architecture, stored with the weights.
        schedule: Length of the training and its learning rate.
        augmentation: Random changes of the volumes, None for none.
        xy_target: The segmenter's label: a class's ``"own"`` gaussian, or the ``"union_of_levels"``, the sum of the
            five levels of its side.
        stage2_points: Points that stage 2 is trained on.
            ``"out_of_fold"``: each study's from the fold that is not trained on it (family B).
            ``"middle_epoch"``: the first fold's network, its middle epoch for its training studies and its best
            epoch for the others (family A).
            ``"first_fold"``: the first fold's best epoch for all studies (family B's axial network).
            ``"labels"``: the labelled points. The crops' jitter stands for the detector's errors.
        slices_per_step: Slices per volume from which the segmenter's loss is estimated, None for all.
        segmented: Slices that the segmenter learns from: ``"all"``, or the ``"peaks"`` that hold a point.
        pointer_share: Share of the steps in which the pointer learns. It reads every slice, so it costs more.
        start_from: Name of the network that gives this one its first weights, None for none. It is an earlier one of
            this recipe, or its folder was copied into the run's ``networks``. Tensors of another shape keep their own
            start.
        start_bias: First bias of the segmenter's head, a logit, None for torch's. The logit of the share of marked
            pixels is a good value: from one much above it the features first learn to push every pixel down.
        pretraining: Epochs on external images before, where ``--pretraining`` names some.
        extra_studies: Whether the network learns from the studies of ``--extra-studies`` too.
        repeat: Times that an epoch shows each study of ``--data``, each time changed anew. The extra ones come once.
        sequence_alone: Whether only the pointer's sequence and head learn. The features of each volume, and of each
            of its ``repeat`` changes, are computed once.
        imagenet: Whether the encoders start from ImageNet weights, where ``--imagenet`` names some.
        seed: Seed of weights, order and augmentation.
        sigma: Standard deviation of the label's gaussian, pixels of the detector grid.
        decay: Factor by which the label fades from one slice to the next, 0..1.
        reach: Slices on either side of the labelled one that carry a label.
        label_half_mm: Distance of a slice from the labelled point, mm, at which its label is 1/2, whatever its
            series. None for labels that fade by ``decay`` and ``reach`` over their own series.
    """

    name: str
    config: DetectorConfig
    schedule: Schedule
    augmentation: DetectorAugmentation | None
    xy_target: Literal["own", "union_of_levels"]
    stage2_points: Literal["out_of_fold", "middle_epoch", "first_fold", "labels"]
    slices_per_step: CountOrZero | None = None
    segmented: Literal["all", "peaks"] = "all"
    pointer_share: Share = 1.0
    start_from: str | None = None
    start_bias: float | None = None
    pretraining: CountOrZero = 0
    extra_studies: bool = False
    repeat: Count = 1
    sequence_alone: bool = False
    imagenet: bool = True
    seed: CountOrZero = 42
    sigma: Positive = SIGMA
    decay: Share = DECAY
    reach: CountOrZero = REACH
    label_half_mm: Positive | None = None


@dataclass(frozen=True)
class DetectorRecipe:
    """One detector: networks of different descriptions.

    Attributes:
        name: Name of the detector in the bundle.
        point_kind: ``"fixed"``: one place on all slices of a crop. ``"dynamic"``: each slice its own.
        networks: Names of the recipe's networks, one per description.
        sagittal_prior_mm: Width of the prior that its canal points are for the axial slices, mm; None for no prior.
            It acts at inference alone: no training has it.
        joint_levels: Whether all levels and sides of a sagittal volume are chosen together. At inference alone, too.
    """

    name: str
    point_kind: Literal["fixed", "dynamic"]
    networks: tuple[str, ...]
    sagittal_prior_mm: Positive | None = None
    joint_levels: bool = False


@dataclass(frozen=True)
class LabelNoise:
    """A second round, in which labels that the first one's out-of-fold predictions contradict count less.

    Attributes:
        judged_by: Names of earlier classifiers of the recipe, all folds of which are trained. Their mean judges.
        threshold: A label is contradicted where its 1 and its probability differ by more.
        weight: Of a contradicted label: the share of the epochs that have it, drawn per study, site and epoch. 0 leaves
            it out.
    """

    judged_by: tuple[str, ...]
    threshold: Share = 0.8
    weight: Share = 0.0


@dataclass(frozen=True)
class ClassifierRecipe:
    """One classifier, trained once per fold on one detector's points.

    Attributes:
        name: Name of the classifier and of its folder in the run.
        config: Architecture and border rule, stored with the weights.
        detector: Name of the detector that gives the points of its training.
        step1: Schedule of step 1, which trains everything.
        step2: Schedule of step 2, which trains fresh heads for the metric; None leaves it out.
        augmentation: Random changes of step 1's crops, None for none.
        augmentation2: Random changes of step 2's crops. None trains the heads on features computed once.
        class_weights: Whether step 1 has the metric's weights.
        any_severe: Whether the last step has the metric's any-severe term.
        label_noise: Labels that count less, None to train on all alike. Validation always has all.
        start_from: Name of the classifier that gives this one its first weights, None for none. It is an earlier one of
            this recipe, or its folder was copied into the run's ``classifiers``. It is no member of the bundle. Tensors
            of another shape keep their own start.
        imagenet: Whether the backbone starts from ImageNet weights, where ``--imagenet`` names some.
        seed: Seed of weights, order and augmentation.
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
    label_noise: LabelNoise | None = None
    start_from: str | None = None
    imagenet: bool = True
    seed: CountOrZero = 42


@dataclass(frozen=True)
class Recipe:
    """A whole ensemble.

    Attributes:
        name: The file's name without ``.toml``.
        purpose: One line for ``train.py recipe --help``.
        networks: Networks of stage 1, in the order of their training.
        detectors: Detectors made of them.
        classifiers: Classifiers of stage 2.
        folds: Folds that are trained, numbers from 0.
        fold_count: Parts that the studies are divided into; a fold is validated on its part.
        fold_seed: Seed of the division.
    """

    name: str
    purpose: str
    networks: tuple[NetworkRecipe, ...]
    detectors: tuple[DetectorRecipe, ...]
    classifiers: tuple[ClassifierRecipe, ...]
    folds: tuple[CountOrZero, ...] = (0, 1, 2, 3, 4)
    fold_count: Annotated[int, Bounds(2, inf)] = 5
    fold_seed: CountOrZero = 42
