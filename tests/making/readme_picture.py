"""The picture of the README: a phantom, the shipped bundle's points on it, and its grades.

    python -m tests.making.readme_picture

Grades a study of ``infer.py --demo`` and writes ``tests/readme_picture.png``. No real pixel is in it.
"""

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from PIL import Image

import lumbar
from lumbar.api import find_study
from lumbar.grids import DETECTOR_GRID
from lumbar.reading.study import Study, read_study
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, GROUPS, LEVELS, SAGITTAL_T1, SAGITTAL_T2, SEVERITIES
from phantom.demo import make_studies

CHECKOUT = Path(__file__).resolve().parents[2]
PICTURE = CHECKOUT / "tests/readme_picture.png"
COLOURS = dict(zip(SEVERITIES, ("#2e9d4f", "#f0a30a", "#d13438"), strict=True))
PANELS = (  # description, the site that chooses the slice, title
    (SAGITTAL_T2, "spinal_canal_stenosis_l3_l4", "Sagittal T2"),
    (SAGITTAL_T1, "left_neural_foraminal_narrowing_l3_l4", "Sagittal T1, left"),
    (AXIAL_T2, "left_subarticular_stenosis_l3_l4", "Axial T2, L3/L4"),
)
STUDY = 1  # of the demo's three: the one with the most severe sites
NEAR = 1  # slices: points this near to the shown slice are drawn
ROWS = ("Canal", "Left foramen", "Right foramen", "Left recess", "Right recess")


def draw(study: Study, table, file: Path) -> None:
    """Draw three slices with the points near them, and the grades of all sites.

    Args:
        study: Its volumes.
        table: ``StudyResult.table`` with ``site`` as its index.
    """
    figure, axes = plt.subplots(
        1, 4, figsize=(12, 3), width_ratios=(1, 1, 1, 1.25), dpi=100, layout="constrained"
    )
    for axis, (description, middle, title) in zip(axes, PANELS, strict=False):
        volume = study.volumes[description]
        shown = int(table.loc[middle, "slice"])
        axis.imshow(volume.grid256[shown], cmap="gray", vmin=0, vmax=255)
        for site, row in table.iloc[DESCRIPTION_SITES[description]].iterrows():
            if abs(row["slice"] - shown) <= NEAR:
                y, x = volume.native_to_grid(shown, row["row"], row["column"])
                axis.plot(x, y, "o", ms=7, mfc="none", mew=2, color=COLOURS[grade(table, site)])
        axis.set(title=title, xlim=(0, DETECTOR_GRID), ylim=(DETECTOR_GRID, 0), xticks=(), yticks=())
    grid = axes[-1]
    for y, group in enumerate(GROUPS):
        for x, level in enumerate(LEVELS):
            site = f"{group}_{level}"
            severity = grade(table, site)
            grid.add_patch(plt.Rectangle((x, y), 0.96, 0.92, color=COLOURS[severity]))
            grid.text(
                x + 0.48,
                y + 0.48,
                f"{table.loc[site, severity]:.2f}",
                ha="center",
                va="center",
                color="white",
            )
    grid.set(xlim=(0, len(LEVELS)), ylim=(len(GROUPS), 0), title="Likeliest grade and its probability")
    grid.set_xticks(
        [x + 0.48 for x in range(len(LEVELS))], [level.upper().replace("_", "/") for level in LEVELS]
    )
    grid.set_yticks([y + 0.48 for y in range(len(GROUPS))], ROWS)
    grid.tick_params(length=0)
    for spine in grid.spines.values():
        spine.set_visible(False)
    for severity, colour in COLOURS.items():
        grid.plot([], [], "s", color=colour, label=severity.replace("_", " or "))
    grid.legend(
        loc="upper right", bbox_to_anchor=(1, -0.1), ncols=3, frameon=False, handletextpad=0, columnspacing=1
    )
    pixels = BytesIO()
    figure.savefig(pixels, format="png")
    plt.close(figure)
    Image.open(pixels).convert("RGB").quantize(255).save(file, optimize=True)  # a third of the size


def grade(table, site: str) -> str:
    """Return the severity with the highest probability."""
    return max(SEVERITIES, key=lambda severity: table.loc[site, severity])


def main() -> None:
    """Make the picture."""
    with TemporaryDirectory() as folder:
        data = make_studies(Path(folder))
        path = sorted((data / "train_images").iterdir(), key=lambda one: int(one.name))[STUDY]
        result = lumbar.load(CHECKOUT, device="cpu", precision="fp32").grade(path)
        draw(read_study(find_study(path)), result.table.set_index("site"), PICTURE)
    print(PICTURE)


if __name__ == "__main__":
    main()
