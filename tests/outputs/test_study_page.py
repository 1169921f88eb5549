"""A study's page: whole, small, without requests, every mark where its point is."""

import base64
import html
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lumbar.grading.ensemble import site_windows
from lumbar.grading.flag import Flag
from lumbar.grading.graded_study import PRIOR
from lumbar.grading.plausibility import flags
from lumbar.networks.architecture import CropRule
from lumbar.outputs.report import Report
from lumbar.outputs.report.display_text import percent
from lumbar.outputs.report.frequencies import frequencies
from lumbar.outputs.report.key_slices import edge_letters
from lumbar.outputs.report.pictures import Frame, crop_pictures, draw_frame, fit_frame
from lumbar.outputs.report.study_page import LIMIT
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, DESCRIPTIONS, SEVERITY_WEIGHTS, SITE_NAMES
from tests.making.report_page import page_of
from tests.making.report_studies import (
    ABOUT,
    CALIBRATION,
    HOSTILE,
    SUMMARY,
    add_page,
    decisions_of,
    graded_study,
)


@pytest.fixture
def report(tmp_path):
    return Report(tmp_path / "report", ABOUT)


def test_a_page_shows_every_site_and_asks_for_nothing(tmp_path):
    study, graded = graded_study(0)
    report = Report(tmp_path / "report", ABOUT, slices=False)
    add_page(report, study, graded, flags(study.volumes, graded.detections))
    report.finish(SUMMARY)
    page = page_of(report, study.study_id)
    assert not report.failures and len(page.source.encode()) <= LIMIT
    cards = [attributes["id"] for tag, attributes in page.tags if tag == "article"]
    assert sorted(cards) == sorted(SITE_NAMES)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 8 + 2 * 25 and all(
        p["src"].startswith("data:image/jpeg") and p["alt"] for p in pictures
    )
    parts = [attributes for _, attributes in page.tags if "download" not in attributes]
    loading = [part.get(key, "") for part in parts for key in ("src", "href", "data", "srcset", "poster")]
    assert all(link.startswith(("data:", "#", "../index.html")) for link in loading if link)
    assert "url(" not in page.source and "@import" not in page.source
    for row in graded.probabilities:
        assert percent(row.max()) in page.text
    assert "Not for clinical use" in page.text and "trained on: phantoms" in page.text


@pytest.mark.parametrize("rule", [CropRule("stretch"), CropRule("shift", window_mm=80.0)])
def test_a_page_shows_the_windows_of_its_runs_rule(tmp_path, rule):
    study, graded = graded_study(0)
    report = Report(tmp_path, ABOUT | {"crop_rule": rule}, slices=False)
    add_page(report, study, graded)
    source = page_of(report, study.study_id).source
    for detection in graded.detections.values():
        pictures = crop_pictures(site_windows(detection, study.volumes, rule))
        assert len(set(pictures)) > 1 and all(picture in source for picture in pictures)


def test_marks_stand_where_the_points_are(report):
    """A bright dot painted at each point of a film is found in the picture under the mark."""
    study, graded = graded_study(1, ("fixed",))
    for description, volume in study.volumes.items():
        dark = replace(volume, grid512=np.zeros(volume.grid512.shape, np.uint8))
        for z, row, column in graded.detections["fixed"].points[description].points[:, 2]:
            cv2.circle(dark.grid512[z], (2 * int(column) + 1, 2 * int(row) + 1), 4, 255, -1)
        study.volumes[description] = dark
    add_page(report, study, graded)
    figures = re.findall(r'(?s)<figure class="film.*?</figure>', page_of(report, study.study_id).source)
    found = 0
    for figure in figures:
        encoded = base64.b64decode(re.search(r"base64,([^\"]+)", figure)[1])
        picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
        for x, y in re.findall(r'<g class="mark d0" [^>]*translate\(([\d.]+) ([\d.]+)\)', figure):
            assert picture[int(float(y)), int(float(x))] > 128
            found += 1
    assert len(figures) == 8 and found >= 8


