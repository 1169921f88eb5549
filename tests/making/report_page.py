"""A page of the report, parsed."""

from html.parser import HTMLParser
from pathlib import Path

from lumbar.outputs.report import Report
from lumbar.outputs.report.folder import page_name


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.words.append(data)


def page_of(report: Report, study_id: str) -> Page:
    return Page(report.folder / "studies" / f"{page_name(study_id)}.html")
