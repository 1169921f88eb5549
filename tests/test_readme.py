"""The README, tried as a new user would: its commands run in its order, at a small size.

Training comes first, on phantoms and with tiny networks. The exported bundle then grades studies at home, is built for
Kaggle, goes through the real Kaggle command line (without a network) and runs as a notebook, offline. The Python
example is executed, and all links lead somewhere.

Tested elsewhere: ``import`` in test_import_folder.py, the shipped weights in test_notebook.py, ``pip install -e .`` in
test_install.py. ``.ci/run`` runs pip and the tests themselves.
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import build_dataset
import evaluate
import infer
import train
from lumbar.bundle.loading import load_bundle
from lumbar.outputs.submission import read_submission
from lumbar.sites import SEVERITIES
from tests.kaggle import kaggle_machine
from tests.making.labelled_competition import tiny_recipe
from training import commands
from training.recipes.reading import read_recipe

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
KERNEL_README = (REPOSITORY / "kernel/README.md").read_text(encoding="utf-8")
MOST_WORDS = 1300


def blocks_of(text: str, language: str) -> list[str]:
    """Return the contents of a Markdown text's fenced blocks of a language, "" for none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [block for named, block in found if named == language]


BLOCKS = blocks_of(README, "")
LINES = [command.strip() for block in BLOCKS for line in block.splitlines() for command in line.split("&&")]
PROGRAM = r"(\.venv/bin/)?python3? ((kernel/\w+|build_dataset)\.py)"
COMMANDS = [line for line in LINES if re.match(PROGRAM, line)]
PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
INLINE = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", PROSE)]
KAGGLE = [line for line in (*LINES, *INLINE) if line.startswith("kaggle ")]
OTHERS = r"(\.venv/bin/)?(python3? -m (venv|pytest)|pip install) "  # .ci/run runs these
PARSERS = {
    "kernel/infer.py": infer.arguments,
    "kernel/train.py": train.parse,
    "kernel/evaluate.py": evaluate.parse,
    "build_dataset.py": build_dataset.parse,
}
PROGRAMS = {
    "kernel/infer.py": infer.main,
    "kernel/train.py": train.main,
    "kernel/evaluate.py": evaluate.main,
    "build_dataset.py": build_dataset.main,
}
OWNER, SLUG = "someone", "lumbar-spine-kernel"
SMALL = {
    "--studies 24 ": "--studies 2 ",
    "--studies 4 ": "--studies 1 ",
    "--owner NAME --slug SLUG": f"--owner {OWNER} --slug {SLUG} --no-wheels",
    "NAME/SLUG": f"{OWNER}/{SLUG}",
    "--data DIR": "--data runs/unseen",
    "-v N": "-v 1",
}


def small(command: str) -> str:
    """Return a command of the README with its sizes made small and its placeholders filled."""
    for written, meant in SMALL.items():
        command = command.replace(written, meant)
    return command


def run(command: str) -> None:
    _, program, *flags = shlex.split(small(command))
    assert PROGRAMS[program](flags) == 0, command