def test_a_frame_keeps_proportions_and_places():
    header = graded_study(0)[0].volumes[AXIAL_T2].headers[0]
    tall = replace(header, shape=(400, 200), spacing=(0.5, 0.5))
    assert (fit_frame(tall, 320).rows, fit_frame(tall, 320).columns) == (320, 160)
    assert fit_frame(replace(tall, spacing=(0.5, 1.0)), 320).columns == 320
    assert fit_frame(replace(tall, spacing=None), 320).columns == 160
    corner = fit_frame(header, 320, np.array([[0.0, 0.0]]), 0.5)
    assert (corner.top, corner.left, corner.height) == (0, 0, 0.5) and corner.place(-0.5, -0.5) == (0, 0)
    far = np.array([[0.0, 0.0], [255.0, 255.0]])
    assert fit_frame(header, 320, far, 0.5).height == 1  # all points stay in view
    assert draw_frame(np.zeros((512, 512), np.uint8), corner).shape == (corner.rows, corner.columns)


def test_edges_say_which_way_the_patient_lies():
    frame = Frame(0, 0, 1, 1, 100, 100)

    def letters(*orientation: float) -> str:
        return "".join(letter for _, _, letter in edge_letters(orientation, frame))

    assert letters(1, 0, 0, 0, 1, 0) == "RLP"
    assert letters(0, 1, 0, 0, 0, -1) == "APF"
    assert letters(-1, 0, 0, 0, 1, 0) == "LRP"
    assert edge_letters(None, frame) == ()


def test_a_page_stays_small_whatever_the_pictures(report):
    """Noise is what JPEG packs worst; ten detectors' crops of it can't all stay."""
    names = tuple(f"detector {n}" for n in range(10))
    study, graded = graded_study(0, names)
    rng = np.random.default_rng(0)
    for description, volume in study.volumes.items():
        noise = rng.integers(0, 256, volume.grid512.shape, np.uint8)
        study.volumes[description] = replace(volume, grid512=noise)
        for detection in graded.detections.values():
            detection.grids512[description] = noise
    graded.members = {
        (d, f"classifier {n}"): rows for d in names for n in range(9) for rows in [graded.probabilities]
    }
    add_page(report, study, graded)
    page = page_of(report, study.study_id)
    assert len(page.source.encode()) <= LIMIT
    assert "are left out to keep this page small" in page.text and "detector 9" in page.text


def test_a_plain_folder_s_series_are_listed_with_why(tmp_path):
    study, graded = graded_study(0)
    series = decisions_of(study.study_id)
    report = Report(tmp_path, ABOUT | {"series": [*series, *decisions_of("another")]})
    add_page(report, study, graded)
    source = page_of(report, study.study_id).source
    table = re.search(r'(?s)<table class="series">.*?</table>', source)[0]
    rows = re.findall(r'<tr[^>]*><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td></tr>', table)
    expected = [
        series[number] for number in (1, 3, 4, 0, 2)
    ]  # as the slices stand, then the series that were left out
    assert [html.unescape(why) for _, _, why in rows] == [told["why"] for told in expected]
    for (name, taken_for, _), told in zip(rows, expected, strict=True):
        for part in (
            told["text"] or "without a name",
            told["series_id"],
            "15 files",
            str(told["number"] or ""),
        ):
            assert part in html.unescape(name)
        assert (told["description"] or "left out") in taken_for
        assert told["reason"].replace("_", " ") in taken_for
    assert "3 of 5 series used" in source
    assert HOSTILE not in source

    with_table = Report(tmp_path / "competition", ABOUT)
    add_page(with_table, study, graded)
    assert 'class="series"' not in page_of(with_table, study.study_id).source


def test_percentages_never_round_to_certainty():
    assert [percent(p) for p in (0, 0.001, 0.005, 0.5, 0.994, 0.9999, 1)] == [
        "0",
        "<1",
        "0",
        "50",
        "99",
        ">99",
        "100",
    ]


