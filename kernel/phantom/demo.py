"""The demo: three phantom studies, graded beside the truth they were made from."""

import csv
import logging
from pathlib import Path

from lumbar.outputs.submission import read_submission
from lumbar.sites import GROUPS, LEVELS, SEVERITY_LABELS, SITE_NAMES
from phantom import write_phantoms

log = logging.getLogger(__name__)

STUDIES, SEED = 3, 2024
SHORT = {"Normal/Mild": "normal", "Moderate": "moderate", "Severe": "SEVERE", "": "unknown"}


def make_studies(folder: Path) -> Path:
    """Write the demo's phantoms under ``folder`` unless they are there already; return their root."""
    studies = folder / "studies"
    if not (studies / "train.csv").is_file():
        write_phantoms(studies, STUDIES, SEED)
        log.info("%d phantom studies and their truth: %s", STUDIES, studies)
    return studies


def compare(studies: Path, submission: Path) -> str:
    """Return the grades of every site beside the truth, as text.

    A grade is the severity with the highest submitted probability; the submission leans to the severe side,
    because the competition weights the severities by 1, 2, 4.
    """
    with (studies / "train.csv").open(newline="", encoding="utf-8") as file:
        truth = {row["study_id"]: row for row in csv.DictReader(file)}
    row_ids, rows = read_submission(submission)
    graded = dict(zip(row_ids, rows, strict=True))
    lines, right, labelled = [], 0, 0
    for study_id, labels in truth.items():
        lines += ["", f"study {study_id}".ljust(36) + "".join(level.upper().ljust(21) for level in LEVELS)]
        for number, group in enumerate(GROUPS):
            cells = []
            for site in SITE_NAMES[len(LEVELS) * number :][: len(LEVELS)]:
                row = graded[f"{study_id}_{site}"]
                said = SEVERITY_LABELS[row.argmax()]
                labelled += labels[site] != ""
                right += labels[site] == said
                cells.append(f"{SHORT[said]} ({SHORT[labels[site]]})".ljust(21))
            lines.append(group.ljust(36) + "".join(cells).rstrip())
    lines += ["", f"graded (truth): {right} of {labelled} sites alike"]
    return "\n".join(lines)
