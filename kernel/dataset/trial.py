"""The trial run of ``verify``: three phantoms through a built data set, offline, from a read-only copy.

The run repeats on this machine the steps of Kaggle's rerun. The copy's own kernel grades, in a process without a
network and with empty caches of weights.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dataset.metadata import DATASET_METADATA
from lumbar.faults import BundleError
from lumbar.outputs.submission import read_submission
from lumbar.sites import SITES
from phantom import write_phantoms

logger = logging.getLogger(__name__)

STUDIES, SEED = 3, 7
EXIT_FALLBACKS = 3  # of infer.py: the file is written, sites or studies got the prior
# Python imports a module of this name at every start, the reader processes' included.
OFFLINE = '''\
"""Refuse the network to this process; sockets between processes of this machine stay."""

import sys


def refuse(event: str, arguments: tuple) -> None:
    remote = event == "socket.connect" and not isinstance(arguments[1], str | bytes)
    if remote or event == "socket.getaddrinfo":
        raise OSError(f"a trial run has no network: {event} {arguments}")


sys.addaudithook(refuse)
'''
CACHES = ("HF_HOME", "TORCH_HOME", "XDG_CACHE_HOME")


def trial_run(folder: Path, partial: bool) -> str:
    """Grade three phantoms with a data set's own kernel and bundle; return a line with the seconds.

    Args:
        partial: Accept sites and studies that get the prior.

    Raises:
        BundleError: The kernel did not write a whole submission, or a study got a fallback. The message has the last
            lines of the kernel.
    """
    with tempfile.TemporaryDirectory(prefix="trial-") as scratch:
        copy, studies, work = (Path(scratch) / name for name in ("dataset", "studies", "work"))
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(DATASET_METADATA))
        make_read_only(copy)
        logger.info("trial run: writing %d phantoms", STUDIES)
        write_phantoms(studies, STUDIES, SEED, workers=min(STUDIES, os.cpu_count() or 1), split="test")
        work.mkdir()
        logger.info("trial run: grading them with %s", folder)
        begun = time.monotonic()
        done = run_kernel(copy, studies, work)
        seconds = time.monotonic() - begun
        if done.returncode not in ((0, EXIT_FALLBACKS) if partial else (0,)):
            words = "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-8:])
            raise BundleError(
                f"{folder}: trial run: infer.py ended with status {done.returncode}, expected 0 (--no-trial leaves the "
                f"trial out); its last words:\n{words}"
            )
        row_ids, _ = read_submission(work / "submission.csv")
        if len(row_ids) != STUDIES * len(SITES):
            raise BundleError(
                f"{folder}: trial run: got {len(row_ids)} rows, expected {STUDIES * len(SITES)}"
            )
        run = json.loads((work / "run.json").read_text(encoding="utf-8"))
    start = run["seconds"].get("start", 0.0)
    return (
        f"{folder}: trial run: {STUDIES} phantoms graded in {seconds:.0f} s on {run['device']}, {run['precision']}: "
        f"{start:.1f} s to start, {(seconds - start) / STUDIES:.1f} s per study; {len(row_ids)} rows, "
        f"{len(run['fallbacks'])} fallbacks"
    )


def make_read_only(folder: Path) -> None:
    """Take the right to write from everything in a folder, as a mounted data set has it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def run_kernel(copy: Path, studies: Path, work: Path) -> subprocess.CompletedProcess:
    """Run the copy's ``infer.py`` in ``work``, without a network and with empty caches."""
    offline, cache = work.parent / "offline", work.parent / "cache"
    offline.mkdir()
    (offline / "sitecustomize.py").write_text(OFFLINE, encoding="utf-8")
    environment = os.environ | {name: str(cache) for name in CACHES}
    environment |= {"PYTHONPATH": str(offline), "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, copy / "kernel/infer.py", "--data", studies, "--out", work / "submission.csv"]
    return subprocess.run(
        [*map(str, command), "--max-fallback-share", "0"],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
    )
