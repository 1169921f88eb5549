"""``import --from``: all of the authors' files at once; each becomes a member, or the error names the missing flag."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

import build_dataset
from lumbar.bundle.loading import load_bundle
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SAGITTAL_T1, SAGITTAL_T2
from tests.making.published_files import (
    SMALL_A,
    write_detector_file,
    write_family_a,
    write_family_b,
)


@pytest.fixture(scope="module")
def family_a(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return write_family_a(tmp_path_factory.mktemp("a"), folds=(1, 2))


@pytest.fixture(scope="module")
def family_b(tmp_path_factory) -> Path:
    torch.manual_seed(1)
    return write_family_b(tmp_path_factory.mktemp("b"), folds=(1, 2))


def import_from(folder: Path, out: Path, *flags: str) -> int:
    return build_dataset.main(["import", "--from", str(folder), "--out", str(out), *flags])


def linked_copy(source: Path, folder: Path) -> Path:
    """Copy a tree with hard links in place of its files."""
    return Path(shutil.copytree(source, folder, copy_function=lambda a, b: Path(b).hardlink_to(a)))


def test_family_a_by_folds(family_a, tmp_path, capsys):
    assert import_from(family_a, tmp_path / "out") == 0
    bundle = load_bundle(tmp_path / "out")
    assert [detector.name for detector in bundle.detectors] == ["family_a-fold1", "family_a-fold2"]
    for detector in bundle.detectors:
        assert detector.xy == "fixed" and set(detector.networks) == set(DESCRIPTIONS)
        assert [detector.networks[d].config.max_length for d in DESCRIPTIONS] == [32, 32, 64]
    names = [member.name for member in bundle.classifiers]
    assert names == ["convnext_atto-level-fold1", "convnext_atto-level-fold2"]
    assert {member.network.config.border for member in bundle.classifiers} == {"stretch"}
    assert bundle.trained_on.startswith("not stated")
    printed = capsys.readouterr().out
    rows = [line.split("  ")[0] for line in printed.splitlines() if ".bin" in line]
    assert sorted(rows) == sorted(str(file.relative_to(family_a)) for file in family_a.rglob("*.bin"))
    assert "family a: regnetx_002, lstm, 32 slices" in printed and "every weight as it was" in printed
    manifest = json.loads((tmp_path / "out/weights_manifest.json").read_text())
    source = manifest["classifiers"][0]["figures"]
    assert source["checkpoint"].startswith("convnext_level/fold1/") and source["score"] == 0.41


@pytest.mark.slow
def test_family_b_shares_the_first_folds_axial_network_and_takes_turns(family_b, tmp_path, capsys):
    assert import_from(family_b, tmp_path / "out") == 0
    bundle = load_bundle(tmp_path / "out")
    first, second = bundle.detectors
    assert first.networks[AXIAL_T2] is second.networks[AXIAL_T2]
    assert first.networks[SAGITTAL_T1] is not second.networks[SAGITTAL_T1]
    assert (first.xy, first.networks[AXIAL_T2].config.pointer) == ("dynamic", "transformer")
    names = [member.name.removeprefix("convnext_atto-") for member in bundle.classifiers]
    axes = ("level", "level_skip", "level_slices")
    assert names == [f"{axis}-seed42-fold{fold}" for fold in (1, 2) for axis in axes]
    assert [member.network.config.sequence for member in bundle.classifiers] == [*axes, *axes]
    printed = capsys.readouterr().out
    (axial,) = [line for line in printed.splitlines() if "Axial" in line]
    assert axial.endswith("family_b-fold1, family_b-fold2")


@pytest.mark.slow
def test_both_families_take_turns_and_an_open_border_rule_is_refused(family_a, family_b, tmp_path, capsys):
    """The test's backbone is of neither family; a published one implies the border rule of its training."""
    both = tmp_path / "both"
    linked_copy(family_a, both / "a"), linked_copy(family_b, both / "b")
    assert import_from(both, tmp_path / "out") == 4
    asked = capsys.readouterr().err
    assert asked.count("give --border") == 8 and "a/convnext_level/fold1/epoch" in asked
    borders = ["--border", "shift", "--border", "a/*=stretch"]
    assert import_from(both, tmp_path / "out", *borders, "--half") == 0
    bundle = load_bundle(tmp_path / "out")
    assert [d.name for d in bundle.detectors] == [f"family_{f}-fold{n}" for n in (1, 2) for f in "ab"]
    kept = {member.name: member.network.config.border for member in bundle.classifiers}
    assert kept["convnext_atto-level-fold1"] == "stretch"
    assert kept["convnext_atto-level-seed42-fold1"] == "shift"
    assert "rounded to float16" in capsys.readouterr().out


