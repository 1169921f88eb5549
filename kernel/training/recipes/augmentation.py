"""The random changes of a recipe's training samples: volumes of stage 1, crops of stage 2.

Each field has its unit; ``schema.py`` has a recipe's other fields. The numbers of the published ensembles are the
solution's, sections 3 and 5.
"""

from dataclasses import dataclass

from training.recipes.bounds import Chance, CountOrZero, NotNegative, Positive, Share


@dataclass(frozen=True)
class Affine:
    """A random shift, scale and rotation about the image's centre.

    Attributes:
        shift: Largest shift along each axis, as a share of the image's side.
        scale: Largest change of the size, as a share of it.
        rotate: Largest angle, degrees.
        p: Chance per sample.
        zoom: Smallest and largest further factor of the size, drawn evenly in its logarithm.
        stretch: Smallest and largest factor of the width alone, drawn in the same way. Stage 1 resizes every image
            to a square, so an image that is not square is stretched.
    """

    shift: NotNegative
    scale: Share
    rotate: NotNegative
    p: Chance
    zoom: tuple[Positive, Positive] = (1.0, 1.0)
    stretch: tuple[Positive, Positive] = (1.0, 1.0)


@dataclass(frozen=True)
class Brightness:
    """A random change of brightness and contrast.

    Attributes:
        brightness: Largest offset, as a share of the full range.
        contrast: Largest change of the gain, as a share of it.
        p: Chance per sample.
    """

    brightness: NotNegative
    contrast: NotNegative
    p: Chance


@dataclass(frozen=True)
class Appearance:
    """A random look of a decoded volume: grey levels, coils, resolution, and which of its slices there are.

    Attributes:
        curve: Chance of a random curve of grey levels.
        field: Spread of the logarithm of a smooth bias field.
        coil: Largest logarithm of the gain far from the labelled points, before and behind them.
        blur: Largest standard deviation of a blur, pixels of the detector grid; half of it for a sharpening.
        noise: Largest standard deviation of noise, as a share of the full range.
        drop: Chance that slices far from the labelled ones are dropped.
        black: Chance that slices without a label's peak are blackened.
    """

    curve: Chance
    field: NotNegative
    coil: NotNegative
    blur: NotNegative
    noise: NotNegative
    drop: Chance
    black: Chance


NO_AFFINE = Affine(0, 0, 0, 0)
NO_BRIGHTNESS = Brightness(0, 0, 0)


@dataclass(frozen=True)
class DetectorAugmentation:
    """Random changes of a volume and its labels; all slices of a volume get one draw.

    Attributes:
        affine: Shift, scale and rotation.
        brightness: Brightness and contrast.
        appearance: Grey levels, coils, resolution and slices, None for none.
        unplaced: Chance that the slices' positions count as unknown, for a pointer that reads them.
    """

    affine: Affine = NO_AFFINE
    brightness: Brightness = NO_BRIGHTNESS
    appearance: Appearance | None = None
    unplaced: Chance = 0.0


@dataclass(frozen=True)
class CropAppearance:
    """A random look of the crops of one description, as another scanner or sequence would show the same anatomy.

    Attributes:
        curve: Chance of a random curve of grey levels.
        field: Spread of the logarithm of a smooth bias field, drawn for each site anew.
        blur: Largest standard deviation of a blur, pixels of the crop; half of it for a sharpening.
        noise: Largest standard deviation of noise, as a share of the full range.
        p: Chance per description. The others keep the look of their series.
    """

    curve: Chance
    field: NotNegative
    blur: NotNegative
    noise: NotNegative
    p: Chance = 1.0


@dataclass(frozen=True)
class CropAugmentation:
    """Random changes of a study's crops; all crops of one description get one draw.

    Attributes:
        flip_horizontal: Chance of a flip from left to right. Labels stay, as the authors have it.
        flip_vertical: Chance of a flip upside down. Labels stay.
        mirror: Chance of a mirrored patient: axial crops are flipped, sagittal stacks reversed, and left and right
            sites change places with their labels.
        affine: Shift, scale and rotation.
        brightness: Brightness and contrast.
        blur: Chance of a gaussian blur over 3 x 3 or 5 x 5 pixels.
        appearance: Grey levels, bias field, resolution and noise, None for none.
        z_jitter: Largest random move of a point, slices.
        xy_jitter: Largest random move of a point along each axis, pixels of the detector grid, whatever the windows'
            size: it stands for the detector's errors. A level's height is measured at the moved points.
        cutmix: Chance per batch of CutMix.
        mixup: Chance per batch of mixup, of those that CutMix leaves.
        cutmix_alpha: Both parameters of the Beta distribution of CutMix's lambda.
        mixup_alpha: Both parameters of the Beta distribution of mixup's lambda.
        description_dropout: Chance per batch that the crops of one description are taken away, and their labels with
            them. The sequences then leave its sites out, as they do for a study without that series.
    """

    flip_horizontal: Chance = 0.0
    flip_vertical: Chance = 0.0
    mirror: Chance = 0.0
    affine: Affine = NO_AFFINE
    brightness: Brightness = NO_BRIGHTNESS
    blur: Chance = 0.0
    appearance: CropAppearance | None = None
    z_jitter: CountOrZero = 0
    xy_jitter: CountOrZero = 0
    cutmix: Chance = 0.0
    mixup: Chance = 0.0
    cutmix_alpha: Positive = 4.0
    mixup_alpha: Positive = 4.0
    description_dropout: Chance = 0.0
