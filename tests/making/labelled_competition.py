"""A competition folder made in a test: few slices, a bright dot at every labelled point, brighter if severe."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from lumbar.networks.architecture import POINT_KINDS, ClassifierConfig, DetectorConfig
from lumbar.networks.device_choice import choose_device
from lumbar.sites import AXIAL_T2, DESCRIPTION_KEYS, DESCRIPTIONS, SEVERITY_LABELS, SITES
from tests.making.dicom_writer import AXIAL, SAGITTAL, write_slice
from training.data.training_data import DataPaths, TrainingData, read_training_data
from training.fitting.train_detector import TrainingSetup
from training.recipes.augmentation import Affine, Brightness, CropAugmentation, DetectorAugmentation
from training.recipes.schema import ClassifierRecipe, DetectorRecipe, NetworkRecipe, Recipe, Schedule

ROWS, COLUMNS, SLICES = 48, 40, 6
AUGMENTATION = DetectorAugmentation(Affine(0.06, 0.1, 20, 0.75), Brightness(0.2, 0.2, 0.75))
SCHEDULE = Schedule(epochs=2, batch=2, lr=1e-3, weight_decay=1e-2, warmup=0.1, evaluate_every=1)


def write_competition(root: Path, studies: int = 4, seed: int = 0, first: int = 100) -> Path:
    """Write studies ``first``, ``first`` + 1, ... with series 1000 * study + description, all sites labelled.

    Sagittal instance numbers run against x, so that an order by instance would put sides wrong.
    """
    random = np.random.default_rng(seed)
    grades, coordinates, series = [], [], []
    for study in range(first, first + studies):
        severities = random.choice(3, p=[0.6, 0.25, 0.15], size=len(SITES))
        grades.append([study, *(SEVERITY_LABELS[s] for s in severities)])
        for number, description in enumerate(DESCRIPTIONS):
            series_id = 1000 * study + number
            series.append([study, series_id, description])
            volume = random.integers(50, 100, (SLICES, ROWS, COLUMNS)).astype(np.uint16)
            for site in SITES:
                if site.description == description:
                    z = (
                        {"left": 4, "right": 1, None: 3}[site.side]
                        if description != AXIAL_T2
                        else site.index % 5
                    )
                    y, x = 6 + 8 * (site.index % 5), {"left": 28, "right": 10, None: 20}[site.side]
                    y, x = y + random.integers(-1, 2), x + random.integers(-2, 3)
                    volume[z, y - 1 : y + 2, x - 1 : x + 2] = 400 + 300 * severities[site.index]
                    condition = site.group.replace("_", " ").title()
                    level = site.level.upper().replace("_", "/")
                    coordinates.append([study, series_id, instance(z, description), condition, level, x, y])
            folder = root / "train_images" / str(study) / str(series_id)
            write_volume(folder, volume, description)
    columns = ["study_id", *(site.name for site in SITES)]
    pd.DataFrame(grades, columns=columns).to_csv(root / "train.csv", index=False)
    columns = ["study_id", "series_id", "instance_number", "condition", "level", "x", "y"]
    pd.DataFrame(coordinates, columns=columns).to_csv(root / "train_label_coordinates.csv", index=False)
    columns = ["study_id", "series_id", "series_description"]
    pd.DataFrame(series, columns=columns).to_csv(root / "train_series_descriptions.csv", index=False)
    return root


def instance(z: int, description: str) -> int:
    return z + 1 if description == AXIAL_T2 else SLICES - z


def write_volume(folder: Path, volume: np.ndarray, description: str) -> None:
    axis = 2 if description == AXIAL_T2 else 0
    for z, pixels in enumerate(volume):
        position = [-20.0, -20.0, 20.0]
        position[axis] = 4.0 * z
        number = instance(z, description)
        write_slice(
            folder / f"{number}.dcm",
            pixels,
            InstanceNumber=number,
            ImagePositionPatient=position,
            ImageOrientationPatient=AXIAL if axis == 2 else SAGITTAL,
            PixelSpacing=[1.5, 1.5],
        )


def join_axial_series(root: Path) -> None:
    """Give study 100 of ``write_competition`` the axial series of study 101 as its second one."""
    series = pd.read_csv(root / "train_series_descriptions.csv")
    series.loc[series["series_id"] == 101002, "study_id"] = 100
    series.to_csv(root / "train_series_descriptions.csv", index=False)
    (root / "train_images/101/101002").rename(root / "train_images/100/101002")


def tiny_recipe(**changes) -> Recipe:
    """Return a recipe of tiny networks: three networks, a fixed and a dynamic detector, two classifiers."""
    networks = tuple(
        NetworkRecipe(
            name=f"tiny-{DESCRIPTION_KEYS[description]}",
            config=tiny_detector(description),
            schedule=SCHEDULE,
            augmentation=AUGMENTATION,
            xy_target="union_of_levels" if description == AXIAL_T2 else "own",
            stage2_points="middle_epoch",
            slices_per_step=2,
            imagenet=False,
        )
        for description in DESCRIPTIONS
    )
    names = tuple(network.name for network in networks)
    classifiers = tuple(
        ClassifierRecipe(
            name=f"tiny-{sequence}",
            config=ClassifierConfig("test_convnext", sequence, "shift", (0.2, 0.2, 0.2)),
            detector=detector,
            step1=replace(SCHEDULE, epochs=1),
            step2=replace(SCHEDULE, epochs=1),
            augmentation=CropAugmentation(flip_horizontal=0.5, cutmix=1.0),
            augmentation2=augmentation2,
            imagenet=False,
        )
        for sequence, detector, augmentation2 in (
            ("level", "fixed", None),
            ("level_slices", "dynamic", CropAugmentation(flip_vertical=0.5)),
        )
    )
    detectors = tuple(DetectorRecipe(kind, kind, names) for kind in POINT_KINDS)
    values = {"networks": networks, "detectors": detectors, "classifiers": classifiers, "folds": (0,)}
    return Recipe("tiny", "tests", **(values | changes))


def tiny_detector(description: str, pointer: str = "lstm") -> DetectorConfig:
    return DetectorConfig(
        description=description,
        encoder="test_byobnet",
        feature_levels=4,
        decoder_channels=(16, 8, 8, 8),
        pointer_encoder="test_byobnet",
        pointer=pointer,
        hidden=16,
        max_length=8,
    )


def training_data_of(root: Path, out: Path, **paths) -> TrainingData:
    """Read a folder's training_data into a cache under ``out``, in this process."""
    values = {"data": root, "cache": out / "cache", "improved": None, "pretraining": None}
    return read_training_data(DataPaths(**(values | {"workers": 0, "strict": False} | paths)), out)


def training_setup(training_data: TrainingData) -> TrainingSetup:
    return TrainingSetup(training_data, choose_device("cpu", "fp32"), workers=0, imagenet=None)
