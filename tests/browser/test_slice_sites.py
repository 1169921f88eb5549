"""From a site anywhere on the page, or from a place on a slice, to all three views."""

import numpy as np

from lumbar.grids import DETECTOR_GRID
from lumbar.sites import DESCRIPTIONS, SITE_NAMES, SITES
from tests.browser.chromium import select
from tests.browser.slice_views import actions, choose, expected_slices, slices_shown
from tests.making.spine import nearest


def test_the_page_opens_at_the_worst_site(page, shown):
    graded = shown[2]
    worst = int((graded.probabilities @ [0, 0.5, 1]).argmax())
    assert slices_shown(page) == expected_slices(shown, worst)
    assert f"{SITES[worst].level.upper().replace('_', '/')}" in select(page, "#site-shown")[0].text


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


MOST_ACTIONS = 4  # from the index to an answer about a point


def test_three_clicks_from_the_index_to_a_foramen_in_three_views(page, shown):
    """Is the right L4/L5 point on the foramen of the right slice, and does the axial view agree?

    Every click is on a part that is in sight, so nothing is scrolled. The answer is in sight after the last click.
    """
    page.get((shown[0].folder / "index.html").as_uri())
    clicks = ("#studies tbody a", '.jump a[href="#grid"]', f'.grid tr[data-site="{SITE_NAMES[13]}"] td')
    for css in clicks:
        part = select(page, css)[0]
        assert in_sight(page, part), css
        actions(page).move_to_element(part).click().perform()
    assert len(clicks) <= MOST_ACTIONS
    assert slices_shown(page) == expected_slices(shown, 13)
    assert select(page, "#site-shown")[0].text.startswith("Right foramen L4/L5: ")
    answer = (
        "#site-shown",
        f'.view[data-view="1"] .mark.chosen[data-site="{SITE_NAMES[13]}"]:not(.off)',
        '.view[data-view="2"] .cross',
        '.view[data-view="2"] canvas',
    )
    for css in answer:
        assert in_sight(page, select(page, css)[0]), css


def in_sight(chromium, part) -> bool:
    """Return whether an element lies in the window, whole."""
    box = """
const { top, bottom, left, right } = arguments[0].getBoundingClientRect();
return top >= 0 && left >= 0 && bottom <= innerHeight && right <= innerWidth;"""
    return chromium.execute_script(box, part)
