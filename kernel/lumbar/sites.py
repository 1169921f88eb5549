"""The 25 sites, 3 descriptions, 3 severities and 5 levels: the one table that everything indexes by.

Arrays over sites are in this order everywhere; it is also the column order of ``train.csv``
(solution write-up, targets).
"""

from dataclasses import dataclass

SAGITTAL_T2 = "Sagittal T2/STIR"
SAGITTAL_T1 = "Sagittal T1"
AXIAL_T2 = "Axial T2"
DESCRIPTIONS = (SAGITTAL_T2, SAGITTAL_T1, AXIAL_T2)
# As file names and flags spell them.
DESCRIPTION_KEYS = {SAGITTAL_T2: "sagittal_t2", SAGITTAL_T1: "sagittal_t1", AXIAL_T2: "axial_t2"}

LEVELS = ("l1_l2", "l2_l3", "l3_l4", "l4_l5", "l5_s1")
LEVEL_WORDS = {level: level.upper().replace("_", "/") for level in LEVELS}  # as the competition spells them
SEVERITIES = ("normal_mild", "moderate", "severe")
SEVERITY_LABELS = ("Normal/Mild", "Moderate", "Severe")  # as train.csv spells them
MISSING = -1  # in place of a severity's number: the site has no label
SEVERITY_WEIGHTS = (1.0, 2.0, 4.0)  # of the competition's metric

GROUPS = (
    "spinal_canal_stenosis",
    "left_neural_foraminal_narrowing",
    "right_neural_foraminal_narrowing",
    "left_subarticular_stenosis",
    "right_subarticular_stenosis",
)
GROUP_WORDS = {
    "spinal_canal_stenosis": "spinal canal",
    "left_neural_foraminal_narrowing": "left foramen",
    "right_neural_foraminal_narrowing": "right foramen",
    "left_subarticular_stenosis": "left subarticular",
    "right_subarticular_stenosis": "right subarticular",
}
GROUP_DESCRIPTION = (SAGITTAL_T2, SAGITTAL_T1, SAGITTAL_T1, AXIAL_T2, AXIAL_T2)

# Sites of one description are neighbours in the table, so a slice selects them; class c of a detector
# network is site ``DESCRIPTION_SITES[description].start + c``.
DESCRIPTION_SITES = {SAGITTAL_T2: slice(0, 5), SAGITTAL_T1: slice(5, 15), AXIAL_T2: slice(15, 25)}
# The three heads of a classifier and the three conditions of the metric are the same split.
CONDITION_SITES = {"spinal": slice(0, 5), "foraminal": slice(5, 15), "subarticular": slice(15, 25)}


@dataclass(frozen=True)
class Site:
    """One graded place: a condition at a level, on one side or in the middle."""

    index: int
    group: str
    level: str
    description: str

    @property
    def name(self) -> str:
        """The column of ``train.csv`` and the tail of a submission's ``row_id``."""
        return f"{self.group}_{self.level}"

    @property
    def side(self) -> str | None:
        """The patient's side, ``"left"`` (+x in DICOM's frame) or ``"right"``; None for the canal."""
        side = self.group.split("_")[0]
        return side if side in ("left", "right") else None


def site_words(site: Site) -> str:
    """Return a site as people name it: "left foramen L4/L5"."""
    return f"{GROUP_WORDS[site.group]} {LEVEL_WORDS[site.level]}"


SITES = tuple(
    Site(group_index * len(LEVELS) + level_index, group, level, GROUP_DESCRIPTION[group_index])
    for group_index, group in enumerate(GROUPS)
    for level_index, level in enumerate(LEVELS)
)
SITE_NAMES = tuple(site.name for site in SITES)


def group_descriptions(canal_from: str = SAGITTAL_T2) -> tuple[str, ...]:
    """Return the description that the crops of each of the ``GROUPS`` come from."""
    return (canal_from, *GROUP_DESCRIPTION[1:])


def crop_sites(description: str, canal_from: str = SAGITTAL_T2) -> list[int]:
    """Return the indices of the sites with crops from a description, in the order of ``SITES``."""
    descriptions = group_descriptions(canal_from)
    return [site.index for site in SITES if descriptions[GROUPS.index(site.group)] == description]


def class_count(description: str) -> int:
    """Return how many sites are read from a description: 5 for sagittal T2, 10 for the others."""
    sites = DESCRIPTION_SITES[description]
    return sites.stop - sites.start
