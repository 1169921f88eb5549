"""Slices are scrolled, windowed and enlarged by wheel, drag, keys and touch."""

import re

import numpy as np
import pytest

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

pytestmark = pytest.mark.slow


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


@pytest.fixture
def phone(chromium, shown):
    """The page on a phone with a touch screen."""
    open_page(chromium, shown[0], 390)
    chromium.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    yield chromium
    chromium.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def touch(chromium, view: int, *fingers: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """Put fingers on a view, move them and lift them.

    Args:
        fingers: From where to where each moves, (x, y) in pixels from the view's middle.
    """
    stage = select(chromium, ".stage")[view]
    box = chromium.execute_script("return arguments[0].getBoundingClientRect().toJSON()", stage)
    middle = np.array([box["left"] + box["width"] / 2, box["top"] + box["height"] / 2])

    def send(kind: str, points: list[dict]) -> None:
        chromium.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    for step in range(11):
        places = [middle + np.add(begin, np.subtract(end, begin) * step / 10) for begin, end in fingers]
        points = [{"id": number, "x": x, "y": y} for number, (x, y) in enumerate(np.array(places).tolist())]
        if step == 0:  # one finger comes down after the other
            for number in range(len(points)):
                send("touchStart", points[: number + 1])
        else:
            send("touchMove", points)
    send("touchEnd", [])


def test_a_finger_scrolls_sideways_and_the_page_downwards(phone):
    before, scrolled = slices_shown(phone)[0], phone.execute_script("return scrollY")
    touch(phone, 0, ((0, 0), (-80, 0)))
    after = slices_shown(phone)[0]
    assert after < before and abs(brightness(phone, 0) - grey(after)) <= 1
    assert phone.execute_script("return scrollY") == scrolled
    touch(phone, 0, ((0, 0), (0, -80)))
    assert slices_shown(phone)[0] == after and phone.execute_script("return scrollY") > scrolled


def test_two_fingers_enlarge_and_move_what_lies_between_them(phone):
    """The place between the fingers stays there, at the scale of their distance; nothing is scrolled or clicked."""

    def scale() -> float:
        """Return pixels per mm of the first view."""
        bar = select(phone, ".view")[0].find_element("css selector", ".scale")
        return float(re.search(r"v6h([\d.]+)v", bar.get_attribute("d"))[1]) / float(
            bar.get_attribute("data-mm")
        )

    def mark() -> np.ndarray:
        """Return the place of the first mark, (x, y) in pixels from the view's middle."""
        wait(phone)
        words = select(phone, '.view[data-view="0"] .mark')[0].get_attribute("transform")
        size = select(phone, ".stage")[0].size
        return np.array(re.findall(r"[\d.-]+", words), float) - [size["width"] / 2, size["height"] / 2]

    place, small, before = mark(), scale(), slices_shown(phone)
    scrolled, shown = phone.execute_script("return scrollY"), select(phone, "#site-shown")[0].text
    near, far = np.array([0, 20]), np.array([0, 60])
    touch(phone, 0, (place - near, place - far), (place + near, place + far))
    assert mark() == pytest.approx(place, abs=1.5) and scale() == pytest.approx(3 * small, rel=0.01)
    moved = np.array([30, 25])
    touch(phone, 0, (place - near, place - near + moved), (place + near, place + near + moved))
    assert mark() == pytest.approx(place + moved, abs=1.5) and scale() == pytest.approx(3 * small, rel=0.01)
    touch(phone, 0, (-far, -near), (far, near))
    assert scale() == pytest.approx(small, rel=0.01)
    touch(phone, 0, (-far, -near / 2), (far, near / 2))  # no smaller than the whole slice
    assert mark() == pytest.approx(place, abs=1.5)
    assert slices_shown(phone) == before and phone.execute_script("return scrollY") == scrolled
    assert select(phone, "#site-shown")[0].text == shown


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
