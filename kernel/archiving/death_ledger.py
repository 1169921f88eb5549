"""``deaths.jsonl``: the studies over which a worker died. It outlives the driver, so tries count over all runs."""

import json
import os
import time
from collections import Counter
from pathlib import Path


class DeathLedger:
    """An append-only file with a line per death that one study is to blame for.

    Attributes:
        tries: Deaths by study id.
    """

    def __init__(self, path: Path):
        self.path = path
        self.tries: Counter[str] = Counter()
        content = path.read_bytes() if path.is_file() else b""
        for line in content.splitlines():
            try:
                self.tries[json.loads(line)["study_id"]] += 1
            except (ValueError, KeyError, TypeError):  # torn by a kill in the middle of a write
                continue
        self.torn = not content.endswith(b"\n") and bool(content)

    def add(self, study_id: str, worker: str, why: str) -> int:
        """Append a death and return how many the study has."""
        entry = {"study_id": study_id, "worker": worker, "why": why, "time": round(time.time(), 3)}
        line = ("\n" if self.torn else "") + json.dumps(entry) + "\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode())
            os.fsync(file.fileno())
        self.torn = False
        self.tries[study_id] += 1
        return self.tries[study_id]
