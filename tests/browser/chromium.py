"""A headless Chromium from Debian's packages (chromium, chromium-driver), and its log."""

import json
import shutil
from pathlib import Path

import pytest


def start_chromium(profile: Path):
    """Return a driver that records console and network; skip where browser, driver or Selenium is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # A container's root has no sandbox and little /dev/shm.
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def set_view(chromium, width: int, theme: str = "light") -> None:
    """Show pages at a width in CSS pixels and in a colour scheme."""
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    feature = {"name": "prefers-color-scheme", "value": theme}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def complaints(chromium) -> list[str]:
    """Return the console's lines since the last call."""
    return [entry["message"] for entry in chromium.get_log("browser")]


def requests(chromium) -> list[str]:
    """Return the addresses requested since the last call, pictures inside the page left out."""
    events = (json.loads(entry["message"])["message"] for entry in chromium.get_log("performance"))
    asked = (e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent")
    return [address for address in asked if not address.startswith("data:")]


def select(chromium, css: str) -> list:
    return chromium.find_elements("css selector", css)


def press(chromium, *keys: str) -> None:
    """Press keys wherever the focus is."""
    for key in keys:
        chromium.switch_to.active_element.send_keys(key)


def page_address(studies, which: str) -> str:
    report, ids = studies
    return (report.folder / report.entries[ids[which]]["page"]).as_uri()
