"""Architectures as data: frozen dataclasses that are stored with the weights. Neither torch nor timm is imported.

The networks of these configurations are in ``detector.py`` and ``classifier.py``.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import NamedTuple

from lumbar.sites import AXIAL_T2, SAGITTAL_T2

POINT_KINDS = ("fixed", "dynamic")  # one place on all slices of a crop, or each slice's own
SEQUENCES = ("level", "level_skip", "level_slices", "all", "level_region", "alone")
CANAL_VIEWS = (SAGITTAL_T2, AXIAL_T2)  # descriptions that a classifier may read the canal from
ONE_LSTM = ("level_slices", "alone")  # sequences without a second LSTM along the sites


class Border(StrEnum):
    """The content of a window where it reaches beyond its volume (``lumbar.grading.crops``)."""

    STRETCH = "stretch"  # the part inside, stretched to the window's size
    SHIFT = "shift"  # the nearest window inside; the end slice is repeated


class CropRule(NamedTuple):
    """How a classifier's crops are cut out of the volumes: classifiers of one rule share them.

    Attributes:
        border: The rule at the volume's borders, one of ``Border``.
        canal_margin: Slices of the canal's crops beyond the five of other sites, at each end.
        canal_from: The description that the canal's crops come from.
        window_mm: Side of a window, mm. None for another size.
        window_levels: Side of a window, in distances between neighbouring levels. None for another size.
    """

    border: str
    canal_margin: int = 0
    canal_from: str = SAGITTAL_T2
    window_mm: float | None = None
    window_levels: float | None = None


def shown_rule(rules: Sequence[CropRule]) -> CropRule:
    """Return the rule of the crops that results show, of the classifiers' rules: the first, "shift" if there is none.

    Five slices of every site are shown, and the canal's are sagittal.
    """
    rule = rules[0] if rules else CropRule(Border.SHIFT)
    return rule._replace(canal_margin=0, canal_from=SAGITTAL_T2)


@dataclass(frozen=True)
class ClassifierConfig:
    """A classifier's architecture; stored with its weights.

    Attributes:
        backbone: timm name.
        sequence: Along which sites the LSTMs read, one of ``SEQUENCES``. ``"alone"`` reads every site by itself, to
            measure the worth of the others.
        border: The border rule of the crops that it was trained with, one of ``Border``.
        dropout: Before the spinal, foraminal and subarticular head.
        canal_margin: Slices of the canal's crops beyond the five of other sites, at each end; the attention pooling
            weighs them all. 0 as the authors have it. Source: the 2nd place's attention over all sagittal slices.
        canal_from: The description that the canal's crops come from, one of ``CANAL_VIEWS``. Axial crops lie midway
            between a level's recesses. Source: the 2nd and 4th places, which read the canal from both.
        window_mm: Height and width of a crop in the patient, mm. Without it and ``window_levels`` a crop has 64 pixels
            of the crop grid, as the authors have it. Source: the 9th place.
        window_levels: Height and width of a crop in the patient, as a multiple of the distance between neighbouring
            levels' points. At most one of the two sizes. Source: the 2nd place.

    Raises:
        ValueError: The sequence, the border or the canal's description is unknown, or its margin is below 0. A size is
            no number above 0, or there are two.
    """

    backbone: str
    sequence: str
    border: str
    dropout: tuple[float, float, float]
    canal_margin: int = 0
    canal_from: str = SAGITTAL_T2
    window_mm: float | None = None
    window_levels: float | None = None

    def __post_init__(self):
        if self.sequence not in SEQUENCES:
            raise ValueError(f"ClassifierConfig.sequence: got {self.sequence!r}, expected one of {SEQUENCES}")
        if self.border not in tuple(Border):
            raise ValueError(
                f"ClassifierConfig.border: got {self.border!r}, expected one of {', '.join(Border)}"
            )
        if self.canal_from not in CANAL_VIEWS:
            raise ValueError(
                f"ClassifierConfig.canal_from: got {self.canal_from!r}, expected one of {', '.join(CANAL_VIEWS)}"
            )
        if self.canal_margin < 0:
            raise ValueError(
                f"ClassifierConfig.canal_margin: got {self.canal_margin!r}, expected 0 slices or more"
            )
        sizes = {name: getattr(self, name) for name in ("window_mm", "window_levels")}
        for name, size in sizes.items():
            if size is not None and (type(size) not in (int, float) or not 0 < size < inf):
                raise ValueError(f"ClassifierConfig.{name}: got {size!r}, expected a number above 0")
        if None not in sizes.values():
            raise ValueError(f"ClassifierConfig: got {sizes}, expected one size at most; remove the other")

    @property
    def crops(self) -> CropRule:
        """The rule of the crops that it was trained with."""
        sizes = self.window_mm, self.window_levels
        return CropRule(self.border, self.canal_margin, self.canal_from, *sizes)


@dataclass(frozen=True)
class DetectorConfig:
    """A detector network's architecture; stored with its weights.

    Attributes:
        description: The series that it reads.
        encoder: timm name of the segmenter's encoder.
        feature_levels: How many of the encoder's feature maps the decoder uses, finest first.
        decoder_channels: One entry per decoder block, coarsest first, as many as feature levels.
        pointer_encoder: timm name.
        pointer: ``"lstm"`` or ``"transformer"``.
        hidden: The LSTM's state per direction, or the transformer's width.
        max_length: Slices of the network's input (D).
        slice_positions: Whether the pointer also reads where each slice lies in the patient, mm. False as the authors
            have it.
    """

    description: str
    encoder: str
    feature_levels: int
    decoder_channels: tuple[int, ...]
    pointer_encoder: str
    pointer: str
    hidden: int
    max_length: int
    slice_positions: bool = False


def stored_fields(config: ClassifierConfig | DetectorConfig) -> dict:
    """Return a configuration as a manifest has it: an option that is left off is left out."""
    fields = dataclasses.fields(config)
    return {f.name: getattr(config, f.name) for f in fields if getattr(config, f.name) != f.default}
