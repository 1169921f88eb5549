"""``deaths.jsonl``: the studies over which a worker died. It outlives the driver, so tries count over all runs."""

import time
from collections import Counter
from pathlib import Path

from lumbar.json_lines import JsonLines


class DeathLedger:
    """A line per death that one study is to blame for.

    Attributes:
        tries: Deaths by study id.
    """

    def __init__(self, path: Path):
        """Read the file; DataNotFoundError if it is damaged."""
        self.lines = JsonLines(path)
        self.tries = Counter(entry.get("study_id") for entry in self.lines.entries)

    def add(self, study_id: str, worker: str, why: str) -> None:
        """Append a death."""
        entry = {"study_id": study_id, "worker": worker, "why": why, "time": round(time.time(), 3)}
        self.lines.append(entry)
        self.tries[study_id] += 1
