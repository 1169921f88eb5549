"""The report's folder: an index of all studies, safe names, taken up again after a kill."""

import html
import json
import re
from dataclasses import replace

import pytest

from lumbar.grading.flag import Flag
from lumbar.grading.study_record import StudyRecord, record_graded, record_ungraded
from lumbar.outputs.report import Report
from lumbar.outputs.report.document import templates
from lumbar.outputs.report.folder import page_name
from lumbar.sites import SITE_NAMES
from tests.making.report_page import Page, page_of
from tests.making.report_studies import (
    ABOUT,
    HOSTILE,
    SUMMARY,
    add_page,
    graded_study,
    unreadable,
    without_axial,
    without_doubt,
)


@pytest.fixture
def report(tmp_path):
    return Report(tmp_path / "report", ABOUT)


def test_hostile_names_stay_text(report):
    add_page(
        report, *unreadable(HOSTILE), [Flag("level_order", HOSTILE, -1.0, "mm", HOSTILE, (SITE_NAMES[0],))]
    )
    report.finish(SUMMARY)
    files = sorted(p.relative_to(report.folder).as_posix() for p in report.folder.rglob("*") if p.is_file())
    name = page_name(HOSTILE)
    beside = [f"studies/{name}.html", f"studies/{name}.json", f"studies/{name}/grades.csv"]
    assert files == ["grades.csv", "index.html", "run.json", *beside]
    for page in (Page(report.folder / "index.html"), page_of(report, HOSTILE)):
        assert HOSTILE in page.text
        assert all(a.get("src", "data:").startswith("data:") for tag, a in page.tags if tag == "img")
        assert not any(key.startswith("on") for _, a in page.tags for key in a)
        assert page.source.count("<script>") == 1 and "<b>bundle" not in page.source
    text = page_of(report, HOSTILE).text
    assert "60 cases" in text and "and 20 more, in run.json" in text and "prior, as submitted" in text


def test_page_names_are_plain_and_never_shared():
    ids = [
        "1",
        "01",
        "a",
        "A",
        "..",
        ".",
        "a/b",
        "a\\b",
        "con",
        "ü",
        "",
        "x" * 300,
        "1.2.840.1",
        "\udcff",
        "a b",
        "~",
    ]
    names = [page_name(i) for i in ids]
    assert len({n.lower() for n in names}) == len(ids)
    assert all(re.fullmatch(r"study[-~][0-9a-z._-]{1,100}", n) for n in names)


def test_the_index_has_fallbacks_first_and_counts(report):
    fine, fine_graded = without_doubt(*graded_study(0))
    add_page(report, fine, fine_graded)
    doubtful, doubtful_graded = graded_study(4)
    add_page(report, doubtful, doubtful_graded)
    flagged, flagged_graded = without_doubt(*graded_study(1))
    add_page(report, flagged, flagged_graded, [Flag("black_place", "in the air", 3.0, "of 255", "fixed", ())])
    partial, partial_graded = without_axial(*graded_study(2))
    add_page(report, partial, partial_graded)
    add_page(report, *unreadable("77"))
    fewer, fewer_graded = without_doubt(*graded_study(3))
    fewer_graded.members.popitem()
    add_page(report, fewer, fewer_graded)
    assert "The run is not finished" in Page(report.folder / "index.html").text
    report.finish(SUMMARY)
    index = Page(report.folder / "index.html")
    order = [a["href"] for tag, a in index.tags if tag == "a" and "download" not in a]
    expected = ("77", *(s.study_id for s in (partial, flagged, fewer, doubtful, fine)))
    assert order == [f"studies/study-{study_id}.html" for study_id in expected]
    kinds = [a["data-kind"] for tag, a in index.tags if tag == "tr" and "data-kind" in a]
    assert kinds == ["fallback", "fallback", "warning", "warning", "doubt", "fine"]
    assert (
        "12 s" in index.text and "no Axial T2, folder missing" in index.text and "black place" in index.text
    )
    assert "an empty crop" in page_of(report, partial.study_id).text
    assert "3 of 4 graded the study" in page_of(report, fewer.study_id).text


