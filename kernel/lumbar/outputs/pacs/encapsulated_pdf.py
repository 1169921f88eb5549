"""The summary of a study on one page -> PDF -> DICOM Encapsulated PDF (PS3.3 A.45.1)."""

import io
import logging
import textwrap

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from lumbar.outputs.pacs.derived import NOTE, derived_object, reference
from lumbar.outputs.pacs.drawing import draw_on
from lumbar.outputs.report.display_text import GROUP_ORDER, SHORT_LABELS, group_title, is_ungraded, percent
from lumbar.outputs.report.key_slices import Film
from lumbar.outputs.report.level_sentences import LevelSentence
from lumbar.outputs.report.result import Result
from lumbar.outputs.report.study_page import STATUS_WORDS
from lumbar.reading.study import Study
from lumbar.sites import LEVEL_WORDS, LEVELS, SITES

SERIES, SERIES_NUMBER = "Lumbar spine summary, research use only", 9003  # far from a scanner's numbers
PAGE = (8.27, 11.69)  # A4, inches
LEFT, RIGHT = 0.07, 0.93  # margins, shares of the page
SMALL, PLAIN, LARGE = 7, 8.5, 15  # points
GAP, CAPTION = 0.008, 0.032  # between films, and below a row of them: shares of the page
GRID_TOP = 0.19  # share of the page that the probabilities and the footer take
LINE_LETTERS, LINE_HEIGHT = 112, 0.0135  # of a line of plain text, and its share of the page
METRIC = "Percentages are made for a metric that counts Moderate twice and Severe four times: no frequencies."


def encapsulated_summary(
    study: Study,
    result: Result,
    sentences: list[LevelSentence],
    films: list[Film],
    about: dict,
    sources: list[Dataset],
) -> Dataset:
    """Return the object of a study's summary.

    Args:
        sentences: The levels in words; none of a study without grades.
        films: The key slices, sagittal ones first.
        about: As in run.json.
        sources: Headers of the slices shown, at least one.
    """
    pdf = summary_pdf(study, result, sentences, films, about)
    made = derived_object(sources[0], EncapsulatedPDFStorage, pdf, SERIES, SERIES_NUMBER)
    made.Modality, made.InstanceNumber = "DOC", 1
    made.AcquisitionDateTime = ""
    made.BurnedInAnnotation = "YES"  # the study's name is on the page
    made.DocumentTitle = SERIES
    made.VerificationFlag = "UNVERIFIED"
    made.ConceptNameCodeSequence = []
    made.SourceInstanceSequence = [reference(source) for source in sources]
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(pdf)
    made.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return made


def summary_pdf(
    study: Study, result: Result, sentences: list[LevelSentence], films: list[Film], about: dict
) -> bytes:
    """Return the summary as a PDF of one A4 page with text that can be searched."""
    figure = Figure(figsize=PAGE)
    canvas = FigureCanvasPdf(figure)
    write = PageText(figure)
    write.lines(f"Study {result.study_id}"[:90], LARGE, gap=2.2)
    write.lines(f"{STATUS_WORDS[result.status]}. {NOTE}", PLAIN, weight="bold")
    write.lines(
        f"Weights {about.get('bundle', '')}, trained on: {about.get('trained_on', '')}.", PLAIN, gap=1.6
    )
    for sentence in sentences:
        write.lines(f"{sentence.level}: {sentence.text}", PLAIN, gap=1.15)
    bottom = draw_films(figure, films, study, write.top - 0.01)
    if result.probabilities is not None:
        draw_grid(figure, result.probabilities, set(result.marked_sites), bottom - 0.012)
    footer = f"{METRIC}\nA triangle marks a site to check. Bundle {str(about.get('bundle_sha256', ''))[:16]}."
    figure.text(LEFT, 0.025, footer, fontsize=SMALL, parse_math=False, color="#565d66")
    stream = io.BytesIO()
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs each table of a font that it cuts
    with rc_context({"pdf.fonttype": 42}):
        canvas.print_pdf(stream, metadata={"Title": SERIES, "CreationDate": None})
    return stream.getvalue()


