"""How seconds and memory grow with studies and members, measured on the command itself."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.members import random_members
from tests.making.random_bundle import LENGTHS
from tests.making.tiny_bundle import write_tiny_bundle

REPOSITORY = Path(__file__).resolve().parents[2]
STUDIES = (1, 10, 100)
MEMBERS = ((1, 1), (1, 2), (2, 2))  # detectors, classifiers
MEMBER_STUDIES = 3


def repeat_study(root: Path, study_id: str, times: int, folder: Path) -> Path:
    """Write a competition folder that shows one study ``times`` times under other ids (hard links)."""
    (table,) = root.glob("*_series_descriptions.csv")
    images = root / table.name.replace("series_descriptions.csv", "images")
    head, *rows = table.read_text().splitlines()
    own = [row.split(",") for row in rows if row.split(",")[0] == study_id]
    lines = [head]
    for copy in range(1, times + 1):
        link_tree(images / study_id, folder / "test_images" / str(copy))
        lines += [",".join([str(copy), *row[1:]]) for row in own]
    (folder / "test_series_descriptions.csv").write_text("\n".join(lines) + "\n")
    return folder


def link_tree(source: Path, target: Path) -> None:
    try:
        shutil.copytree(source, target, copy_function=os.link)
    except (OSError, shutil.Error):  # another file system
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)


def run_command(data: Path, bundle: Path, device: str, precision: str = "auto") -> dict:
    """Run ``kernel/infer.py`` in a process of its own and return its ``run.json``."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "submission.csv"
        command = [sys.executable, str(REPOSITORY / "kernel" / "infer.py"), "--data", str(data)]
        command += ["--bundle", str(bundle), "--out", str(out), "--device", device, "--precision", precision]
        finished = subprocess.run(command, capture_output=True, text=True)
        if finished.returncode:
            raise RuntimeError(
                f"{' '.join(command)}: status {finished.returncode}\n{finished.stderr[-2000:]}"
            )
        return json.loads(out.with_name("run.json").read_text())


def grow(root: Path, study_id: str, device: str) -> dict[str, list[dict]]:
    """Return the scaling table: by number of studies with tiny networks, which leave reading and keeping as the
    largest part, and by number of members with full-size ones."""
    table: dict[str, list[dict]] = {"studies": [], "members": []}
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_tiny_bundle(Path(folder) / "tiny", LENGTHS["family_a"])
        for studies in STUDIES:
            data = repeat_study(root, study_id, studies, Path(folder) / str(studies))
            table["studies"].append(row(run_command(data, bundle, device), studies=studies))
        data = repeat_study(root, study_id, MEMBER_STUDIES, Path(folder) / "members")
        for detectors, classifiers in MEMBERS:
            members = random_members(detectors, classifiers)
            counted = {"detectors": detectors, "classifiers": classifiers, "members": detectors * classifiers}
            table["members"].append(row(run_command(data, members, device), **counted))
    return table


def row(run: dict, **what) -> dict:
    """Return one line of the table; ``rest_s``: start, waiting for reading, writing."""
    spent = run["seconds"]["stage 1"] + run["seconds"]["stage 2"]
    return what | {
        "seconds_a_study": run["seconds"]["total"] / run["studies"],
        "stages_s_a_study": spent / run["studies"],
        "rest_s": run["seconds"]["total"] - spent,
        "peak_memory_mb": run["peak_memory_mb"],
    }
