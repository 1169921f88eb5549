"""Marks, lines of intersection, scale bars and the letters of the sides are at the places that the geometry gives."""

import re

import numpy as np
import pytest

from lumbar.grids import DETECTOR_GRID, grid_share
from lumbar.sites import DESCRIPTION_SITES, DESCRIPTIONS, SITES
from tests.browser.chromium import select
from tests.browser.slice_views import picture, slices_shown


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
