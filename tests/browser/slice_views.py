"""The three views of a study's slices in a browser: their content as it looks, and the ways to move them."""

from io import BytesIO

import numpy as np
from PIL import Image

from lumbar.outputs.report import Report
from lumbar.sites import DESCRIPTION_SITES, DESCRIPTIONS, SITES
from tests.browser.chromium import select, set_view
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


def open_page(chromium, report: Report, width: int = 1280) -> None:
    """Open the only study's page at its slices; there has been no complaint and no request beyond the folder."""
    set_view(chromium, width)
    (entry,) = report.entries.values()
    chromium.get((report.folder / entry["page"]).as_uri())
    chromium.execute_script("document.getElementById('slices').scrollIntoView()")
    wait(chromium)


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
