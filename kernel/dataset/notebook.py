"""The notebook that grades on Kaggle: a few cells, each of which prints its result.

It knows no mount: Kaggle moved them in 2026 and may again. Written as plain JSON of notebook format 4.5 with
fixed cell ids, so that the same build gives the same bytes.
"""

import json

from dataset.metadata import COMPETITION
from dataset.wheels import PACKAGES

FIND = '''\
from pathlib import Path


def find_bundle(top: Path = Path("/kaggle/input"), depth: int = 4) -> Path:
    """Return the mounted folder that holds the weights' manifest and the kernel, whatever its mount is called."""
    found, folders = [], [top]
    for _ in range(depth + 1):
        here = [f for f in folders if (f / "weights_manifest.json").is_file() and (f / "kernel/infer.py").is_file()]
        found += here
        inside = [sub for f in folders if f not in here for sub in sorted(f.iterdir()) if sub.is_dir()]
        folders = [f for f in inside if not f.name.endswith("_images")]  # the competition's are thousands
    if len(found) != 1:
        raise FileNotFoundError(
            f"{top}: found {len(found)} data sets with weights_manifest.json and kernel/infer.py {found}, "
            "expected one; attach it (Add Input), or detach the others"
        )
    return found[0]


bundle = find_bundle()
print("bundle:", bundle)
'''

INSTALL = f"""\
import os
import subprocess
import sys
import tempfile

# Into a scratch folder for the kernel's process alone; the image's own packages stay as they are.
environment = dict(os.environ)
if (bundle / "wheels").is_dir():
    scratch = tempfile.mkdtemp(prefix="wheels-")
    pip = [sys.executable, "-m", "pip", "install", "--isolated", "--quiet", "--no-index", "--no-deps"]
    pip += ["--find-links", str(bundle / "wheels"), "--target", scratch, {", ".join(f'"{p}"' for p in PACKAGES)}]
    path = os.pathsep.join(filter(None, [scratch, environment.get("PYTHONPATH")]))
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode == 0:
        check = [sys.executable, "-c", "import pylibjpeg, rle"]
        done = subprocess.run(check, capture_output=True, text=True, env=environment | {{"PYTHONPATH": path}})
    if done.returncode == 0:
        environment["PYTHONPATH"] = path
        print("wheels: fast RLE decoding, installed in", scratch)
    else:
        print("wheels: none that works with this Python; the kernel runs without, slower:", done.stderr[-500:])
else:
    print("wheels: none in the bundle; the kernel runs without, slower")
"""

RUN = """\
environment |= {"PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "30"}  # a line of progress every 30 s
command = [sys.executable, str(bundle / "kernel" / "infer.py"), "--out", "submission.csv"]
if not os.environ.get("KAGGLE_IS_COMPETITION_RERUN"):  # pages to look at; the scored rerun needs none
    command += ["--report", "report"]
print(" ".join(command))
kernel = subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
)
for line in kernel.stdout:
    print(line, end="", flush=True)
status = kernel.wait()
# 3: the file is written, but too many studies could not be read. In the run before submitting this is an error that
# somebody must look at. In the scored rerun the file is better than none.
if status == 3 and os.environ.get("KAGGLE_IS_COMPETITION_RERUN"):
    print("many studies got a fallback; the submission is complete")
elif status != 0:
    raise SystemError(f"infer.py ended with status {status}; its words are above")
"""

SHOW = """\
import json

import pandas as pd

run = json.loads(Path("run.json").read_text())
for key in ("bundle", "trained_on", "device", "device_reason", "precision", "studies", "fallback_share"):
    print(f"{key}: {run.get(key)}")
print(f"seconds: {run['seconds']['total']:.0f}")
for name in ("fallbacks", "faults", "fewer_members"):
    print(f"{name}: {len(run[name])}", *list(run[name])[:5], sep="\\n  ")
submission = pd.read_csv("submission.csv")
print(f"submission.csv: {len(submission)} rows")
submission.head(10)
"""


def notebook_text(owner: str, slug: str, bundle_name: str) -> str:
    """Return the notebook (JSON) that grades with the data set ``owner/slug``."""
    introduction = (
        f"# Lumbar spine: {bundle_name}\n\n"
        f"Grades the studies of `{COMPETITION}` with the attached data set `{owner}/{slug}`. "
        "Needs no internet; a GPU (T4) makes it fast. For research; not for clinical use."
    )
    cells = [
        markdown_cell("introduction", introduction),
        code_cell("find-bundle", FIND),
        code_cell("install-wheels", INSTALL),
        code_cell("run-kernel", RUN),
        code_cell("show-submission", SHOW),
    ]
    notebook = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def markdown_cell(cell_id: str, text: str) -> dict:
    return {"cell_type": "markdown", "id": cell_id, "metadata": {}, "source": text}


def code_cell(cell_id: str, text: str) -> dict:
    source = text.removesuffix("\n")
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": cell_id,
        "metadata": {},
        "outputs": [],
        "source": source,
    }
