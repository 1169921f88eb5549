"""The command itself on copies of the phantoms, with the card's load watched from outside."""

import subprocess
import tempfile
import threading
import time
from pathlib import Path
from statistics import mean

from tests.benchmarks.scaling import link_tree, run_command

EVERY = 0.1  # seconds between two looks at the card
QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")


class Watch:
    """Looks at the first card's utilisation and memory while a block runs; without a card it records nothing."""

    def __enter__(self) -> "Watch":
        self.busy: list[tuple[float, float]] = []  # seconds, percent
        self.memory_mb = 0.0
        self.done = threading.Event()
        self.started = time.monotonic()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()
        return self

    def look(self) -> None:
        command = [*QUERY, f"--loop-ms={int(1000 * EVERY)}"]
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            return
        assert process.stdout is not None
        for line in process.stdout:
            percent, memory = (float(number) for number in line.split(",")[:2])
            self.busy.append((time.monotonic() - self.started, percent))
            self.memory_mb = max(self.memory_mb, memory)
            if self.done.is_set():
                break
        process.kill()
        process.wait()

    def __exit__(self, *_) -> None:
        self.done.set()
        self.thread.join(5)

    def percent(self, start: float) -> float | None:
        """Return the mean utilisation from ``start`` seconds on."""
        seen = [percent for seconds, percent in self.busy if seconds >= start]
        return mean(seen) if seen else None


def repeat_studies(root: Path, copies: int, folder: Path) -> Path:
    """Write a competition folder with copies of a folder's studies in turn, by hard links."""
    head, *rows = (root / "train_series_descriptions.csv").read_text().splitlines()
    models = sorted({row.split(",")[0] for row in rows})
    lines = [head]
    for copy in range(copies):
        model = models[copy % len(models)]
        link_tree(root / "train_images" / model, folder / "test_images" / str(copy + 1))
        lines += [
            ",".join([str(copy + 1), *row.split(",")[1:]]) for row in rows if row.split(",")[0] == model
        ]
    (folder / "test_series_descriptions.csv").write_text("\n".join(lines) + "\n")
    return folder


def grade_copies(work: Path, bundle: Path, device: str, copies: int) -> dict:
    """Return seconds per study and by stage, and the card's load from the first study's grades on."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        data = repeat_studies(work / "phantoms", copies, Path(folder))
        with Watch() as watch:
            started = time.monotonic()
            run = run_command(data, bundle, device)
            seconds = time.monotonic() - started
    spent = run["seconds"]
    return {
        "copies": copies,
        "seconds": seconds,
        "run_seconds": spent,
        "after_start_s_per_study": (spent["total"] - spent["start"]) / copies,
        "waited_share": run["waited_share"],
        "bound_by": run["bound_by"],
        "busy_percent": watch.percent(spent["first grades"]),
        "memory_mb": watch.memory_mb,
        "peak_memory_mb": run["peak_memory_mb"],
        "load": watch.busy[::5],
    }
