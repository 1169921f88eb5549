"""The slices' files: loaded when they come near, named when lost, left out of a small report and of a print."""

import base64
import re
from dataclasses import replace

from lumbar.outputs.report import Report
from lumbar.sites import DESCRIPTIONS
from tests.browser.chromium import complaints, requests, select, set_view
from tests.browser.slice_views import (
    choose,
    open_page,
    slices_shown,
    wait,
)
from tests.making.report_page import page_of
from tests.making.report_studies import ABOUT, add_page, graded_study, without_axial


def test_slices_are_loaded_when_they_come_near(chromium, shown):
    set_view(chromium, 390)
    chromium.get("about:blank")
    requests(chromium)
    (entry,) = shown[0].entries.values()
    chromium.get((shown[0].folder / entry["page"]).as_uri())
    assert not [address for address in requests(chromium) if address.endswith(".jpg")]
    chromium.execute_script("document.getElementById('slices').scrollIntoView()")
    wait(chromium)
    loaded = [address for address in requests(chromium) if address.endswith(".jpg")]
    files = list((shown[0].folder / "studies").rglob("*.jpg"))
    assert 3 <= len(loaded) < len(files)


def test_a_lost_file_is_named(chromium, shown, tmp_path):
    _, study, graded = shown
    report = Report(tmp_path, ABOUT)
    add_page(report, study, graded)
    for file in (tmp_path / "studies").rglob("axial_t2-*.jpg"):
        file.unlink()
    set_view(chromium, 1280)
    (entry,) = report.entries.values()
    chromium.get((tmp_path / entry["page"]).as_uri())
    chromium.execute_script("document.getElementById('slices').scrollIntoView()")
    lost = "return [...document.querySelectorAll('.failed')].filter(p => !p.hidden).map(p => p.textContent)"
    for _ in range(100):
        if chromium.execute_script(lost):
            break
        chromium.execute_async_script("setTimeout(arguments[0], 50)")
    (message,) = chromium.execute_script(lost)
    assert "axial_t2-" in message
    complaints(chromium)  # the browser names the file too


def test_a_missing_series_and_a_missing_geometry_leave_the_rest(chromium, tmp_path):
    study, graded = without_axial(*graded_study(2))
    for description, volume in study.volumes.items():
        headers = tuple(replace(h, position=None, orientation=None, spacing=None) for h in volume.headers)
        study.volumes[description] = replace(volume, headers=headers)
    report = Report(tmp_path, ABOUT)
    add_page(report, study, graded)
    open_page(chromium, report)
    assert len(slices_shown(chromium)) == 2 and "No Axial T2." in select(chromium, ".stage")[2].text
    assert not select(chromium, ".overlay :is(.cut, .cross, .scale, .edge)")
    choose(chromium, "Spinal canal L4/L5")
    assert "no geometry" in select(chromium, "#site-shown")[0].text
    place = graded.detections["fixed"].points[DESCRIPTIONS[0]].points[3, 2]
    assert slices_shown(chromium)[0] == place[0]
    choose(chromium, "Left subarticular L4/L5")
    assert "No detector has a point" in select(chromium, "#site-shown")[0].text
    assert complaints(chromium) == []


def test_the_views_do_not_print(page):
    pdf = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(re.findall(rb"/Type /Page\b", base64.b64decode(pdf["data"]))) == 1


def test_a_small_report_has_no_slices(shown, tmp_path):
    _, study, graded = shown
    report = Report(tmp_path, ABOUT, slices=False)
    add_page(report, study, graded)
    assert not list(tmp_path.rglob("*.jpg")) and 'id="slices"' not in page_of(report, study.study_id).source
