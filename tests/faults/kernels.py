"""Kernels as processes: started from the starter or by the command line, watched, and cleared away."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900.0  # seconds for one kernel; a healthy one takes some, a busy machine more
# The same arithmetic on every machine: where bfloat16 is in hardware, a second try in float32 gives other digits.
PRECISION = ("--precision", "fp32")
# One thread: files that are compared byte for byte must be computed in the same order.
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "kernel"))),
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass
class Outcome:
    """The end of a kernel.

    Attributes:
        status: As the shell's, negative for a signal that killed it.
    """

    status: int
    log: str
    out: Path
    seconds: float

    @property
    def submission(self) -> Path:
        return self.out / "submission.csv"

    @property
    def run(self) -> dict:
        """The content of the run's ``run.json``; empty without that file."""
        path = self.out / "run.json"
        return json.loads(path.read_text()) if path.is_file() else {}


class KernelStarter:
    """The process that forks kernels; see ``tests.faults.worker_process``."""

    def __init__(self):
        command = [sys.executable, "-m", "tests.faults.worker_process"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=ENVIRONMENT
        )
        assert json.loads(self.process.stdout.readline())["ready"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)

    def run(
        self, arguments: list, out: Path, patches: dict | None = None, stop: tuple[int, float] | None = None
    ) -> Outcome:
        """Run a kernel that writes to ``out/submission.csv``.

        Args:
            patches: Functions of ``patched_kernel`` to call first, with their arguments.
            stop: A signal and the time to send it, in seconds.
        """
        out.mkdir(parents=True, exist_ok=True)
        log = out.with_name(out.name + ".log")
        order = {
            "arguments": [*map(str, arguments), *PRECISION, "--out", str(out / "submission.csv")],
            "stdout": str(log),
            "stderr": str(log),
            "patches": {"as_no_root": [], **(patches or {})},
        }
        begun, start = time.monotonic(), log.stat().st_size if log.exists() else 0
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        pid = json.loads(self.process.stdout.readline())["pid"]
        with alarm(pid, *(stop or (signal.SIGKILL, PATIENCE))):
            status = json.loads(self.process.stdout.readline())["status"]
        seconds = time.monotonic() - begun
        clear_away(pid)
        return Outcome(status, log.read_text(errors="replace")[start:], out, seconds)


@contextlib.contextmanager
def alarm(pid: int, number: int, seconds: float):
    """Send a signal to a process some time from now."""
    script = (
        "import os, sys, time; time.sleep(float(sys.argv[3])); os.kill(int(sys.argv[1]), int(sys.argv[2]))"
    )
    command = [sys.executable, "-S", "-c", script, str(pid), str(int(number)), str(seconds)]
    clock = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        clock.kill()
        clock.wait()


def run_command(
    arguments: list, out: Path, prefix: tuple[str, ...] = (), redirect: str = "", stop: tuple | None = None
) -> Outcome:
    """Run ``python kernel/infer.py`` through a shell.

    Args:
        redirect: Such as ``2>&-``.
    """
    out.mkdir(parents=True, exist_ok=True)
    log = out.with_name(out.name + ".log")
    kernel = [*prefix, sys.executable, ROOT / "kernel/infer.py", *arguments, *PRECISION]
    kernel += ["--out", out / "submission.csv"]
    quoted = " ".join(f"'{part}'" for part in kernel)
    begun = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {quoted} {redirect}"],
            stdout=file,
            stderr=file,
            cwd=ROOT,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        with alarm(process.pid, *(stop or (signal.SIGKILL, PATIENCE))):
            status = process.wait()
    clear_away(process.pid)
    return Outcome(status, log.read_text(errors="replace"), out, time.monotonic() - begun)


def clear_away(session: int, seconds: float = 10.0) -> None:
    """Wait until nothing of a kernel's session is left; whoever stays is killed, and that is a failure."""
    end = time.monotonic() + seconds
    while left := members(session):
        if time.monotonic() > end:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"{len(left)} processes of a kernel outlived it by {seconds:.0f} s")
        time.sleep(0.02)


def members(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state not in "ZX":
                found.append(int(stat.parent.name))
    return found
