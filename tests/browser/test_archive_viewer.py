"""An archive's own viewer (Orthanc, from Debian's packages) shows the key slices, and Chromium the summary from it."""

import time
from io import BytesIO

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image

from tests.browser.chromium import select, set_view
from tests.browser.slice_views import actions
from tests.making.archive_objects import written_objects
from tests.making.orthanc import running_orthanc, store

pytestmark = pytest.mark.slow

ALIKE = 0.8  # correlation of a capture and its picture in the viewer
CORNER = 0.12  # share of the picture's height, at either end, that the viewer writes on


@pytest.fixture(scope="module")
def archive(tmp_path_factory, chromium):
    """An archive with a study's objects: its address, the captures, and the answers to them and to the summary."""
    folder = written_objects(tmp_path_factory.mktemp("objects"))[2]
    captures = sorted(folder.glob("key_slice_*.dcm"))
    with running_orthanc(tmp_path_factory.mktemp("archive"), "orthanc-webviewer") as address:
        answers = [store(address, file) for file in (*captures, folder / "summary.dcm")]
        yield address, [pydicom.dcmread(file).pixel_array for file in captures], answers


def grey(picture: np.ndarray) -> np.ndarray:
    """Return a picture's brightness, blurred: marks and letters stay, the slices' noise does not."""
    rgb = np.ascontiguousarray(picture[..., :3])
    return cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(float), (0, 0), 2)


def likeness(chromium, capture: np.ndarray, first: np.ndarray) -> float:
    """Return the correlation of a capture with the picture in the viewer, which fits the first one into its height."""
    shown = grey(np.asarray(Image.open(BytesIO(select(chromium, "#dicomImage canvas")[0].screenshot_as_png))))
    height, width = shown.shape
    scale = min(height / first.shape[0], width / first.shape[1])
    rows, columns = round(capture.shape[0] * scale), round(capture.shape[1] * scale)
    top, left = (height - rows) // 2, (width - columns) // 2
    expected = cv2.resize(grey(capture), (columns, rows), interpolation=cv2.INTER_AREA)
    seen = shown[top : top + rows, left : left + columns]
    inside = slice(round(rows * CORNER), round(rows * (1 - CORNER)))
    if seen[inside].std() == 0:
        return 0.0
    return float(np.corrcoef(seen[inside].ravel(), expected[inside].ravel())[0, 1])


def test_the_viewer_shows_every_key_slice(chromium, archive):
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    address, captures, answers = archive
    set_view(chromium, 1280)
    chromium.get(f"{address}/web-viewer/app/viewer.html?series={answers[0]['ParentSeries']}")
    for number in range(len(captures)):
        if number:
            origin = ScrollOrigin.from_element(select(chromium, "#dicomImage")[0])
            actions(chromium).scroll_from_origin(origin, 0, 120).perform()
        for _ in range(100):
            likenesses = [likeness(chromium, capture, captures[0]) for capture in captures]
            if max(likenesses) == likenesses[number] > ALIKE:
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"key slice {number + 1} did not appear: got the likenesses {likenesses}")
    assert "key slices" in select(chromium, "#topright")[0].text


def test_the_summary_opens_from_the_archive(chromium, archive):
    address, _, answers = archive
    set_view(chromium, 1280)
    chromium.get(f"{address}/instances/{answers[-1]['ID']}/pdf")
    for _ in range(100):
        page = np.asarray(Image.open(BytesIO(chromium.get_screenshot_as_png())).convert("L"))[:, 500:1000]
        if (page > 250).mean() > 0.4 and (page < 100).mean() > 0.02:  # paper with text and pictures on it
            break
        time.sleep(0.1)
    else:
        pytest.fail("the summary's page did not appear")
    assert chromium.execute_script("return document.contentType") == "application/pdf"
