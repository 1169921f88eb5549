"""The files of a study beside its page, for other programs: grades as CSV, findings as JSON, the Structured Report."""

import itertools
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from lumbar.atomic_files import atomic_path, write_atomically
from lumbar.grading.study_record import StudyRecord, grade_rows
from lumbar.outputs.findings import findings_content
from lumbar.outputs.report.result import Result
from lumbar.outputs.tables import open_table
from lumbar.reading.competition_tables import IDENTIFIER
from lumbar.sites import SEVERITIES, SITES

GRADES, FINDINGS, STRUCTURED_REPORT, RUN = "grades.csv", "findings.json", "structured_report.dcm", "run.json"
STRUCTURED_REPORT_WORDS = "Structured Report (DICOM)"
COLUMNS = ("study_id", "site", *SEVERITIES, "most_probable", "members_apart", "to_check")
PLACE = "<!-- structured report -->"  # in the page, for the link: the file is written when the run ends


def study_downloads(record: StudyRecord, folder: str) -> list[list[str]]:
    """Return the words and the address of each file that ``write_downloads`` writes.

    Args:
        folder: Of the files, relative to the page.
    """
    findings = [["Findings (JSON)", f"{folder}/{FINDINGS}"]] if record.findings else []
    return [["Grades (CSV)", f"{folder}/{GRADES}"], *findings]


def write_downloads(record: StudyRecord, result: Result, about: dict, folder: Path) -> None:
    """Write the files of a study into its folder."""
    with open_table(folder / GRADES, COLUMNS) as table:
        table.writerows(grade_table(result))
    if record.findings:
        write_atomically(folder / FINDINGS, json.dumps(findings_content(record, about), indent=1) + "\n")


def grade_table(result: Result) -> list[tuple]:
    """Return a row per site; the numbers of a site without a grade are empty."""
    table = []
    rows = None if result.probabilities is None else grade_rows(result.probabilities)
    disagreement, marked = result.disagreement, result.marked_sites
    # A name that is no plain word could be a formula in a table.
    study = result.study_id if IDENTIFIER.fullmatch(result.study_id) else ""
    for site in SITES:
        row = rows[site.index] if rows else None
        shares = ("",) * len(SEVERITIES) if row is None else tuple(round(p, 6) for p in row)
        most_probable = "" if row is None else SEVERITIES[row.index(max(row))]
        apart = "" if row is None or disagreement is None else round(float(disagreement[site.index]), 4)
        table.append((study, site.name, *shares, most_probable, apart, " ".join(marked.get(site.name, ()))))
    return table


def write_run_downloads(pages: Iterable[Path], summary: dict, folder: Path) -> None:
    """Write the grades of all studies as one table, and the summary of the run.

    Args:
        pages: The studies' pages.
        summary: The content of run.json.
        folder: Of the index.
    """
    with atomic_path(folder / GRADES) as beside, beside.open("w", encoding="utf-8") as table:
        table.write(",".join(COLUMNS) + "\n")
        for page in pages:
            with (page.with_suffix("") / GRADES).open(encoding="utf-8") as rows:
                table.writelines(itertools.islice(rows, 1, None))
    write_atomically(folder / RUN, json.dumps(summary, indent=1) + "\n")


def add_structured_report(source: Path, page: Path, folder: str) -> bool:
    """Copy a study's Structured Report beside its page and link it there; return whether there is one.

    Args:
        source: The DICOM file.
        page: The study's page.
        folder: Of the study's files, relative to the page.
    """
    if not source.is_file():
        return False
    with atomic_path(page.parent / folder / STRUCTURED_REPORT) as beside:
        shutil.copyfile(source, beside)
    text = page.read_text("utf-8")
    link = f'<a href="{folder}/{STRUCTURED_REPORT}" download>{STRUCTURED_REPORT_WORDS}</a>'
    if PLACE in text:
        write_atomically(page, text.replace(PLACE, link))
    return True
