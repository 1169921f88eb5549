"""A long run over few studies under many ids: memory and descriptors must stay flat.

python -m tests.faults.soak --studies 500
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "kernel"))

MOST_GROWTH_MB = 60.0  # from the first quarter of a run to its last, parent and readers together
SECONDS_BETWEEN_LOOKS = 0.5
PATIENCE = 3000.0  # seconds


def look(session: int) -> tuple[float, int, int] | None:
    """Return a session's resident memory in MB, its open descriptors and its processes."""
    from tests.faults.kernels import members

    memory, descriptors, processes = 0.0, 0, members(session)
    for pid in processes:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            memory += int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
            descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return (memory, descriptors, len(processes)) if processes else None


class Watch(threading.Thread):
    """Look at the youngest kernel of a starter until ``stop``."""

    def __init__(self, starter: int):
        super().__init__(daemon=True)
        self.starter, self.over, self.looks = starter, threading.Event(), []

    def run(self) -> None:
        while not self.over.wait(SECONDS_BETWEEN_LOOKS):
            children = Path(f"/proc/{self.starter}/task/{self.starter}/children").read_text().split()
            for pid in children:
                if seen := look(int(pid)):
                    self.looks.append(seen)


def soak(stage, studies: int) -> tuple[str, list[tuple[float, int, int]]]:
    """Run the kernel over healthy studies under many ids; return its summary and the samples on the way."""
    from tests.faults.checks import check_log, rows_of, study_lines
    from tests.faults.study_set import HEALTHY, Copy

    competition = stage.competition("soak", healthy=False)
    competition.images.mkdir()
    for number in range(studies):
        model, study_id = number % HEALTHY, f"{number:06}"
        (competition.images / study_id).symlink_to(stage.models / str(model))
        rows = [
            [study_id, str(n), text]
            for n, text in enumerate(("Sagittal T2/STIR", "Sagittal T1", "Axial T2"), 1)
        ]
        competition.studies.append(Copy(study_id, model, competition.images / study_id, {}, rows))
    watch = Watch(stage.starter.process.pid)
    watch.start()
    arguments = ["--data", competition.write_tables(), "--bundle", stage.small, "--workers", 2]
    outcome = stage.starter.run(arguments, stage.folder / "soak-out", stop=(signal.SIGKILL, PATIENCE))
    watch.over.set()
    watch.join()
    check_log(outcome.log)
    assert outcome.status == 0, outcome.log[-3000:]
    rows = rows_of(outcome.submission, competition.row_ids())
    for study in competition.studies:
        assert study_lines(rows, study.study_id) == stage.healthy[study.model], study.study_id
    return next(line for line in outcome.log.splitlines() if " studies in " in line), watch.looks


def grown(looks: list[tuple[float, int, int]]) -> tuple[str, float, int]:
    """Return a table of quarters, and by how much memory (MB) and descriptors grew from the second to the last."""
    full = max(processes for _, _, processes in looks)
    looks = [seen for seen in looks if seen[2] == full]  # not while readers start or end
    size = max(1, len(looks) // 4)
    quarters = [looks[start : start + size] for start in range(0, 4 * size, size)]
    lines, means = ["quarter  memory MB  descriptors  processes"], []
    for number, quarter in enumerate(filter(None, quarters), start=1):
        memory = sum(seen[0] for seen in quarter) / len(quarter)
        descriptors = max(seen[1] for seen in quarter)
        means.append((memory, descriptors))
        lines.append(f"{number:7} {memory:10.1f} {descriptors:12} {full:10}")
    first = means[min(1, len(means) - 1)]
    return "\n".join(lines), means[-1][0] - first[0], means[-1][1] - first[1]


def main() -> int:
    from tests.faults.study_runs import set_stage

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=500)
    args = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        stage = set_stage(Path(folder))
        summary, looks = soak(stage, args.studies)
        stage.starter.close()
    table, memory, descriptors = grown(looks)
    print(f"{summary}\n{table}")
    print(f"grown by {memory:.1f} MB and {descriptors} descriptors; {time.monotonic() - begun:.0f} s in all")
    return memory > MOST_GROWTH_MB or descriptors > 0


if __name__ == "__main__":
    sys.exit(main())
