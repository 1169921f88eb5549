"""Faults of the tables and folders around the studies: one run each, the healthy studies in all of them."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lumbar.sites import SITE_NAMES
from tests.faults.checks import check_log, rows_of, study_lines
from tests.faults.study_runs import PRIOR_LINE, Stage
from tests.faults.study_set import Competition

EXIT_FALLBACKS, EXIT_DATA = 3, 5
MILLION = 10**6
FORMULA = "=HYPERLINK(A1)"


@dataclass(frozen=True)
class TableFault:
    """A fault of a competition's tables.

    Attributes:
        harm: Damages a competition after its tables were written.
        rows: Ids to expect, if others than the sample's own.
        logged: Text that the log must hold.
    """

    harm: Callable[[Competition], None]
    status: int = 0
    rows: Callable[[Competition], list[str]] = Competition.row_ids
    logged: str = ""
    arguments: list = field(default_factory=list)


def table(competition: Competition) -> Path:
    return competition.root / "test_series_descriptions.csv"


def sample(competition: Competition) -> Path:
    return competition.root / "sample_submission.csv"


def rewritten(change: Callable[[bytes], bytes], of=table) -> Callable[[Competition], None]:
    def harm(competition: Competition) -> None:
        of(competition).write_bytes(change(of(competition).read_bytes()))

    return harm


def extra_column(raw: bytes) -> bytes:
    return b"\n".join(line + b",=1+1" for line in raw.splitlines()) + b"\n"


def reordered(raw: bytes) -> bytes:
    return b"\n".join(b",".join(line.split(b",")[::-1]) for line in raw.splitlines()) + b"\n"


def appended(text: str, of=table) -> Callable[[Competition], None]:
    return rewritten(lambda raw: raw + text.encode(), of)


def sampled(change: Callable[[list[str]], list[str]]) -> Callable[[Competition], None]:
    return lambda competition: competition.write_sample(change(competition.row_ids())) and None


def odd_rows(ids: list[str]) -> list[str]:
    odd = ["unheard_of", f"{FORMULA}_{SITE_NAMES[0]}", 'quo"te,d', "carriage\rreturn", "a/b_" + SITE_NAMES[3]]
    return [*odd, *ids[::-1], f"stranger_{SITE_NAMES[7]}"]


def no_sample(competition: Competition) -> None:
    sample(competition).unlink()


def stranger_rows(competition: Competition) -> list[str]:
    return [*competition.row_ids(), *(f"stranger_{site}" for site in SITE_NAMES)]


def million_rows(competition: Competition) -> None:
    with table(competition).open("a") as file:
        for number in range(MILLION):
            file.write(f"healthy-0,{1 + number % 3},Axial T2\n")  # repeated: none counts


UNSAFE = "../healthy-0,1,Sagittal T1\n..,1,Axial T2\na/b,2,Axial T2\n=1+1,1,Axial T2\n/etc,passwd,Axial T2\n"
TABLE_FAULTS = {
    "BOM": TableFault(rewritten(lambda raw: b"\xef\xbb\xbf" + raw)),
    "BOM in the sample": TableFault(rewritten(lambda raw: b"\xef\xbb\xbf" + raw, sample)),
    "CRLF": TableFault(rewritten(lambda raw: raw.replace(b"\n", b"\r\n"))),
    "no last newline": TableFault(rewritten(bytes.rstrip)),
    "an extra column": TableFault(rewritten(extra_column)),
    "columns in another order": TableFault(rewritten(reordered)),
    "ids with separators": TableFault(appended(UNSAFE), logged="ids that can not name folders"),
    "a million rows": TableFault(million_rows, logged="repeated rows"),
    "images of a study without rows": TableFault(
        lambda c: shutil.copytree(c.models / "0", c.images / "stray")
    ),
    "a file among the studies": TableFault(lambda c: (c.images / "Thumbs.db").write_bytes(b"\0" * 9)),
    "no sample": TableFault(no_sample),
    "a sample with other rows": TableFault(
        sampled(odd_rows), rows=lambda c: odd_rows(c.row_ids()), arguments=["--max-fallback-share", 1]
    ),
    "a sample with repeated rows": TableFault(sampled(lambda ids: ids + ids), logged="kept once"),
    "a sample with a study more": TableFault(
        lambda c: c.write_sample(stranger_rows(c)), EXIT_FALLBACKS, stranger_rows, "not in test_series"
    ),
    "no table": TableFault(lambda c: table(c).unlink(), EXIT_DATA),
    "an empty table": TableFault(rewritten(lambda raw: b""), EXIT_DATA),
    "a table without rows": TableFault(rewritten(lambda raw: raw.splitlines()[0]), EXIT_DATA),
    "a table without a column": TableFault(
        rewritten(lambda raw: raw.replace(b"series_id", b"id")), EXIT_DATA
    ),
    "a binary table": TableFault(rewritten(lambda raw: bytes(range(256)) * 9), EXIT_DATA),
    "a table that is a folder": TableFault(lambda c: (table(c).unlink(), table(c).mkdir()), EXIT_DATA),
    "a binary sample": TableFault(rewritten(lambda raw: b"\xff\xfe\0" * 99, sample), EXIT_DATA),
    "no images": TableFault(lambda c: shutil.rmtree(c.images), EXIT_DATA),
    "no such folder": TableFault(lambda c: shutil.rmtree(c.root), EXIT_DATA),
}


def run_table_fault(stage: Stage, name: str) -> None:
    """Harm the tables of a healthy competition and check the status, the rows and the healthy studies."""
    fault = TABLE_FAULTS[name]
    competition = stage.competition("tables")
    competition.write_tables()
    fault.harm(competition)
    out = stage.folder / "tables-out"
    shutil.rmtree(out, ignore_errors=True)
    arguments = ["--data", competition.root, "--bundle", stage.small, "--workers", 1, *fault.arguments]
    outcome = stage.starter.run(arguments, out, {"few_processes": []})
    check_log(outcome.log)
    assert outcome.status == fault.status, f"status {outcome.status}\n{outcome.log[-2000:]}"
    assert fault.logged in outcome.log, outcome.log[-2000:]
    if fault.status == EXIT_DATA:
        assert "Traceback" not in outcome.log, outcome.log[-2000:]
        assert not outcome.submission.exists(), "a submission without data"
        return
    expected = fault.rows(competition)
    rows = rows_of(outcome.submission, None)
    assert list(rows) == expected, "other rows, or in another order"
    stage.check_healthy(rows)
    if "stranger_" + SITE_NAMES[-1] in rows:
        assert set(study_lines(rows, "stranger")) == {PRIOR_LINE}
