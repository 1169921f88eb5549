"""The two families of the authors' networks: settings of their notebooks that a checkpoint does not hold."""

from dataclasses import dataclass

from lumbar.networks.architecture import Border
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2


@dataclass(frozen=True, eq=False)  # there are two, compared by identity
class Family:
    """How a family's heatmaps become points, its crops' border rule, and its networks' slices.

    Attributes:
        max_length: By description, the slices of a detector's input. A longer volume is squeezed.
    """

    name: str
    xy: str
    border: Border
    max_length: dict[str, int]


# Source: solution, sections 3 and 5.
FAMILY_A = Family("a", "fixed", Border.STRETCH, {SAGITTAL_T2: 32, SAGITTAL_T1: 32, AXIAL_T2: 64})
FAMILY_B = Family("b", "dynamic", Border.SHIFT, {SAGITTAL_T2: 29, SAGITTAL_T1: 38, AXIAL_T2: 192})
FAMILIES = {family.name: family for family in (FAMILY_A, FAMILY_B)}
