"""The slices to scroll, as a reader uses them: by wheel, drag, keys and touch, from a site to all three views."""

import base64
import re
from dataclasses import replace
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from lumbar.grids import DETECTOR_GRID, grid_share
from lumbar.outputs.report import Report
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, DESCRIPTIONS, SITE_NAMES, SITES
from tests.browser.chromium import complaints, press, requests, select, set_view
from tests.making.report_page import page_of
from tests.making.report_studies import ABOUT, add_page, graded_study, without_axial
from tests.making.spine import nearest

STEP = 3  # of grey from a slice to the next
ARROWS = {
    "left": "\ue012",
    "up": "\ue013",
    "right": "\ue014",
    "down": "\ue015",
    "home": "\ue011",
    "end": "\ue010",
}


def grey(index: int) -> int:
    """Return the grey that all of a slice has: its number can be read from a screenshot."""
    return 20 + STEP * index


@pytest.fixture(scope="module")
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


def open_page(chromium, report: Report, width: int = 1280) -> None:
    """Open the only study's page at its slices; there has been no complaint and no request beyond the folder."""
    set_view(chromium, width)
    (entry,) = report.entries.values()
    chromium.get((report.folder / entry["page"]).as_uri())
    chromium.execute_script("document.getElementById('slices').scrollIntoView()")
    wait(chromium)


@pytest.fixture
def page(chromium, shown):
    complaints(chromium), requests(chromium)
    open_page(chromium, shown[0])
    yield chromium
    assert complaints(chromium) == []
    addresses = [address for address in requests(chromium) if not address.startswith("chrome://")]
    assert all(address.startswith(shown[0].folder.as_uri()) for address in addresses)


def wait(chromium) -> None:
    """Wait until each view has drawn the slice of its slider."""
    chromium.execute_async_script(
        """
const done = arguments[0];
(function look() {
  const views = [...document.querySelectorAll(".view:has(canvas)")];
  const drawn = views.every((view) =>
    view.querySelector("canvas").ariaLabel.endsWith(`, slice ${view.querySelector("input").value}`));
  if (drawn) requestAnimationFrame(() => requestAnimationFrame(done)); else setTimeout(look, 20);
})();"""
    )


def slices_shown(chromium) -> list[int]:
    """Return the numbers from 0 of the slices in the three views."""
    wait(chromium)
    return [int(slider.get_attribute("value")) - 1 for slider in select(chromium, ".view input")]


def picture(chromium, view: int) -> np.ndarray:
    """Return a view's slice as it looks, without marks, (row, column) uint8."""
    wait(chromium)
    chromium.execute_script(
        "document.querySelectorAll('.overlay').forEach(o => o.style.visibility = 'hidden')"
    )
    png = select(chromium, ".view canvas")[view].screenshot_as_png
    chromium.execute_script("document.querySelectorAll('.overlay').forEach(o => o.style.visibility = '')")
    return np.asarray(Image.open(BytesIO(png)).convert("L"))


def brightness(chromium, view: int) -> float:
    return float(np.median(picture(chromium, view)))


def actions(chromium):
    from selenium.webdriver import ActionChains

    return ActionChains(chromium)