def test_every_description_has_its_films(report):
    for number, kept in enumerate(DESCRIPTIONS):
        study, graded = graded_study(number, ("fixed",))
        study.volumes = {kept: study.volumes[kept]}
        detection = graded.detections["fixed"]
        graded.detections = {"fixed": replace(detection, points={kept: detection.points[kept]})}
        graded.fallbacks = {d: PRIOR for d in DESCRIPTIONS if d != kept}
        add_page(report, study, graded)
        page = page_of(report, study.study_id)
        films = [a for tag, a in page.tags if tag == "figure" and "film" in a.get("class", "")]
        assert (
            len(films) == {5: 1, 10: 2}[len(range(*DESCRIPTION_SITES[kept].indices(25)))] or kept == AXIAL_T2
        )
        assert kept != AXIAL_T2 or len(films) == 5


def test_flags_of_one_reason_share_a_heading(report):
    study, graded = graded_study(0)
    reason = "level_distance"
    found = [
        Flag(reason, f"{detector}: 66 mm", 66.0, "mm", detector, (SITE_NAMES[number], SITE_NAMES[4]))
        for number, detector in enumerate(("fixed", "dynamic"))
    ]
    add_page(report, study, graded, found)
    part = page_of(report, study.study_id).source.split('id="concerns"')[1].split("</section>")[0]
    assert part.count(f"<code>{reason}</code>") == 1
    assert "fixed: 66 mm" in part and "dynamic: 66 mm" in part
    assert [part.count(f'href="#{SITE_NAMES[number]}"') >= 1 for number in (0, 1, 4)] == [True] * 3


def test_the_numbers_are_explained(tmp_path):
    study, graded = graded_study(0)
    figures = [{"mean_loss": 0.4, "auc_spinal": 0.9}, {"mean_loss": 0.5, "auc_spinal": 0.9}]
    for calibrated in (False, True):
        about = ABOUT | {"figures": figures} | ({"calibration": CALIBRATION} if calibrated else {})
        report = Report(tmp_path / str(calibrated), about)
        add_page(report, study, graded)
        text = page_of(report, study.study_id).text
        assert "log loss 0.40 to 0.50; AUC canal 0.90" in text
        assert ("fitted to that metric once more, on: 500 studies" in text) == calibrated


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_frequencies_stand_beside_calibrated_numbers_alone(tmp_path, whole, partial):
    """A mean of fewer members has them only where the calibration holds for it too."""
    study, graded = graded_study(0)
    if not whole:
        graded.members.popitem()
    report = Report(tmp_path, ABOUT | {"calibration": CALIBRATION | {"holds_for_partial": partial}})
    add_page(report, study, graded)
    source = page_of(report, study.study_id).source
    rows = re.findall(r'<tr class="frequencies"><th scope="row">Of 100</th>(.*?)</tr>', source)
    if not (whole or partial):
        assert rows == [] and "calibrated frequencies" not in source
        return
    shown = [re.findall("<td>(.*?)</td>", row) for row in rows]
    expected = graded.probabilities / [1, 2, 4]
    expected /= expected.sum(axis=1, keepdims=True)
    cards = re.findall(r'<article class="site" id="(\w+)"', source)
    assert len(cards) == 25 and "calibrated frequencies" in source
    for name, row in zip(cards, shown, strict=True):
        assert [html.unescape(cell) for cell in row] == [percent(p) for p in expected[SITE_NAMES.index(name)]]


def test_frequencies_undo_the_lean_of_the_metric():
    """The answer with the least weighted loss, found by a search, gives the frequencies back."""
    truth = np.array([0.7, 0.2, 0.1])
    steps = np.linspace(0.01, 0.98, 98)
    grid = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b < 0.995])
    loss = -(truth * np.array(SEVERITY_WEIGHTS) * np.log(grid)).sum(axis=1)
    assert frequencies(grid[loss.argmin()]) == pytest.approx(truth, abs=0.01)
