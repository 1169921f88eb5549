"""Key slices with their marks -> DICOM Secondary Capture images, one per slice (PS3.3 A.8.1)."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from lumbar.outputs.pacs.derived import NOTE, derived_object, reference
from lumbar.outputs.pacs.drawing import draw_on, pixels_of
from lumbar.outputs.report.key_slices import Film
from lumbar.reading.study import Study

SERIES, SERIES_NUMBER = "Lumbar spine key slices, research use only", 9002  # far from a scanner's numbers
SCALE = 2  # pixels of the capture per pixel of the film: text stays sharp
CAPTION = 40  # pixels of the film below it
POINTS = 72  # per inch


def key_slice_capture(
    film: Film, study: Study, detectors: list[str], source: Dataset, number: int
) -> Dataset:
    """Return the capture of one film.

    Args:
        detectors: Names in the order of the marks' shapes.
        source: Header of the slice.
        number: The instance's, from 1.
    """
    pixels = captured_pixels(film, study, detectors)
    made = derived_object(source, SecondaryCaptureImageStorage, pixels.tobytes(), SERIES, SERIES_NUMBER)
    made.Modality, made.InstanceNumber = "OT", number
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.PatientOrientation = ""
    made.DerivationDescription = f"{film.key.title}, {film.where}, with the detectors' points"
    made.SourceImageSequence = [reference(source)]
    made.BurnedInAnnotation = "NO"  # nothing that identifies the patient
    made.ImageComments = NOTE
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.Rows, made.Columns = pixels.shape[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PixelData = pixels.tobytes()  # two bytes at least: SCALE is even
    return made


def captured_pixels(film: Film, study: Study, detectors: list[str]) -> np.ndarray:
    """Return the film above its caption, (row, column, 3) uint8."""
    columns, rows = film.frame.columns, film.frame.rows + CAPTION
    figure = Figure(figsize=(columns / POINTS, rows / POINTS), dpi=POINTS * SCALE, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, CAPTION / rows, 1, film.frame.rows / rows))
    axes.set_axis_off()
    draw_on(axes, film, study, 1.0)
    lines = (f"{film.key.title} · {film.key.description} · {film.where}", f"{', '.join(detectors)} · {NOTE}")
    for line, height in zip(lines, (26, 10), strict=True):
        size = min(11.0, 1.75 * columns / len(line))  # a letter is about 0.55 of its size wide
        figure.text(
            6 / columns, height / rows, line, fontsize=size, color="white", va="center", parse_math=False
        )
    return pixels_of(canvas)