def commands_like(pattern: str) -> list[str]:
    found = [command for command in COMMANDS if re.search(pattern, command)]
    assert found, f"the README has no command like {pattern!r}"
    return found


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A folder in which the README's commands were run, from phantoms to the files to upload."""
    folder = tmp_path_factory.mktemp("walk")
    recipe = replace(tiny_recipe(fold_count=2), name="tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(commands, "read_recipe", lambda *_: recipe)
        for command in commands_like(r"train\.py (phantoms|recipe|export)|bundles/tiny|evaluate\.py"):
            run(command)
        shutil.copytree("runs", "training", ignore=shutil.ignore_patterns("unseen", "cache", "tiny"))
        shutil.copytree("bundles/tiny", "bundles/family_b")  # as if they had been imported
        for command in commands_like(r"--bundle bundles/family_b|build_dataset\.py verify"):
            run(command)
    return folder


def test_there_are_commands_of_every_program_and_none_of_another():
    assert {shlex.split(command)[1] for command in COMMANDS} == set(PARSERS)
    shell = [line for line in LINES if re.match(r"(\.venv/bin/)?(python3?|pip|kaggle) ", line)]
    assert not [line for line in shell if line not in COMMANDS + KAGGLE and not re.match(OTHERS, line)]
    named = [word for line in shell for word in re.findall(r"-r (\S+\.txt)", line)]
    assert {"requirements.txt", "tests/requirements.txt"} == set(named)
    assert all((REPOSITORY / name).is_file() for name in named)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_its_program_takes(command):
    _, program, *flags = shlex.split(command)
    PARSERS[program](flags)


def test_every_command_is_run_somewhere():
    walked = r"runs/phantoms|runs/tiny|bundles/tiny|--bundle bundles/family_b|verify dist|runs/unseen"
    elsewhere = (
        r"infer\.py( --demo)?$|build_dataset\.py import"  # below, test_notebook.py; test_import_folder.py
    )
    assert not [command for command in COMMANDS if not re.search(f"{walked}|{elsewhere}", command)]


@pytest.mark.slow
def test_training_ends_in_a_bundle_that_grades_what_it_has_not_seen(walk):
    assert load_bundle(walk / "bundles/tiny").name == "tiny"
    ids, rows = read_submission(walk / "training/submission.csv")
    assert len(ids) == 25 and (rows > 0).all()
    seen = {path.name for path in (walk / "training/seen").iterdir()}
    assert {"points.csv", "members.csv", "run.json", "findings"} <= seen


@pytest.mark.slow
def test_the_demo_ends_in_pages_to_look_at(tmp_path, monkeypatch, capsys, walk):
    """With the README's command and its three studies; made from the walk's one to save a minute."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(walk / "runs/unseen", tmp_path / "demo/studies")
    (command,) = commands_like("--demo")
    run(f"{command} --bundle {walk / 'bundles/tiny'}")
    said = capsys.readouterr().out
    assert "graded (truth):" in said and "report: demo/report/index.html" in said
    assert len(list((tmp_path / "demo/report/studies").glob("*.html"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", dict.fromkeys(KAGGLE))
def test_kaggle_s_own_client_takes_the_commands(walk, command, tmp_path):
    if importlib.util.find_spec("kaggle") is None:
        pytest.skip("the Kaggle command line is not installed: pip install kaggle")
    account = {"KAGGLE_USERNAME": OWNER, "KAGGLE_KEY": "none", "HOME": str(tmp_path)}
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "tests.kaggle.kaggle_client", *shlex.split(small(command))[1:]],
        cwd=walk,
        env=os.environ | account | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line for line in done.stdout.splitlines() if not line.startswith("{")]
    assert not [line for line in said if "error" in line or "not valid" in line or "Skipping" in line], said
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    uploads = {one["upload"]: one["names"] for one in told if "upload" in one}
    fields = next((one["fields"] for one in told if "request" in one), {})
    if "-p dist/dataset" in command:
        assert "infer.py" in uploads["kernel.zip"] and "weights_manifest.json" in uploads
        assert "dataset-metadata.json" not in uploads and "SHA256SUMS" in uploads
    elif "download" in command:
        (folder,) = re.findall(r"-p (checkpoints/\S+)", command)
        assert (walk / folder / "fold1/epoch.bin").is_file()  # below the folder that import is given
    elif "push" in command:
        assert fields["enable_internet"] is False and fields["is_private"] is True
        assert fields["dataset_data_sources"] == [f"{OWNER}/{SLUG}"]
        assert fields["docker_image_pinning_type"] == "original"
    elif "submit" in command:
        assert (fields["kernel_owner"], fields["kernel_slug"]) == (OWNER, SLUG)
        assert fields["kernel_version"] == 1 and fields["file_name"] == "submission.csv"


@pytest.mark.slow
@pytest.mark.skipif(
    not kaggle_machine.can_be_had(), reason="needs namespaces, or to be allowed to make /kaggle"
)
def test_the_notebook_submits_what_the_bundle_gave_at_home(walk, tmp_path):
    """Without a network, the data set read-only: the last step before the competition."""
    kaggle = tmp_path / "kaggle"
    test = kaggle / "input/competitions/rsna-2024-lumbar-spine-degenerative-classification"
    shutil.copytree(walk / "runs/unseen/train_images", test / "test_images")
    table = "series_descriptions.csv"
    shutil.copy(walk / f"runs/unseen/train_{table}", test / f"test_{table}")
    shutil.copytree(walk / "dist/dataset", kaggle / f"input/datasets/{OWNER}/{SLUG}")
    (kaggle / "working").mkdir()
    notebook = walk / "dist/notebook/submission.ipynb"
    done = kaggle_machine.execute_notebook(notebook, kaggle, {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    ids, rows = read_submission(kaggle / "working/submission.csv")
    home_ids, home_rows = read_submission(walk / "training/submission.csv")
    assert ids == home_ids and abs(rows - home_rows).max() < 1e-3
    assert (kaggle / "working/report/index.html").is_file()


@pytest.mark.slow
def test_the_python_of_the_readme_runs(walk, tmp_path, monkeypatch, capsys):
    (example,) = blocks_of(README, "python")
    (study,) = (walk / "runs/unseen/train_images").iterdir()
    shutil.copytree(study, tmp_path / "study")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(example.replace('lumbar.load(".")', f"lumbar.load({str(walk / 'bundles/tiny')!r})"), names)
    result = names["result"]
    assert result.study_id == study.name and len(result.table) == 25
    assert "right_subarticular_stenosis_l5_s1" in capsys.readouterr().out
    comment = re.search(r"print\(result.table\) +# (.*)", example)[1]
    assert comment == "site, three probabilities, slice, row, column, x, y, z in mm"
    assert list(result.table.columns) == ["site", *SEVERITIES, "slice", "row", "column", "x", "y", "z"]


def test_the_recipe_of_the_kernel_s_readme_is_one(tmp_path):
    (member,) = blocks_of(KERNEL_README, "toml")
    shipped = (REPOSITORY / "kernel/training/recipes/small.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(f"{shipped}\n{member}")
    assert "wider" in [classifier.name for classifier in read_recipe(str(tmp_path / "mine.toml")).classifiers]


@pytest.mark.parametrize("file", ["README.md", "kernel/README.md"])
def test_every_link_leads_somewhere(file):
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("https://")]
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        target = (REPOSITORY / file).parent / name
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in [title.lower().replace(" ", "-") for title in titles], link


def test_the_readme_is_short():
    assert len(README.split()) <= MOST_WORDS


def test_the_rooms_of_the_map_are_there():
    tree = next(block for block in BLOCKS if block.startswith("kernel/infer.py"))
    package = REPOSITORY / "kernel/lumbar"
    rooms = {f"{path.name}/" for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
    named = set(re.findall(r"^  ([a-z_]+/)", tree, flags=re.MULTILINE))
    assert named == rooms
    files = set(re.findall(r"^  ([a-z_]+\.py)", tree, flags=re.MULTILINE))
    assert all((package / name).is_file() for name in files)