@pytest.mark.slow
def test_only_the_best_epoch_and_the_last_step_are_taken(family_a, tmp_path, capsys):
    folder = linked_copy(family_a, tmp_path / "files")
    one = next((folder / "axial_t2/fold1").iterdir())
    one.with_name("epoch005-testscore9.5.bin").hardlink_to(one)
    for step in ("pretrain", "finetune"):
        target = folder / step / "convnext_level/fold1/epoch010-testscore0.3.bin"
        target.parent.mkdir(parents=True)
        target.hardlink_to(next((folder / "convnext_level/fold1").iterdir()))
    shutil.rmtree(folder / "convnext_level/fold1")
    assert import_from(folder, tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert (
        "score 9.5, another epoch has 1.1" in printed and "a later step of its training is there" in printed
    )
    assert [m.name for m in load_bundle(tmp_path / "out").classifiers] == [
        "convnext_atto-level-fold1",
        "convnext_atto-level-fold2",
    ]
    one.with_name("another.bin").hardlink_to(one)
    assert import_from(folder, tmp_path / "out") == 4
    assert "checkpoints of one member" in capsys.readouterr().err
    assert import_from(folder, tmp_path / "out", "--skip", "*/another.bin") == 0


def test_an_open_question_names_the_file_and_the_flag(family_a, tmp_path, capsys):
    folder = tmp_path / "files"
    axial = folder / "stage1/first.bin"
    sagittal = folder / "stage1/second.bin"
    classifiers = [folder / f"stage2/{name}.bin" for name in "ab"]
    for target, source in (
        (axial, "axial_t2/fold1"),
        (sagittal, "sagittal_t1/fold1"),
        (folder / "stage1/third.bin", "sagittal_t2/fold1"),  # its five classes imply the description
        *((target, "convnext_level/fold1") for target in classifiers),
    ):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(next((family_a / source).iterdir()))
    assert import_from(folder, tmp_path / "out") == 4
    asked = capsys.readouterr().err
    assert asked.count("no description in its path") == asked.count("no sequence axis in its path") == 2
    assert f"--detector family_a:axial_t2={axial}" in asked and "third.bin" not in asked
    assert not (tmp_path / "out").exists()
    given = ["--detector", f"family_a:axial_t2={axial}", "--detector", f"family_a:sagittal_t1={sagittal}"]
    given += ["--sequence", "level_skip", "--sequence", "stage2/a.bin=level"]
    assert import_from(folder, tmp_path / "out", *given) == 0
    bundle = load_bundle(tmp_path / "out")
    assert [(d.name, set(d.networks)) for d in bundle.detectors] == [("family_a", set(DESCRIPTIONS))]
    assert [m.network.config.sequence for m in bundle.classifiers] == ["level", "level_skip"]


def test_an_axial_file_given_as_t1_and_the_reverse_are_warned_of(family_b, tmp_path, caplog):
    axial = next((family_b / "axial_t2/fold1").iterdir())
    sagittal = next((family_b / "sagittal_t1/fold1").iterdir())
    given = ["--detector", f"sagittal_t1={axial}", "--detector", f"axial_t2={sagittal}"]
    with caplog.at_level(logging.WARNING):
        assert build_dataset.main(["import", *given, "--partial", "--out", str(tmp_path / "out")]) == 0
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [
        message for message in warned if "its pointer is a transformer" in message and "Axial T2" in message
    ]
    assert [message for message in warned if "its encoder has 4 feature levels" in message]
    assert sum("but its path has" in message for message in warned) == 2
    caplog.clear()
    folder = tmp_path / "files/sagittal_t1/fold1"
    folder.mkdir(parents=True)
    (folder / "epoch.bin").hardlink_to(axial)
    with caplog.at_level(logging.WARNING):
        assert import_from(tmp_path / "files", tmp_path / "out", "--partial") == 0
    assert "its pointer is a transformer" in caplog.text


def test_a_folder_without_checkpoints_a_foreign_file_and_a_missing_folder_are_named(
    family_a, tmp_path, capsys
):
    assert import_from(tmp_path / "nowhere", tmp_path / "out") == 4
    assert "nowhere: no such folder" in capsys.readouterr().err
    folder = linked_copy(family_a, tmp_path / "files")
    (folder / "log.txt").write_text("epoch : 1")
    safetensors.torch.save_file({"layer.weight": torch.zeros(2)}, folder / "foreign.safetensors")
    assert import_from(folder, tmp_path / "out") == 4
    assert "foreign.safetensors: got keys such as ['layer.weight']" in capsys.readouterr().err
    assert import_from(folder, tmp_path / "out", "--skip", "*") == 4
    assert "and skipped 9" in capsys.readouterr().err
    assert import_from(folder, tmp_path / "out", "--skip", "foreign*") == 0


@pytest.mark.slow
def test_a_weight_beyond_float16_is_kept_and_refused_with_half(family_a, tmp_path, capsys):
    folder = linked_copy(family_a, tmp_path / "files")
    file = next((folder / "convnext_level/fold1").iterdir())
    tensors = torch.load(file, weights_only=True)
    tensors["out1.1.bias"][0] = 1e5
    file.unlink()
    torch.save(tensors, file)
    assert import_from(folder, tmp_path / "out", "--half") == 4
    assert "got a weight of 100000, expected at most 65504" in capsys.readouterr().err
    assert import_from(folder, tmp_path / "out") == 0
    heads = load_bundle(tmp_path / "out").classifiers[0].network.heads
    assert heads[0][1].bias[0] == 1e5


def test_nothing_is_unpickled(tmp_path, family_a, capsys):
    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harmed",)

    folder = linked_copy(family_a, tmp_path / "files")
    torch.save({"cnn.backbone.stem": Harm()}, folder / "harm.pth")
    assert import_from(folder, tmp_path / "out") == 4
    assert "harm.pth: not a state dict that loads safely" in capsys.readouterr().err
    assert not (tmp_path / "harmed").exists()


def test_a_detector_file_that_is_not_of_its_description_is_refused(tmp_path, capsys):
    write_detector_file(tmp_path / "files", SAGITTAL_T2, SMALL_A | {"max_length": 6})
    (tmp_path / "files/sagittal_t2").rename(tmp_path / "files/axial_t2")
    assert import_from(tmp_path / "files", tmp_path / "out", "--partial") == 4
    assert "got 5 classes, expected 10 for Axial T2" in capsys.readouterr().err