class PageText:
    """Lines of text from the top of a page; ``top`` is the share of the page above which it is full."""

    def __init__(self, figure: Figure):
        self.figure, self.top = figure, 0.955

    def lines(self, text: str, points: float, gap: float = 1.0, weight: str = "normal") -> None:
        """Write a paragraph, in lines that fit, and leave a gap of so many lines below it."""
        wrapped = textwrap.wrap(text, round(LINE_LETTERS * PLAIN / points)) or [""]
        for line in wrapped:
            style = {"fontsize": points, "weight": weight, "va": "top", "parse_math": False}
            self.figure.text(LEFT, self.top, line, **style)
            self.top -= LINE_HEIGHT * points / PLAIN
        self.top -= LINE_HEIGHT * (gap - 1)


def draw_films(figure: Figure, films: list[Film], study: Study, top: float) -> float:
    """Draw the sagittal films in one row and the axial ones in the next, as large as the page allows.

    Args:
        top: Share of the page above which it is full.

    Returns:
        The share of the page below which it is empty.
    """
    rows = [[film for film in films if film.key.axial == axial] for axial in (False, True)]
    rows = [row for row in rows if row]
    widths = [(RIGHT - LEFT) / max(len(row), 3) - GAP for row in rows]
    heights = [
        width * max(height_of(film, 1.0) for film in row) for row, width in zip(rows, widths, strict=True)
    ]
    room = top - GRID_TOP - CAPTION * len(rows)
    scale = min(1.0, room / sum(heights)) if rows else 1.0
    for row, width, tallest in zip(rows, widths, heights, strict=True):
        for number, film in enumerate(row):
            left, height = LEFT + number * (width + GAP), height_of(film, scale * width)
            axes = figure.add_axes((left, top - height, scale * width, height))
            draw_on(axes, film, study, scale * width * PAGE[0] * 72 / film.frame.columns)
            place = left, top - scale * tallest - 0.004
            caption = f"{film.key.title}\n{film.where}"
            figure.text(*place, caption, fontsize=SMALL - 0.5, va="top", parse_math=False)
        top -= scale * tallest + CAPTION
    return top


def height_of(film: Film, width: float) -> float:
    """Return the height, as a share of the page's, of a film of a width, a share of the page's."""
    return film.frame.rows / film.frame.columns * width * PAGE[0] / PAGE[1]


def draw_grid(figure: Figure, probabilities: np.ndarray, marked: set[str], top: float) -> None:
    """Write the probabilities in percent: a table per group of sites, a row per level."""
    width = (RIGHT - LEFT) / len(GROUP_ORDER)
    for column, group in enumerate(GROUP_ORDER):
        left = LEFT + column * width
        figure.text(left, top, group_title(group), fontsize=PLAIN, weight="bold")
        cells = [left + width * share for share in (0.42, 0.64, 0.9)]
        for x, label in zip(cells, SHORT_LABELS, strict=True):
            figure.text(x, top - 0.016, label, fontsize=SMALL, ha="right", color="#565d66")
        for site in (site for site in SITES if site.group == group):
            y = top - 0.032 - 0.016 * LEVELS.index(site.level)
            sign = " \N{WHITE UP-POINTING TRIANGLE}" if site.name in marked else ""
            figure.text(left, y, LEVEL_WORDS[site.level] + sign, fontsize=SMALL)
            row = probabilities[site.index]
            if is_ungraded(row):
                figure.text(cells[-1], y, "not graded", fontsize=SMALL, ha="right")
                continue
            for severity, x in enumerate(cells):
                weight = "bold" if severity == row.argmax() else "normal"
                figure.text(x, y, percent(float(row[severity])), fontsize=PLAIN, ha="right", weight=weight)
