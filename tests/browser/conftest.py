"""The browser, and a report of five studies for it to show."""

import pytest

from lumbar.grading.plausibility import Flag
from lumbar.outputs.report import Report
from lumbar.sites import SITE_NAMES
from tests.browser.chromium import start_chromium
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
