"""The report as a person uses it: sorting, searching, by keyboard, on a phone, in the dark, without a net."""

import base64
import itertools
import re

import pytest

from lumbar.grading.flag import FLAG_REASONS, Flag
from lumbar.outputs.report import Report
from lumbar.sites import SITE_NAMES
from tests.browser.chromium import complaints, page_address, press, requests, select, set_view
from tests.making.report_studies import ABOUT, HOSTILE, add_page, graded_study

pytestmark = pytest.mark.slow

# Text against what lies behind it: colours as the browser computed them, mixed where it is translucent.
CONTRAST = """
const paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function rgb(colours) {
  paint.clearRect(0, 0, 1, 1);
  for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
  return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
function luminance(colour) {
  const [r, g, b] = colour.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(element) {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.unshift(getComputedStyle(e).backgroundColor);
  return rgb(layers);
}
"""
WORST_CONTRAST = (
    CONTRAST
    + """
let worst = [99, ""];
for (const element of document.querySelectorAll(arguments[0])) {
  if (!element.checkVisibility() || !element.textContent.trim()) continue;
  const [a, b] = [rgb([getComputedStyle(element).color]), behind(element)].map(luminance);
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < worst[0]) worst = [ratio, element.outerHTML.slice(0, 120)];
}
return worst;
"""
)
HEAT = (
    CONTRAST
    + """
const row = document.createElement("tr");
row.innerHTML = [...Array(11).keys()].map(n => `<td class="${arguments[0]} h${n}">1</td>`).join("");
document.querySelector(".heat tbody").append(row);
const found = [...row.cells].map(cell => [luminance(behind(cell)), luminance(rgb([getComputedStyle(cell).color]))]);
row.remove();
return found;
"""
)


@pytest.fixture
def index(chromium, studies):
    set_view(chromium, 1280)
    chromium.get((studies[0].folder / "index.html").as_uri())
    complaints(chromium), requests(chromium)
    chromium.refresh()
    yield chromium
    assert complaints(chromium) == []
    assert {address.split(":")[0] for address in requests(chromium)} == {"file"}


def copied_text(chromium) -> str:
    """Return the clipboard's text, as a person gets it: pasted."""
    chromium.execute_script(
        "document.body.append(Object.assign(document.createElement('textarea'), {id: 'paste'}))"
    )
    field = chromium.find_element("css selector", "#paste")
    field.send_keys("\ue009v")  # Ctrl+V
    return field.get_attribute("value")


def printed_pages(chromium, width: float, height: float) -> int:
    """Return on how many pages the document prints, on paper of width x height inches."""
    paper = {"paperWidth": width, "paperHeight": height, "printBackground": True}
    pdf = base64.b64decode(chromium.execute_cdp_cmd("Page.printToPDF", paper)["data"])
    return len(re.findall(rb"/Type /Page\b", pdf))


def listed(chromium) -> list[str]:
    """Return the ids of the studies in view, in order."""
    return [link.text for link in select(chromium, "#studies tbody th a") if link.is_displayed()]


def test_fallbacks_come_first_and_heads_sort(index, studies):
    ids = studies[1]
    assert listed(index) == [ids["hostile"], ids["partial"], ids["flagged"], ids["doubtful"], ids["fine"]]
    heads = select(index, "#studies th[aria-sort]")
    for number, head in enumerate(heads):
        select(head, "button")[0].click()
        order = head.get_attribute("aria-sort")
        assert order == head.get_attribute("data-first")
        assert [h.get_attribute("aria-sort") for h in heads].count("none") == len(heads) - 1
        cells = select(index, f"#studies tbody tr > :nth-child({number + 1})")
        values = [cell.get_attribute("data-value") for cell in cells]
        if number:  # ids are text and numbers; the rest are numbers
            values = list(map(float, values))
            assert values == sorted(values, reverse=order == "descending")
        select(head, "button")[0].click()
        assert head.get_attribute("aria-sort") not in (order, "none")


