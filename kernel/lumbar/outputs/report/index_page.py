"""The index: every study in one table, fallbacks and warnings first."""

from lumbar.grading.graded_study import PRIOR, ZERO_CROPS
from lumbar.grading.study_record import SOME_PRIOR
from lumbar.outputs.report.display_text import GROUP_ORDER, count, shade
from lumbar.outputs.report.document import render
from lumbar.outputs.report.downloads import STRUCTURED_REPORT, STRUCTURED_REPORT_WORDS
from lumbar.outputs.report.result import FALLBACKS, STATUSES
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, LEVELS, SAGITTAL_T1, SAGITTAL_T2, SITES

COLUMNS = (  # title, class, first order of its cells
    ("Study", "", "ascending"),
    ("Status", "", "ascending"),
    ("Sites", "", "descending"),
    ("Worst site", "", "descending"),
    ("Severe, %", "number", "descending"),
    ("Members apart, %", "number wide", "descending"),
    ("Slices", "wide", "ascending"),
    ("Seconds", "number wide", "descending"),
    ("Files", "wide", "descending"),
)
STATUS_SHORT = {
    PRIOR: "prior",
    SOME_PRIOR: "some prior",
    ZERO_CROPS: "empty crops",
    "warning": "warning",
    "doubt": "doubtful",
    "fine": "no warning",
}
ABBREVIATIONS = {SAGITTAL_T2: "T2", SAGITTAL_T1: "T1", AXIAL_T2: "Ax"}
FILTERS = (
    ("all", "All"),
    ("fallback", "Fallbacks"),
    ("warning", "Warnings"),
    ("doubt", "Doubtful"),
    ("fine", "No warning"),
)


def index_page(entries: list[dict], about: dict, summary: dict | None) -> str:
    """Return the index of the studies.

    Args:
        entries: Rows as of ``Result.entry``.
        about: Facts of the run, as in run.json.
        summary: The content of run.json; None while the run is not finished.
    """
    entries = sorted(entries, key=lambda e: (rank(e), e["study_id"]))
    kinds = [status_kind(entry["status"]) for entry in entries]
    return render(
        "index.html",
        ("index.js",),
        about=about,
        facts=run_facts(about),
        summary=summary,
        columns=COLUMNS,
        filters=[(key, words, len(kinds) if key == "all" else kinds.count(key)) for key, words in FILTERS],
        rows=[row(entry) for entry in entries],
    )


def rank(entry: dict) -> int:
    """Return a study's place in the index: the worst status first, then the most doubtful sites and reasons."""
    doubt = min(99, entry["doubtful"]) * 100 + min(99, len(entry["reasons"]))
    return STATUSES.index(entry["status"]) * 10_000 + 9_999 - doubt


def run_facts(about: dict) -> list[tuple[str, str]]:
    """Return the facts of the run; an empty text is not shown."""
    facts = [
        ("Weights", str(about.get("bundle", ""))),
        ("Trained on", str(about.get("trained_on", ""))),
        ("SHA-256", str(about.get("bundle_sha256", ""))[:16]),
        ("Detectors", ", ".join(about.get("detectors", ()))),
        ("Classifiers", ", ".join(about.get("classifiers", ()))),
        ("Left out", ", ".join(about.get("left_out", ()))),
        ("Device", ", ".join(str(about[key]) for key in ("device", "precision") if key in about)),
        ("Data", str(about.get("data", ""))),
    ]
    return [*facts, ("Versions", ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items()))]


def status_kind(status: str) -> str:
    """Return which of FILTERS shows a study of a status."""
    return "fallback" if status in FALLBACKS else status


def row(entry: dict) -> dict:
    """Return the texts of a study's row and the values for sorting."""
    status, worst = entry["status"], entry["worst"]
    reasons = [reason.replace("_", " ") for reason in entry["reasons"]]
    doubtful = [count(entry["doubtful"], "site") + " to check"] if entry["doubtful"] else []
    slices = [f"{ABBREVIATIONS[d]} {entry['slices'][d]}" for d in DESCRIPTIONS if d in entry["slices"]]
    return entry | {
        "kind": status_kind(status),
        "status_short": STATUS_SHORT[status],
        "rank": rank(entry),
        "said": ", ".join([*(f"no {d}" for d in entry["missing"]), *reasons, *doubtful]),
        "worst_site": None if worst is None else SITES[worst],
        "shades": None if worst is None else thumbnail(entry["badness"]),
        "slices_words": " · ".join(slices),
        "files": entry_files(entry),
        "slices_total": sum(entry["slices"].values()),
    }


def entry_files(entry: dict) -> list[tuple[str, str, str]]:
    """Return the short word, the words and the address of each file of a study, relative to the index."""
    folder = entry["page"].rpartition("/")[0]
    files = [
        (words.partition("(")[2][:-1], words, f"{folder}/{address}") for words, address in entry["downloads"]
    ]
    if entry.get("structured_report"):
        files.append(
            ("SR", STRUCTURED_REPORT_WORDS, f"{entry['page'].removesuffix('.html')}/{STRUCTURED_REPORT}")
        )
    return files


def thumbnail(badness: list[float]) -> list[tuple[int, str]]:
    """Return the 25 sites as one path per step of ``shade``: levels downwards, groups in the order of the pages.

    One path per step instead of a rectangle per site: the index of 1,000 studies has 15,000 elements less.
    """
    paths: dict[int, str] = {}
    for site in SITES:
        x, y = 10 * GROUP_ORDER.index(site.group), 8 * LEVELS.index(site.level)
        step = shade(badness[site.index])
        paths[step] = f"{paths.get(step, '')}M{x} {y}h9v7h-9z"
    return sorted(paths.items())
