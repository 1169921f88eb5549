"""The sentences name the slices that a level was read from: those under the detectors' points."""

import re
from dataclasses import replace

import numpy as np
import pytest

from lumbar.grading.study_record import record_graded
from lumbar.outputs.report import Report
from lumbar.outputs.report.key_slices import study_places
from lumbar.outputs.report.level_sources import level_sources
from lumbar.outputs.report.result import read_result
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, LEVEL_WORDS, LEVELS, SAGITTAL_T2, SITES
from tests.making.report_page import page_of
from tests.making.report_studies import ABOUT, add_page, graded_study, without_axial


def sources_of(study, graded, about=ABOUT) -> dict[str, str]:
    result = read_result(record_graded(study, graded, [], []), graded.detections, 4)
    return level_sources(study, study_places(study, result), about)


def moved(graded, site: int, slice_index: int, detector: str = "fixed"):
    """Put a detector's point of a site on another slice."""
    description = SITES[site].description
    found = graded.detections[detector].points[description]
    found.points[site - DESCRIPTION_SITES[description].start, 2, 0] = slice_index


@pytest.mark.parametrize("index", range(4))
def test_every_slice_with_a_point_is_named_and_no_other(index):
    study, graded = graded_study(index)
    for level, words in sources_of(study, graded).items():
        for description, volume in study.volumes.items():
            named = re.search(rf"{description} slices? ((?:[\d, and]|\(right\)|\(left\))+)", words)[1]
            expected = {
                int(
                    detection.points[description].points[
                        site.index - DESCRIPTION_SITES[description].start, 2, 0
                    ]
                )
                + 1
                for detection in graded.detections.values()
                for site in SITES[DESCRIPTION_SITES[description]]
                if site.level == level
            }
            assert set(map(int, re.findall(r"\d+", named))) == expected <= set(range(1, len(volume) + 1))


def test_sides_and_detectors_are_told_apart_where_they_differ():
    study, graded = graded_study(0, ("fixed",))
    for site, slice_index in ((3, 7), (8, 11), (13, 3), (18, 20), (23, 20)):
        moved(graded, site, slice_index)
    assert sources_of(study, graded)["l4_l5"] == (
        "Sagittal T2/STIR slice 8, Sagittal T1 slices 4 (right), 12 (left), Axial T2 slice 21"
    )
    study, graded = graded_study(0)
    for site, slice_index in ((3, 7), (8, 11), (13, 3), (18, 20), (23, 20)):
        moved(graded, site, slice_index)
        moved(graded, site, slice_index + (site == 3) + (site == 13), "dynamic")
    assert sources_of(study, graded)["l4_l5"] == (
        "Sagittal T2/STIR slices 8 and 9, Sagittal T1 slices 4 and 5 (right), 12 (left), Axial T2 slice 21"
    )


def test_the_series_is_named_where_a_description_has_several():
    study, graded = graded_study(0, ("fixed",))
    volume = study.volumes[AXIAL_T2]
    headers = [
        replace(header, series_id="1.2.3.4" if z < 21 else "1.2.3.5")
        for z, header in enumerate(volume.headers)
    ]
    study.volumes[AXIAL_T2] = replace(volume, headers=tuple(headers))
    moved(graded, 18, 20)
    moved(graded, 23, 21)
    series = [
        {"study_id": study.study_id, "series_id": "1.2.3.4", "number": 7},
        {"study_id": study.study_id, "series_id": "1.2.3.5", "number": None},
        {"study_id": "another", "series_id": "1.2.3.5", "number": 9},
    ]
    source = sources_of(study, graded, ABOUT | {"series": series})["l4_l5"]
    assert source.endswith("Axial T2 slices 22 (right, series 1.2.3.5), 21 (left, series 7)")
    for told in series:
        told["number"] = 7  # shared numbers name no series
    series[1]["study_id"] = series[0]["study_id"]
    assert "series 1.2.3.4" in sources_of(study, graded, ABOUT | {"series": series})["l4_l5"]


def test_the_page_s_sentences_have_the_sources(tmp_path):
    study, graded = without_axial(*graded_study(0))
    report = Report(tmp_path, ABOUT)
    add_page(report, study, graded)
    text = page_of(report, study.study_id).text
    for level, source in sources_of(study, graded).items():
        assert AXIAL_T2 not in source and SAGITTAL_T2 in source
        assert f"Read from {source}." in text and LEVEL_WORDS[level] in text


def test_a_resumed_study_and_points_of_nothing_have_no_source():
    study, graded = graded_study(0)
    assert level_sources(None, {}, ABOUT) == level_sources(study, {}, ABOUT) == {}
    assert list(sources_of(study, graded)) == list(LEVELS) and not np.isnan(graded.probabilities).any()
