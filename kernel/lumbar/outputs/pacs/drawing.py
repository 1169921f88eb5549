"""Films -> matplotlib axes: the one drawing of key slices for Secondary Capture and for the summary."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from lumbar.outputs.report.key_slices import COLOURS, SHAPES, Film, Mark
from lumbar.outputs.report.pictures import draw_frame
from lumbar.reading.study import Study

MARKERS = ("o", "D", "s", "^", "v", "X")  # as SHAPES
SIZES = (14, 12, 13, 15, 15, 13)  # pixels of the film across
BLACK = "#07080a"
ANCHORS = {"left": "right", "right": "left", "above": "center"}


def draw_on(axes: Axes, film: Film, study: Study, size: float) -> None:
    """Draw a film: its slice, the letters at its edges and the marks.

    Args:
        axes: It shows the film's pixels, from its upper left corner.
        size: Points per pixel of the film, for text and marks.
    """
    columns, rows = film.frame.columns, film.frame.rows
    slice_ = study.volumes[film.key.description].grid512[film.key.slice_index]
    axes.imshow(draw_frame(slice_, film.frame), cmap="gray", vmin=0, vmax=255, extent=(0, columns, rows, 0))
    axes.set(xlim=(0, columns), ylim=(rows, 0), xticks=(), yticks=())
    for x, y, letter in film.edges:
        write(axes, x, y, letter, 13 * size, "#9aa2ab", "center")
    for mark in film.marks:  # below all outlines, so that none hides another
        style = marker_style(mark, size)
        axes.scatter([mark.x], [mark.y], edgecolors=BLACK, linewidths=4 * size, **style)
    for mark in film.marks:
        draw_mark(axes, mark, size)


def marker_style(mark: Mark, size: float) -> dict:
    """Return the outline of a mark as ``Axes.scatter`` takes it."""
    shape = mark.shape % len(SHAPES)
    return {"marker": MARKERS[shape], "s": (SIZES[shape] * size) ** 2, "facecolors": "none"}


def draw_mark(axes: Axes, mark: Mark, size: float) -> None:
    """Draw a detector's point and the text beside it, as the report's page does."""
    colour = COLOURS[mark.shape % len(SHAPES)]
    lines = "dashed" if mark.off else "solid"
    axes.scatter(
        [mark.x],
        [mark.y],
        edgecolors=colour,
        linewidths=2 * size,
        linestyles=lines,
        **marker_style(mark, size),
    )
    if mark.label:
        side = mark.label.side.split()[0]
        own = colour if "away" in mark.label.side else "#ffffff"
        where = mark.x + mark.label.x, mark.y + mark.label.y - 4.5
        write(axes, *where, mark.label.words, 13 * size, own, ANCHORS[side])


def write(axes: Axes, x: float, y: float, text: str, points: float, colour: str, anchor: str) -> None:
    """Write a text that can be read on any picture; a dollar sign in it is no formula."""
    stroke = [withStroke(linewidth=max(1.0, points / 4), foreground=BLACK)]
    style = {"color": colour, "ha": anchor, "va": "center", "weight": "bold", "path_effects": stroke}
    axes.text(x, y, text, fontsize=points, parse_math=False, clip_on=True, **style)


def pixels_of(canvas) -> np.ndarray:
    """Return the picture of an Agg canvas, (row, column, 3) uint8 RGB."""
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
