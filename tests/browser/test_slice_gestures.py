"""Slices are scrolled, windowed and enlarged by wheel, drag, keys and touch."""

from lumbar.sites import AXIAL_T2
from tests.browser.chromium import press, select
from tests.browser.slice_views import (
    ARROWS,
    STEP,
    actions,
    brightness,
    drag,
    grey,
    open_page,
    slices_shown,
    wait,
)


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