def test_search_and_status_narrow_the_list(index, studies):
    ids = studies[1]
    search = select(index, "#search")[0]
    search.send_keys("SIDE swap")
    assert listed(index) == [ids["flagged"]] and select(index, "#shown")[0].text == "1 study"
    press(index, "\ue00c")  # Escape
    assert len(listed(index)) == 5
    search.send_keys("onerror")
    assert listed(index) == [HOSTILE]
    search.clear()
    search.send_keys("nothing like it")
    assert listed(index) == [] and select(index, "#shown")[0].text == "0 studies"
    press(index, "\ue00c")
    select(index, ".filters label")[1].click()
    assert listed(index) == [ids["hostile"], ids["partial"]]


def test_search_filter_and_order_stay_in_the_address(index, studies):
    """The index is the same after a reload, and when a link of a study or of the next study leads back."""
    ids = studies[1]
    select(index, "#search")[0].send_keys("axial")
    select(index, ".filters label")[1].click()
    select(index, "#studies thead button")[0].click()
    select(index, "#studies thead button")[0].click()
    expected = sorted((ids["hostile"], ids["partial"]), reverse=True)
    shown = [study for study in listed(index) if study in expected]

    def as_before() -> bool:
        order = select(index, "#studies th")[0].get_attribute("aria-sort")
        field = select(index, "#search")[0].get_attribute("value")
        return (listed(index), order, field) == (shown, "descending", "axial")

    assert shown and as_before()
    index.refresh()
    assert as_before()
    select(index, f'#studies a[href*="{ids["partial"]}"]')[0].click()
    select(index, 'nav a[rel="next"]')[0].click()
    assert HOSTILE in index.title
    select(index, "nav a")[0].click()
    assert as_before()
    index.get((studies[0].folder / "index.html").as_uri())
    assert len(listed(index)) == 5 and select(index, "#search")[0].get_attribute("value") == ""


def test_arrows_lead_from_study_to_study(index, studies):
    ids = studies[1]
    index.get(page_address(studies, "fine"))
    for which, key in (
        ("flagged", "\ue014"),
        ("partial", "\ue014"),
        ("flagged", "\ue012"),
        ("fine", "\ue012"),
    ):
        index.find_element("css selector", "body").send_keys(key)
        assert ids[which] in index.title
    index.find_element("css selector", "body").send_keys("\ue012")  # nothing is before the first
    assert ids["fine"] in index.title


def test_the_sentences_are_copied_as_text(index, studies):
    index.get(page_address(studies, "fine"))
    sentences = [item.text for item in select(index, ".words li")]
    assert len(sentences) == 5 and all("%" in sentence for sentence in sentences)
    select(index, "#copy")[0].click()
    wait_for = "const done = arguments[0]; (function look() { copied.textContent ? done() : setTimeout(look, 20); })()"
    index.execute_async_script(wait_for)  # the clipboard answers later
    assert select(index, "#copied")[0].text == "Copied."
    lines = copied_text(index).splitlines()
    assert lines[0] == f"Study {studies[1]['fine']}" and lines[-5:] == sentences
    assert "Not for clinical use" in " ".join(lines)


@pytest.mark.parametrize("paper", [(8.27, 11.69), (8.5, 11)], ids=["A4", "Letter"])
@pytest.mark.parametrize("which", ["fine", "flagged", "partial", "hostile", "doubtful"])
def test_a_study_prints_on_one_page(index, studies, which, paper):
    index.get(page_address(studies, which))
    assert printed_pages(index, *paper) == 1


