"""Key slices and summary as DICOM objects: read back, without an objection of a validator, shown by an archive."""

import json
import logging
import re
import shutil
import subprocess
import urllib.request

import numpy as np
import pydicom
import pytest
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from lumbar.grading.study_record import record_graded, record_ungraded
from lumbar.outputs.pacs.study_objects import write_study_objects
from lumbar.outputs.report.document import FOLDER
from lumbar.outputs.report.key_slices import COLOURS, choose_key_slices, draw_film, study_places
from lumbar.outputs.report.result import read_result
from lumbar.reading.references import SeriesRef, StudyRef
from tests.making.archive_objects import source_files, written_objects
from tests.making.orthanc import running_orthanc, store
from tests.making.report_studies import ABOUT, graded_study, without_axial


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The objects of a study: the study, its grades, and the folder of its files."""
    return written_objects(tmp_path_factory.mktemp("objects"))


def captures(folder) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(file) for file in sorted(folder.glob("key_slice_*.dcm"))]


def films_of(study, graded):
    result = read_result(record_graded(study, graded, [], []), graded.detections, 4)
    places = study_places(study, result)
    return [
        draw_film(key, study.volumes[key.description], places) for key in choose_key_slices(study, places)
    ]


def test_key_slices_belong_to_the_study_and_show_its_marks(written):
    study, graded, folder = written
    films, images = films_of(study, graded), captures(folder)
    assert len(images) == len(films) == 8
    assert (
        len({image.SOPInstanceUID for image in images}) == 8
        and len({i.SeriesInstanceUID for i in images}) == 1
    )
    for number, (film, image) in enumerate(zip(films, images, strict=True), start=1):
        assert image.SOPClassUID == SecondaryCaptureImageStorage and image.InstanceNumber == number
        assert (image.StudyInstanceUID, image.PatientID, str(image.PatientName)) == (
            "1.2.3",
            "P 7",
            "Größe^Ä",
        )
        shown = study.volumes[film.key.description].headers[film.key.slice_index]
        assert image.SourceImageSequence[0].ReferencedSOPInstanceUID == shown.sop_instance_uid
        pixels = image.pixel_array.astype(int)
        assert pixels.shape[1] == 2 * film.frame.columns
        mark = next(mark for mark in reversed(film.marks) if not mark.off or mark is film.marks[0])
        colour = np.array([int(COLOURS[mark.shape][n : n + 2], 16) for n in (1, 3, 5)])
        x, y = round(2 * mark.x), round(2 * mark.y)
        near = pixels[max(0, y - 24) : y + 24, max(0, x - 24) : x + 24].reshape(-1, 3)
        assert (np.abs(near - colour).sum(axis=1) < 40).sum() > 20


def test_the_slice_in_a_capture_is_the_slice_of_the_volume(written):
    """Away from marks and letters the capture has the film's grey values."""
    study, graded, folder = written
    film, image = films_of(study, graded)[0], captures(folder)[0]
    corner = image.pixel_array[20 : 2 * 60 : 2, 20 : 2 * 60 : 2].astype(int)
    assert (corner.max(axis=-1) == corner.min(axis=-1)).all() and corner.std() > 5
    from lumbar.outputs.report.pictures import draw_frame

    picture = draw_frame(study.volumes[film.key.description].grid512[film.key.slice_index], film.frame)
    assert np.corrcoef(corner[..., 0].ravel(), picture[10:60, 10:60].ravel())[0, 1] > 0.9


def test_the_summary_is_one_page_with_the_sentences(written):
    summary = pydicom.dcmread(written[2] / "summary.dcm")
    assert summary.SOPClassUID == EncapsulatedPDFStorage and summary.PatientID == "P 7"
    pdf = summary.EncapsulatedDocument[: summary.EncapsulatedDocumentLength]
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", pdf)) == 1
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext: apt-get install poppler-utils")
    text = subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True).stdout.decode()
    assert "Study 2654435858" in text and "Not for clinical use" in text and "L5/S1: " in text
    for row in written[1].probabilities:
        assert re.search(rf"\b{round(100 * row.max())}\b", text)


def test_a_validator_has_no_objection(written):
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy: apt-get install dicom3tools")
    for file, kind in (("key_slice_1.dcm", "SCImage"), ("summary.dcm", "EncapsulatedPDF")):
        done = subprocess.run(["dciodvfy", str(written[2] / file)], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines()
        assert kind in lines
        assert [line for line in lines if line.startswith(("Error", "Abort"))] == []


@pytest.fixture
def archive(tmp_path):
    with running_orthanc(tmp_path) as address:
        yield address


def test_an_archive_stores_and_shows_them(written, archive):
    """Orthanc takes all objects into one study, renders each key slice and gives the PDF back."""
    rendered = 0
    for file in sorted(written[2].iterdir()):
        stored = store(archive, file)
        part = "pdf" if file.name == "summary.dcm" else "preview"
        shown = urllib.request.urlopen(f"{archive}/instances/{stored['ID']}/{part}").read()
        assert shown.startswith(b"%PDF" if part == "pdf" else b"\x89PNG")
        rendered += part == "preview"
    (study,) = json.load(urllib.request.urlopen(f"{archive}/studies"))
    assert rendered == 8
    about = json.load(urllib.request.urlopen(f"{archive}/studies/{study}"))
    assert about["PatientMainDicomTags"]["PatientID"] == "P 7" and len(about["Series"]) == 2


def test_a_missing_series_an_ungraded_study_and_files_without_dicom(tmp_path):
    study, graded = without_axial(*graded_study(1))
    ref = source_files(study, tmp_path / "images")
    record = record_graded(study, graded, [], [])
    assert write_study_objects(ref, record, study, graded.detections, ABOUT, tmp_path, True, True) is None
    assert len(captures(tmp_path / "7")) == 3 and (tmp_path / "7/summary.dcm").is_file()
    ungraded = record_ungraded("7", "grading_failed", "a bug")
    assert write_study_objects(ref, ungraded, study, {}, ABOUT, tmp_path / "b", False, True) is None
    assert [file.name for file in (tmp_path / "b/7").iterdir()] == ["summary.dcm"]
    volume = StudyRef("7", (SeriesRef("1", tmp_path / "none", "Axial T2"),))
    problem = write_study_objects(volume, record, study, graded.detections, ABOUT, tmp_path / "c", True, True)
    assert "got no DICOM file" in problem and not (tmp_path / "c").exists()
    odd = StudyRef("../7", ref.series)
    problem = write_study_objects(odd, record, study, graded.detections, ABOUT, tmp_path / "d", True, True)
    assert "'../7'" in problem and not (tmp_path / "d").exists()


def test_names_with_formulas_are_drawn_as_they_are(tmp_path):
    study, graded = graded_study(0, (r"$\frac$ a", "_b_"))
    ref = source_files(study, tmp_path / "images")
    about = ABOUT | {"trained_on": r"$\nothing$"}
    record = record_graded(study, graded, [], [])
    assert write_study_objects(ref, record, study, graded.detections, about, tmp_path, True, True) is None


def test_marks_have_the_colours_of_the_pages():
    style = (FOLDER / "style.css").read_text("utf-8")
    assert re.findall(r"\.d\d \{ --mark: (#\w+)", style) == list(COLOURS)


def test_the_log_stays_short(written, caplog, tmp_path):
    study, graded, _ = written
    caplog.set_level(logging.INFO)
    ref = source_files(study, tmp_path / "images")
    record = record_graded(study, graded, [], [])
    write_study_objects(ref, record, study, graded.detections, ABOUT, tmp_path, False, True)
    assert caplog.records == []
