"""axe-core, the common checker of accessibility, finds nothing in the report's pages."""

import shutil
import subprocess
import tarfile

import pytest

from tests.browser.chromium import page_address, set_view

pytestmark = pytest.mark.slow

AXE = "axe-core@4.14.1"  # from npm, for the tests alone (MPL-2.0)


@pytest.fixture(scope="module")
def axe(request) -> str:
    """Return axe-core's script, from the tests' cache or from npm; skip without both."""
    folder = request.config.cache.mkdir("axe-core")
    script = folder / f"{AXE}.js"
    if not script.is_file():
        if not shutil.which("npm"):
            pytest.skip(f"no npm to fetch {AXE}: apt-get install npm")
        fetched = subprocess.run(
            ["npm", "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True, timeout=120
        )
        if fetched.returncode:
            pytest.skip(f"npm could not fetch {AXE}: {fetched.stderr.strip()[-200:]}")
        package = folder / fetched.stdout.split()[-1]
        with tarfile.open(package) as files:
            script.write_bytes(files.extractfile("package/axe.min.js").read())
        package.unlink()
    return script.read_text("utf-8")


def violations(chromium, axe: str) -> list[str]:
    """Return axe's findings of the page in view: the rule, and the first elements."""
    chromium.execute_script(axe)
    found = chromium.execute_async_script("axe.run().then((result) => arguments[0](result.violations))")
    return [
        f"{one['id']}: {one['help']}: " + "; ".join(n["html"][:160] for n in one["nodes"][:3])
        for one in found
    ]


@pytest.mark.parametrize("width, theme", [(1440, "light"), (820, "dark"), (390, "light")])
@pytest.mark.parametrize("which", ["index", "flagged", "partial", "hostile"])
def test_axe_reports_nothing(chromium, studies, axe, which, width, theme):
    set_view(chromium, width, theme)
    index = (studies[0].folder / "index.html").as_uri()
    chromium.get(index if which == "index" else page_address(studies, which))
    for summary in chromium.find_elements("css selector", "details:not([open]) > summary")[:3]:
        chromium.execute_script("arguments[0].parentElement.open = true", summary)
    assert violations(chromium, axe) == []
