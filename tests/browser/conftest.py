"""The browser, and two reports for it to show: one of five studies, and one with slices of known greys."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lumbar.grading.flag import Flag
from lumbar.outputs.report import Report
from lumbar.sites import SITE_NAMES
from tests.browser.chromium import complaints, requests, start_chromium
from tests.browser.slice_views import grey, open_page
from tests.making.report_studies import (
    ABOUT,
    HOSTILE,
    add_page,
    decisions_of,
    graded_study,
    unreadable,
    without_axial,
    without_doubt,
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    driver = start_chromium(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """A report of five studies, one of a folder without tables: their ids by what became of them."""
    fine, fine_graded = without_doubt(*graded_study(0))
    doubtful, doubtful_graded = graded_study(3)
    flagged, flagged_graded = graded_study(1)
    series = decisions_of(flagged.study_id)
    partial, partial_graded = without_axial(*graded_study(2))
    order = [fine.study_id, flagged.study_id, partial.study_id, HOSTILE, doubtful.study_id]
    report = Report(tmp_path_factory.mktemp("report"), ABOUT | {"series": series}, order)
    add_page(report, fine, fine_graded)
    found = [Flag("side_swapped", "left lies right", -20.0, "mm", "fixed", (SITE_NAMES[5], SITE_NAMES[10]))]
    add_page(report, flagged, flagged_graded, found)
    add_page(report, partial, partial_graded)
    add_page(report, doubtful, doubtful_graded)
    add_page(report, *unreadable(HOSTILE))
    report.finish({"seconds": {"total": 8.0}, "fewer_members": {}})
    ids = {
        "fine": fine.study_id,
        "flagged": flagged.study_id,
        "partial": partial.study_id,
        "hostile": HOSTILE,
        "doubtful": doubtful.study_id,
    }
    return report, ids


@pytest.fixture(scope="session")
def shown(tmp_path_factory):
    """A report of one study with slices of known greys, and a bright dot at each point of the first detector."""
    study, graded = graded_study(0)
    for description, volume in study.volumes.items():
        greys = np.array([grey(index) for index in range(len(volume))], np.uint8)
        grid = np.repeat(greys, 512 * 512).reshape(-1, 512, 512)
        for z, row, column in graded.detections["fixed"].points[description].points[:, 2]:
            cv2.circle(grid[z], (2 * int(column) + 1, 2 * int(row) + 1), 4, 255, -1)
        study.volumes[description] = replace(volume, grid512=grid)
    report = Report(tmp_path_factory.mktemp("slices"), ABOUT, [study.study_id])
    add_page(report, study, graded)
    report.finish({"seconds": {"total": 1.0}, "fewer_members": {}})
    assert not report.failures
    return report, study, graded


@pytest.fixture
def page(chromium, shown):
    complaints(chromium), requests(chromium)
    open_page(chromium, shown[0])
    yield chromium
    assert complaints(chromium) == []
    addresses = [address for address in requests(chromium) if not address.startswith("chrome://")]
    assert all(address.startswith(shown[0].folder.as_uri()) for address in addresses)