@pytest.mark.parametrize("paper", [(8.27, 11.69), (8.5, 11)], ids=["A4", "Letter"])
def test_a_study_with_every_warning_prints_on_one_page(chromium, tmp_path, paper):
    study, graded = graded_study(1)
    found = [
        Flag(reason, f"{detector}: 66 mm, expected less", 66.0, "mm", detector, SITE_NAMES[:10])
        for reason in FLAG_REASONS
        for detector in ("fixed", "dynamic")
    ]
    report = Report(tmp_path, ABOUT)
    add_page(report, study, graded, found)
    chromium.get((tmp_path / report.entries[study.study_id]["page"]).as_uri())
    assert printed_pages(chromium, *paper) == 1


def test_the_keyboard_alone_reaches_a_site(index, studies):
    """Search and arrows find the study, Enter opens it, P hides the points, a link of the grid leads to a card."""
    index.find_element("css selector", "body").send_keys("/")
    assert index.switch_to.active_element.get_attribute("id") == "search"
    press(index, *studies[1]["flagged"], "\ue015")  # arrow down
    assert index.switch_to.active_element.text == studies[1]["flagged"]
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert index.execute_script(outline) == "solid"
    press(index, "\ue007")  # Enter
    assert studies[1]["flagged"] in index.title
    marks = select(index, ".frame .mark")
    assert marks and all(mark.is_displayed() for mark in marks)
    index.find_element("css selector", "body").send_keys("p")
    assert not any(mark.is_displayed() for mark in marks)
    assert select(index, "#toggle")[0].get_attribute("aria-pressed") == "false"
    link = select(index, f'.grid a[href="#{SITE_NAMES[12]}"]')[0]
    index.execute_script("arguments[0].focus()", link)
    press(index, "\ue007")
    assert index.switch_to.active_element.get_attribute("id") == SITE_NAMES[12]
    assert {m.get_attribute("data-site") for m in select(index, ".mark.lit")} == {SITE_NAMES[12]}
    press(index, "\ue004")  # Tab goes on inside the card
    assert index.execute_script("return document.activeElement.closest('.site').id") == SITE_NAMES[12]


@pytest.mark.parametrize("which", ["fine", "flagged", "partial", "hostile", "doubtful"])
def test_a_study_opens_whole(index, studies, which):
    link = next(a for a in select(index, "#studies tbody a") if a.text == studies[1][which])
    link.click()
    assert studies[1][which] in select(index, "h1")[0].text
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert index.execute_script(broken) == 0
    lost = "return [...document.querySelectorAll('a[href^=\"#\"]')].filter(a => !document.querySelector(a.hash)).length"
    assert index.execute_script(lost) == 0
    twice = "const ids = [...document.querySelectorAll('[id]')].map(e => e.id); return ids.length - new Set(ids).size"
    assert index.execute_script(twice) == 0
    select(index, "nav a")[0].click()
    assert len(listed(index)) == 5


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
@pytest.mark.parametrize("which", ["index", "flagged", "hostile"])
def test_no_width_scrolls_sideways(chromium, studies, which, width):
    set_view(chromium, width)
    index_address = (studies[0].folder / "index.html").as_uri()
    chromium.get(index_address if which == "index" else page_address(studies, which))
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(chromium, studies, theme):
    """WCAG's 4.5 to 1 for all text, and heat that grows darker (or brighter) with every step, in grey too."""
    set_view(chromium, 1280, theme)
    text = "p, li, dd, dt, h1, h2, h3, h4, th, td, a, b, small, code, kbd, summary, figcaption, .status, .chip, span"
    for page in (studies[0].folder / "index.html").as_uri(), page_address(studies, "flagged"):
        chromium.get(page)
        ratio, where = chromium.execute_script(WORST_CONTRAST, text)
        assert ratio >= 4.5, where
    for tint in "nms":
        heat = chromium.execute_script(HEAT, tint)
        ratios = [(max(pair) + 0.05) / (min(pair) + 0.05) for pair in heat]
        assert min(ratios) >= 4.5
        steps = [b[0] - a[0] for a, b in itertools.pairwise(heat)]
        assert all(s <= 1e-3 for s in steps) if theme == "light" else all(s >= -1e-3 for s in steps)
