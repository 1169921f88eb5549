"""``<folder>/<study>/key_slice_<n>.dcm`` and ``summary.dcm``: the objects of each study as it is graded.

Needs matplotlib, which inference needs for nothing else: this module is imported when the objects are wanted.
"""

import logging
from pathlib import Path

from lumbar.grading.ensemble import Detection
from lumbar.grading.study_record import StudyRecord
from lumbar.outputs.pacs.derived import write_object
from lumbar.outputs.pacs.encapsulated_pdf import encapsulated_summary
from lumbar.outputs.pacs.secondary_capture import key_slice_capture
from lumbar.outputs.pacs.source_images import image_headers
from lumbar.outputs.report.key_slices import study_places
from lumbar.outputs.report.result import read_result
from lumbar.outputs.report.study_page import draw_films, sentences_of
from lumbar.reading.competition_tables import IDENTIFIER
from lumbar.reading.library_warnings import gathered_warnings
from lumbar.reading.references import StudyRef
from lumbar.reading.study import Study

logger = logging.getLogger(__name__)


def write_study_objects(
    ref: StudyRef,
    record: StudyRecord,
    study: Study,
    detections: dict[str, Detection],
    about: dict,
    folder: Path,
    captures: bool,
    summary: bool,
) -> str | None:
    """Write a study's objects; return the reason if there are none.

    Args:
        ref: The study's files.
        detections: By detector.
        about: As in run.json.
        folder: A folder per study is created in it.
        captures: Whether to write the key slices.
        summary: Whether to write the summary.
    """
    if not IDENTIFIER.fullmatch(ref.study_id):
        return f"got the study id {ref.study_id!r}, expected plain words: it names a folder"
    result = read_result(record, detections, len(about["detectors"]) * len(about["classifiers"]))
    places = study_places(study, result)
    films = draw_films(study, places)
    shown = [study.volumes[film.key.description].headers[film.key.slice_index] for film in films]
    with gathered_warnings(f"study {ref.study_id}"):
        headers = image_headers(ref, {header.sop_instance_uid for header in shown})
    sources = [headers.get(header.sop_instance_uid) for header in shown]
    found = [source for source in sources if source is not None]
    if not found:
        return "got no DICOM file of a single slice, expected one: an object needs its patient and study"
    place = folder / ref.study_id
    for number, (film, source) in enumerate(zip(films, sources, strict=True), start=1):
        if captures and source is not None:
            capture = key_slice_capture(film, study, list(places), source, number)
            write_object(capture, place / f"key_slice_{number}.dcm")
    if summary:
        unique = list({source.SOPInstanceUID: source for source in found}.values())
        sentences = sentences_of(study, result, places, about)
        document = encapsulated_summary(study, result, sentences, films, about, unique)
        write_object(document, place / "summary.dcm")
    return None