def choose(chromium, site: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(select(chromium, "#go")[0]).select_by_visible_text(site)


def drag(chromium, view: int, right: int, down: int, shift: bool = False) -> None:
    """Drag from the middle of a view by pixels."""
    chain = actions(chromium).move_to_element(select(chromium, ".stage")[view])
    if shift:
        chain = chain.key_down("\ue008")
    chain.click_and_hold().move_by_offset(right, down).release().key_up("\ue008").perform()


def expected_slices(shown, site: int) -> list[int]:
    """Return the slices of the three views at a site's first point: its own, and the nearest of the others."""
    _, study, graded = shown
    description = SITES[site].description
    found = (
        graded.detections["fixed"].points[description].points[site - DESCRIPTION_SITES[description].start, 2]
    )
    point = study.volumes[description].grid_to_patient(*(int(v) for v in found))
    return [
        int(found[0]) if other == description else nearest(study.volumes[other], np.array(point))[0]
        for other in DESCRIPTIONS
    ]


def test_the_page_opens_at_the_worst_site(page, shown):
    graded = shown[2]
    worst = int((graded.probabilities @ [0, 0.5, 1]).argmax())
    assert slices_shown(page) == expected_slices(shown, worst)
    assert f"{SITES[worst].level.upper().replace('_', '/')}" in select(page, "#site-shown")[0].text


def test_wheel_drag_and_keys_scroll(page, shown):
    count = len(shown[1].volumes[AXIAL_T2])
    for view in range(3):
        select(page, ".stage")[view].click()
        press(page, ARROWS["home"])
        assert slices_shown(page)[view] == 0
        press(page, ARROWS["right"], ARROWS["up"], ARROWS["right"], ARROWS["left"])
        assert slices_shown(page)[view] == 2
        assert abs(brightness(page, view) - grey(2)) <= 1
    origin = select(page, ".stage")[2]
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    for _ in range(3):
        actions(page).scroll_from_origin(ScrollOrigin.from_element(origin), 0, 120).perform()
    assert slices_shown(page)[2] == 5 and abs(brightness(page, 2) - grey(5)) <= 1
    actions(page).scroll_from_origin(ScrollOrigin.from_element(origin), 0, -120).perform()
    assert slices_shown(page)[2] == 4
    drag(page, 2, 0, 60)
    after = slices_shown(page)[2]
    assert after > 4 and abs(brightness(page, 2) - grey(after)) <= 1
    drag(page, 2, -60, 0)
    assert slices_shown(page)[2] == 4
    press(page, ARROWS["end"], ARROWS["right"])
    assert slices_shown(page)[2] == count - 1
    assert shown[1].study_id in page.title  # the arrows of a slider do not lead to the next study


def test_a_finger_scrolls_sideways_and_the_page_downwards(chromium, shown):
    open_page(chromium, shown[0], 390)
    stage = select(chromium, ".stage")[0]
    box = chromium.execute_script("return arguments[0].getBoundingClientRect().toJSON()", stage)
    x, y = box["left"] + box["width"] / 2, box["top"] + box["height"] / 2
    chromium.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def swipe(right: int, down: int) -> None:
        for step in range(11):
            place = [{"x": x + right * step / 10, "y": y + down * step / 10}]
            kind = "touchMove" if step else "touchStart"
            chromium.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": place})
        chromium.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    try:
        before, scrolled = slices_shown(chromium)[0], chromium.execute_script("return scrollY")
        swipe(-80, 0)
        after = slices_shown(chromium)[0]
        assert after < before and abs(brightness(chromium, 0) - grey(after)) <= 1
        assert chromium.execute_script("return scrollY") == scrolled
        swipe(0, -80)
        assert slices_shown(chromium)[0] == after and chromium.execute_script("return scrollY") > scrolled
    finally:
        chromium.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_window_and_level_change_by_drag_and_keys_and_are_reset(page):
    before = brightness(page, 0)
    drag(page, 0, 0, -40, shift=True)
    size = select(page, ".stage")[0].size["height"]
    assert abs(brightness(page, 0) - (before + 255 * 40 / size)) <= 3  # upwards is brighter
    assert slices_shown(page)[0] == round((before - 20) / STEP)
    select(page, "#reset")[0].click()
    assert brightness(page, 0) == before
    select(page, ".slices .filters label")[1].click()
    drag(page, 0, -int(size / 2), 0)  # half the width: twice the contrast
    assert abs(brightness(page, 0) - max(0, 127.5 + 2 * (before - 127.5))) <= 3
    assert "window 50 %" in select(page, ".where")[0].text
    press(page, "0")
    assert brightness(page, 0) == before
    press(page, "]", "]")
    wait(page)
    assert "window 110 %" in select(page, ".where")[0].text


def test_marks_stand_on_their_points(page, shown):
    """The bright dot painted at each point is under the mark of its site, and its value is in the list."""
    graded = shown[2]
    for view, description in enumerate(DESCRIPTIONS):
        places = graded.detections["fixed"].points[description].points[:, 2]
        index = int(places[0][0])
        slider = select(page, ".view input")[view]
        page.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
            slider,
            index + 1,
        )
        seen = picture(page, view)
        stage = page.execute_script(
            "return arguments[0].getBoundingClientRect().toJSON()", select(page, ".stage")[view]
        )
        names = [SITES[i].name for i in range(25)[DESCRIPTION_SITES[description]]]
        here = [name for name, place in zip(names, places, strict=True) if place[0] == index]
        for name in here:
            mark = f'.view[data-view="{view}"] .mark.d0[data-site="{name}"]:not(.off) path'
            (outline,) = select(page, mark)
            box = page.execute_script("return arguments[0].getBoundingClientRect().toJSON()", outline)
            x, y = (
                box["left"] + box["width"] / 2 - stage["left"],
                box["top"] + box["height"] / 2 - stage["top"],
            )
            assert seen[int(y), int(x)] > 200
        listed = select(page, f'.view[data-view="{view}"] .points-here button')
        buttons = {button.get_attribute("data-site"): button.text for button in listed}
        assert set(here) <= set(buttons) and all("fixed 0.90" in buttons[name] for name in here)