def test_doubtful_sites_are_marked_and_linked(report):
    study, graded = without_doubt(*graded_study(0))
    undecided, apart, flagged = 3, 17, 24
    graded.probabilities[undecided] = (0.45, 0.35, 0.2)
    graded.members = {name: rows.copy() for name, rows in graded.members.items()}
    for number, rows in enumerate(graded.members.values()):
        rows[apart] = (0.0, 0.1, 0.9) if number == 0 else (0.1, 0.8, 0.1)
    graded.probabilities[apart] = (0.1, 0.6, 0.3)
    add_page(report, study, graded, [Flag("black_place", "in the air", 3.0, "", "", (SITE_NAMES[flagged],))])
    page = page_of(report, study.study_id)
    signs = re.findall(
        r'data-site="(\w+)"(?:(?!data-site).)*?<span class="doubt" title="([^"]+)"', page.source, re.S
    )
    marked = {site: html.unescape(title) for site, title in signs}
    assert set(marked) == {SITE_NAMES[undecided], SITE_NAMES[apart], SITE_NAMES[flagged]}
    assert len(signs) == 2 * len(marked)  # in the grid and on the card
    assert "50%" in marked[SITE_NAMES[undecided]] and "deviate" in marked[SITE_NAMES[apart]]
    assert "To check: spinal canal." in page.text and "To check: left subarticular." in page.text
    assert f'<a href="#{SITE_NAMES[undecided]}">L4/L5</a>' in page.source.split('id="concerns"')[1]
    assert report.entries[study.study_id]["doubtful"] == 3


def read_back(record: StudyRecord) -> StudyRecord:
    """Return the record as a journal gives it back."""
    return StudyRecord.from_json(json.loads(json.dumps(record.to_json())))


def test_a_resumed_run_keeps_the_pages_that_still_hold(tmp_path):
    study, graded = graded_study(0)
    first = Report(tmp_path, ABOUT)
    add_page(first, study, graded)
    page = tmp_path / "studies" / f"{page_name(study.study_id)}.html"
    with_pictures = page.read_bytes()
    record = read_back(record_graded(study, graded, [], []))

    resumed = Report(tmp_path, ABOUT)  # a kill came between
    resumed.add_study(record)
    assert page.read_bytes() == with_pictures and resumed.entries == first.entries

    resumed.add_study(replace(record, probabilities=record.probabilities[:, ::-1]))
    assert "No pictures" in Page(page).text  # another result: the old page would be a lie
    add_page(Report(tmp_path, ABOUT | {"bundle_sha256": "1" * 64}), study, graded)
    assert page.read_bytes() != with_pictures or b"No pictures" not in page.read_bytes()
    resumed.add_study(record_ungraded(study.study_id, "grading_failed", "a bug"), study)
    text = Page(page).text  # the pictures are shown even so, without points
    assert "Not graded." in text and "No pictures" not in text
    resumed.add_study(record_ungraded("5", "time_limit", "no time left"))
    assert "the time limit was reached" in page_of(resumed, "5").text.lower()


def test_a_record_tells_what_the_study_told(tmp_path):
    study, graded = graded_study(0)
    found = [Flag("side_swapped", "swapped", -12.0, "mm", "fixed", (SITE_NAMES[5], SITE_NAMES[10]))]
    live, journal = Report(tmp_path / "live", ABOUT), Report(tmp_path / "journal", ABOUT)
    add_page(live, study, graded, found)
    journal.add_study(read_back(record_graded(study, graded, found, [])))
    (a,), (b,) = live.entries.values(), journal.entries.values()
    assert a | {"slices": {}} == b
    assert (
        "−12" in page_of(journal, study.study_id).text or "swapped" in page_of(journal, study.study_id).text
    )


def test_pages_link_to_the_studies_before_and_after(tmp_path):
    studies = [graded_study(number) for number in range(2)]
    ids = [studies[0][0].study_id, HOSTILE, studies[1][0].study_id]
    report = Report(tmp_path, ABOUT, ids)
    for study, graded in studies:
        add_page(report, study, graded)
    add_page(report, *unreadable(HOSTILE))
    found = {}
    for study_id in ids:
        links = [a for tag, a in page_of(report, study_id).tags if tag == "a" and "rel" in a]
        found[study_id] = {link["rel"]: link["href"] for link in links}
        assert all((tmp_path / "studies" / link["href"]).is_file() for link in links)
    first, middle, last = (f"{page_name(study_id)}.html" for study_id in ids)
    assert found == {
        ids[0]: {"next": middle},
        ids[1]: {"prev": first, "next": last},
        ids[2]: {"prev": middle},
    }


def test_a_full_disk_costs_the_page_not_the_run(report, monkeypatch):
    def fail(path, text):
        raise OSError(28, "No space left on device", str(path))

    study, graded = graded_study(0)
    monkeypatch.setattr("lumbar.outputs.report.folder.write_atomically", fail)
    add_page(report, study, graded)
    report.finish(SUMMARY)
    assert set(report.failures) == {study.study_id, "index"} and "No space left" in report.failures["index"]


def test_every_value_of_every_template_is_escaped():
    environment = templates()
    assert environment.autoescape is True and len(environment.list_templates()) > 5
    for name in environment.list_templates():
        source = environment.loader.get_source(environment, name)[0]
        assert not re.search(r"\|\s*safe\b|Markup|autoescape", source), name
        environment.get_template(name)  # compiles
    told = environment.from_string("<b title='{{ text }}'>{{ text }}</b>").render(text=HOSTILE)
    assert HOSTILE not in told and html.unescape(told).count(HOSTILE) == 2
