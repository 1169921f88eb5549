"""``archive.py status``: how far an archive is, read from its parts while a driver writes them."""

import time
from collections import Counter
from dataclasses import dataclass

import pyarrow.parquet as pq

from archiving.archive_folder import STUDIES, ArchiveFolder
from archiving.death_ledger import DeathLedger
from archiving.part_tables import is_prior
from archiving.study_index import StudyIndex

RECENT_SECONDS = 3600.0  # that the rate is taken from
SHOWN = 5  # reasons of failures


@dataclass(frozen=True)
class Progress:
    """How far an archive is.

    Attributes:
        studies: To grade.
        done: Committed, failed ones among them.
        failed: Committed with the prior alone.
        reasons: Faults of the failed ones, by reason.
        rate: Studies per second of the last hour, None where fewer than two parts are that young.
        deaths: Of workers with one study in hand.
        running: Whether a driver works on it.
    """

    studies: int
    done: int
    failed: int
    reasons: Counter[str]
    rate: float | None
    deaths: int
    running: bool

    def text(self) -> str:
        """Return the progress as lines."""
        lines = [
            f"{self.done} of {self.studies} studies done ({self.done / max(1, self.studies):.1%})"
            f", {self.failed} of them without a grade (the prior)",
        ]
        if self.reasons:
            told = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.most_common(SHOWN))
            lines.append(f"why: {told}")
        if self.deaths:
            lines.append(f"{self.deaths} workers died with one study in hand, see deaths.jsonl")
        left = self.studies - self.done
        if left and self.rate and self.running:
            seconds = left / self.rate
            end = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + seconds))
            lines.append(f"{self.rate:.2f} studies per second: {seconds / 3600:.1f} h left, until {end}")
        if not left:
            lines.append("complete: archive.py merge writes one table of each kind")
        elif not self.running:
            lines.append("no driver works on it: run the same grade command again")
        return "\n".join(lines)


def read_progress(archive: ArchiveFolder, index: StudyIndex) -> Progress:
    """Return how far an archive is."""
    now, done, failed = time.time(), 0, 0
    reasons: Counter[str] = Counter()
    recent: list[tuple[float, int]] = []
    for name in archive.part_names():
        path = archive.part(STUDIES, name)
        table = pq.read_table(path, columns=["fallback", "faults"])
        prior = is_prior(table)
        done += len(table)
        failed += int(prior.sum())
        for faults in table.filter(prior)["faults"].to_pylist():
            reasons.update({fault["reason"] for fault in faults})
        if now - path.stat().st_mtime < RECENT_SECONDS:
            recent.append((path.stat().st_mtime, len(table)))
    recent.sort()
    # The first part's studies were graded before it was written.
    seconds = recent[-1][0] - recent[0][0] if recent else 0.0
    rate = sum(count for _, count in recent[1:]) / seconds if seconds > 0 else None
    deaths = DeathLedger(archive.deaths).tries.total()
    return Progress(index.studies, done, failed, reasons, rate, deaths, archive.in_use())
