"""The cards of the sites: what stands in their columns has room there."""

import pytest

from lumbar.outputs.report import Report
from tests.browser.chromium import set_view
from tests.making.report_studies import ABOUT, CALIBRATION, add_page, graded_study

OVERLAPS = """
const ends = e => e.getBoundingClientRect();
return [...document.querySelectorAll(".site")].filter(site => {
  const [table, crop] = [site.querySelector(".heat"), site.querySelector(".crops img")].map(ends);
  return table.right > crop.left && table.bottom > crop.top;
}).length;
"""


@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("calibrated", [False, True])
def test_numbers_do_not_cover_a_crop(chromium, tmp_path, calibrated, width):
    study, graded = graded_study(1)
    report = Report(tmp_path, ABOUT | ({"calibration": CALIBRATION} if calibrated else {}))
    add_page(report, study, graded)
    set_view(chromium, width, "light")
    chromium.get((tmp_path / report.entries[study.study_id]["page"]).as_uri())
    assert len(chromium.find_elements("css selector", ".site .frequencies")) == 25 * calibrated
    assert chromium.execute_script(OVERLAPS) == 0
