"""Pictures of a training: every figure over the epochs, labels and predictions on sample slices."""

import matplotlib

matplotlib.use("Agg")  # no window: trainings run on servers
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from lumbar.atomic_files import atomic_path

NOT_CURVES = {"epoch", "seconds", "train_seconds"}


def draw_curves(file: Path, history: list[dict], title: str) -> None:
    """Draw one small panel per figure, epochs from left to right."""
    names = [n for n in dict.fromkeys(name for row in history for name in row) if n not in NOT_CURVES]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3 * columns, 2.2 * rows), squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    for axis, name in zip(axes.flat, names, strict=False):
        shown = [(row["epoch"], row[name]) for row in history if name in row]
        axis.plot(*zip(*shown, strict=True), ".-")
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
    finish(figure, file, title)


def draw_points(
    file: Path, samples: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]], title: str
) -> None:
    """Draw slices with labels (green circles) and predictions (red crosses).

    Args:
        file: The picture.
        samples: Caption, pixels (256, 256), labels (n, 2) and predictions (n, 2) of each; row and column, NaN is not
            drawn.
        title: Above all of them.
    """
    columns = min(4, max(1, len(samples)))
    rows = max(1, -(-len(samples) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(3 * columns, 3.2 * rows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (caption, pixels, labels, predictions) in zip(axes.flat, samples, strict=False):
        axis.imshow(pixels, cmap="gray")
        axis.plot(labels[:, 1], labels[:, 0], "o", color="lime", mfc="none", ms=9)
        axis.plot(predictions[:, 1], predictions[:, 0], "x", color="red", ms=7)
        axis.set_title(caption, fontsize=7)
    finish(figure, file, f"{title}: o label, x prediction")


def draw_crops(file: Path, samples: list[tuple[str, np.ndarray]], title: str) -> None:
    """Draw a site's five crop slices in a row under a caption: samples of (caption, (5, 128, 128))."""
    figure, axes = plt.subplots(
        max(1, len(samples)), 1, figsize=(8, 1.9 * max(1, len(samples))), squeeze=False
    )
    for axis, (caption, crops) in zip(axes[:, 0], samples, strict=False):
        axis.imshow(np.concatenate(list(crops), axis=1), cmap="gray", vmin=0, vmax=1)
        axis.set_title(caption, fontsize=8)
        axis.set_axis_off()
    finish(figure, file, title)


def finish(figure: plt.Figure, file: Path, title: str) -> None:
    figure.suptitle(title, fontsize=10)
    figure.tight_layout(h_pad=2.0)  # captions of images need the room
    with atomic_path(file) as beside:
        figure.savefig(beside, dpi=80)
    plt.close(figure)