def test_lines_lie_in_both_planes(page, shown):
    study = shown[1]
    shown_slices = slices_shown(page)
    for view in range(3):
        others = [0, 1] if view == 2 else [2]
        lines = select(page, f'.view[data-view="{view}"] line.cut')
        assert sorted(int(line.get_attribute("data-view")) for line in lines) == others
        volume = study.volumes[DESCRIPTIONS[view]]
        for line in lines:
            other = int(line.get_attribute("data-view"))
            ends = [[float(line.get_attribute(f"{axis}{end}")) for axis in "xy"] for end in "12"]
            header = volume.headers[shown_slices[view]]
            wide = select(page, ".stage")[view].size["width"]
            size = np.array([header.shape[1] * header.spacing[1], header.shape[0] * header.spacing[0]])
            scale = wide / size.max()
            cut = study.volumes[DESCRIPTIONS[other]]
            index = shown_slices[other]
            for end in ends:
                x, y = (np.array(end) - (wide - size * scale) / 2) / (size * scale)
                row, column = y * DETECTOR_GRID - 0.5, x * DETECTOR_GRID - 0.5
                point = volume.grid_to_patient(shown_slices[view], row, column)
                on_other = cut.patient_to_grid(index, point)
                assert np.linalg.norm(np.subtract(cut.grid_to_patient(index, *on_other), point)) < 0.1
                assert (
                    min(grid_share(np.array(on_other))) >= -0.01
                    and max(grid_share(np.array(on_other))) <= 1.01
                )


def test_the_scale_bar_and_the_letters_are_the_patient_s(page, shown):
    for view, (description, letters) in enumerate(zip(DESCRIPTIONS, ("APHF", "APHF", "RLAP"), strict=True)):
        header = shown[1].volumes[description].headers[slices_shown(page)[view]]
        (bar,) = select(page, f'.view[data-view="{view}"] .scale')
        pixels = float(re.search(r"v6h([\d.]+)v", bar.get_attribute("d"))[1])
        longest = max(n * mm for n, mm in zip(header.shape, header.spacing, strict=True))
        share = pixels / select(page, ".stage")[view].size["width"]
        assert share == pytest.approx(float(bar.get_attribute("data-mm")) / longest, rel=1e-4)
        assert "".join(e.text for e in select(page, f'.view[data-view="{view}"] .edge')) == letters


def test_films_crops_cells_and_the_list_lead_to_a_site(page, shown):
    """Each way brings all views to the site's slices."""
    ways = {
        3: f'.grid tr[data-site="{SITE_NAMES[3]}"] td',
        8: f'[id="{SITE_NAMES[8]}"] .crops figure[data-detector="fixed"] img',
        12: f'[id="{SITE_NAMES[12]}"] .show',
        18: f'.film .mark.d0[data-site="{SITE_NAMES[18]}"]',
    }
    for site, css in ways.items():
        part = select(page, css)[0]
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", part)
        actions(page).move_to_element(part).click().perform()
        assert slices_shown(page) == expected_slices(shown, site), css
        top = page.execute_script("return document.getElementById('slices').getBoundingClientRect().top")
        assert 0 <= top < 100
        assert page.switch_to.active_element.get_attribute("type") == "range"
    choose(page, "Right foramen L3/L4")
    assert slices_shown(page) == expected_slices(shown, 12)
    (chosen,) = {mark.get_attribute("data-site") for mark in select(page, ".overlay .mark.chosen")}
    assert chosen == SITE_NAMES[12]


def test_a_click_on_a_slice_leads_the_other_views_there(page, shown):
    study = shown[1]
    before = slices_shown(page)
    stage = select(page, ".stage")[0]
    size = stage.size["width"]
    actions(page).move_to_element_with_offset(stage, round(size * 0.1), round(size * -0.2)).click().perform()
    header = study.volumes[DESCRIPTIONS[0]].headers[before[0]]
    mm = np.array([header.shape[1] * header.spacing[1], header.shape[0] * header.spacing[0]])
    share = 0.5 + np.array([0.1, -0.2]) * mm.max() / mm
    point = study.volumes[DESCRIPTIONS[0]].grid_to_patient(before[0], *(share[::-1] * DETECTOR_GRID - 0.5))
    after = slices_shown(page)
    assert after == [before[0]] + [nearest(study.volumes[d], np.array(point))[0] for d in DESCRIPTIONS[1:]]
    assert len(select(page, ".overlay .cross")) == 2


def test_two_clicks_from_the_index_to_a_foramen_in_three_views(page, shown):
    page.get((shown[0].folder / "index.html").as_uri())
    select(page, "#studies tbody a")[0].click()
    cell = select(page, f'.grid tr[data-site="{SITE_NAMES[13]}"] td')[0]
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", cell)
    cell.click()
    assert slices_shown(page) == expected_slices(shown, 13)
    assert select(page, "#site-shown")[0].text.startswith("Right foramen L4/L5: ")
    assert select(page, ".view[data-view='2'] .cross") and select(page, ".view[data-view='1'] .mark.chosen")


def test_views_enlarge_and_take_the_whole_width(page):
    narrow = select(page, ".stage")[1].size["width"]
    box = "return document.querySelector('.view[data-view=\"1\"] .scale').getAttribute('d')"
    small = page.execute_script(box)
    select(page, ".stage")[1].click()
    press(page, "+", "+", "+")
    wait(page)
    assert page.execute_script(box) != small
    press(page, "0", "f")
    wait(page)
    assert select(page, ".stage")[1].size["width"] > 2.5 * narrow
    actions(page).double_click(select(page, ".stage")[1]).perform()
    wait(page)
    assert select(page, ".stage")[1].size["width"] == narrow


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
