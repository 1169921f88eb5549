"""A whole tiny recipe: it trains, skips finished members, goes on after a kill, exports a bundle that runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import train
import training.fitting.train_detector as stage1
from lumbar.bundle.loading import load_bundle
from lumbar.bundle.manifest import MANIFEST, read_manifest
from lumbar.grading.detection import detect_study
from lumbar.grading.ensemble import site_windows
from lumbar.networks.architecture import CropRule
from lumbar.networks.batch_runner import BatchRunner
from lumbar.sites import AXIAL_T2, SITES
from tests.making.labelled_competition import (
    SCHEDULE,
    tiny_recipe,
    training_data_of,
    training_setup,
    write_competition,
)
from tests.making.recipe_file import write_recipe
from training.data.classifier_dataset import ClassifierDataset
from training.errors import LabelError
from training.fitting.closing_summary import closing
from training.fitting.export_bundle import export_over, export_run
from training.fitting.jobs import detector_points
from training.fitting.loop import BEST
from training.fitting.run_file import RUN_FILE, RUN_FORMAT
from training.fitting.run_recipe import run_recipe


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the tiny recipe: (recipe, training_setup, run folder, what run.json holds)."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("run")
    setup = training_setup(training_data_of(write_competition(root / "data"), root / "run"))
    recipe = tiny_recipe()
    about = run_recipe(recipe, setup, root / "run", recipe.networks, recipe.classifiers)
    return recipe, setup, root / "run", about


def test_a_person_sees_what_happened(finished):
    recipe, _, run, about = finished
    folder = run / "networks" / recipe.networks[0].name / "fold0"
    for name in ("epochs.csv", "curves.png", "samples.png", "result.json", "best.safetensors"):
        assert (folder / name).stat().st_size
    epochs = pd.read_csv(folder / "epochs.csv")
    assert list(epochs["epoch"]) == [1, 2] and np.isfinite(epochs[["loss", "z", "y", "x"]]).all(axis=None)
    assert json.loads((run / "run.json").read_text()) == about
    assert {"recipe", "data", "versions", "counts", "figures", "prior", "device"} <= about.keys()
    members = pd.read_csv(run / "members.csv")
    assert len(members) == 2 * 25  # one validation study, two classifiers
    assert np.allclose(members[["normal_mild", "moderate", "severe"]].sum(axis=1), 1, atol=1e-5)


def test_what_is_done_is_skipped(finished, monkeypatch):
    recipe, setup, run, about = finished
    monkeypatch.setattr(stage1, "detector_losses", None)  # a step would fail
    assert run_recipe(recipe, setup, run, recipe.networks, recipe.classifiers)["figures"] == about["figures"]


def test_another_recipe_in_the_same_folder_is_refused(finished):
    recipe, setup, run, _ = finished
    with pytest.raises(LabelError, match=r"other recipe: recipe\.fold_seed was 42, is 1\."):
        run_recipe(replace(recipe, fold_seed=1), setup, run, (), ())


def test_a_run_of_another_format_is_refused_by_name(finished, tmp_path):
    """The version before wrote no format, and other names for a recipe's fields."""
    recipe, setup, _, about = finished
    old = {name: value for name, value in about.items() if name != "format"}
    (tmp_path / RUN_FILE).write_text(json.dumps(old))
    refused = f"got a run of format 1, expected {RUN_FORMAT}"
    with pytest.raises(LabelError, match=refused):
        run_recipe(recipe, setup, tmp_path, (), ())
    with pytest.raises(LabelError, match=refused):
        export_run(tmp_path, tmp_path / "bundle", "old", "dots")


def test_a_purpose_may_be_worded_anew(finished):
    recipe, setup, run, about = finished
    worded = replace(recipe, purpose="in other words")
    assert run_recipe(worded, setup, run, (), ())["figures"] == about["figures"]


def test_further_studies_that_the_run_did_not_have_are_refused(finished):
    recipe, setup, run, _ = finished
    with pytest.raises(LabelError, match="other extra_studies"):
        run_recipe(recipe, replace(setup, extra_data=setup.data), run, (), ())


def test_a_training_crop_is_a_serving_crop_bit_for_bit(finished, tmp_path):
    recipe, setup, run, _ = finished
    export_run(run, tmp_path / "bundle", "tiny", "synthetic dots")
    bundle = load_bundle(tmp_path / "bundle")
    cache, validation = setup.data.cache, setup.split(0, setup.data.folds(5, 42))[1]
    for detector in recipe.detectors:
        points = detector_points(detector.point_kind, recipe.networks, run)
        served_by = next(d for d in bundle.detectors if d.name == detector.name)
        for rule in (
            CropRule("shift"),
            CropRule("stretch", window_mm=40.0),
            CropRule("shift", 1, AXIAL_T2, window_levels=1.2),
        ):
            dataset = ClassifierDataset(cache, validation, np.zeros((1, 25), np.int8), points, rule, None, 0)
            detection = detect_study((served_by,), cache.volumes(validation[0]), BatchRunner(setup.device))[
                detector.name
            ]
            for description, served in detection.points.items():
                # The bundle's weights are rounded to float16: take over the points, compare the crops.
                detection.points[description] = points[validation[0]][description].points
                assert served.points.shape == detection.points[description].points.shape
            served = site_windows(detection, cache.volumes(validation[0]), rule)
            assert served.any() and np.array_equal(dataset.windows(0, np.random.default_rng(0)), served)


def test_the_bundle_carries_figures_and_prior(finished, tmp_path):
    _, _, run, about = finished
    export_run(run, tmp_path / "bundle", "tiny", "synthetic dots")
    manifest = json.loads((tmp_path / "bundle" / "weights_manifest.json").read_text())
    assert manifest["trained_on"] == "synthetic dots" and len(manifest["prior"]) == len(SITES)
    assert [d["xy"] for d in manifest["detectors"]] == ["fixed", "dynamic"]
    files = {n["file"] for d in manifest["detectors"] for n in d["networks"].values()}
    assert len(files) == 3  # both detectors share their networks
    assert all("figures" in member for member in manifest["detectors"] + manifest["classifiers"])
    assert about["figures"]["ensemble"]["studies"] == 1


def test_points_out_of_fold_need_every_fold(finished, tmp_path):
    recipe, setup, _, _ = finished
    network = replace(recipe.networks[0], stage2_points="out_of_fold", schedule=replace(SCHEDULE, epochs=1))
    recipe = replace(recipe, networks=(network, *recipe.networks[1:]))
    run_recipe(recipe, setup, tmp_path / "run", (network,), ())  # other folds may be trained elsewhere
    assert not (tmp_path / "run/points").exists()
    with pytest.raises(LabelError, match="out of fold"):
        run_recipe(recipe, setup, tmp_path / "run", (network,), recipe.classifiers)


def test_the_fold_after_the_last_trains_on_all_studies_and_takes_the_last_epoch(finished, tmp_path):
    recipe, setup, _, _ = finished
    network = replace(recipe.networks[0], schedule=replace(SCHEDULE, epochs=2, evaluate_every=1))
    every = replace(recipe, networks=(network,), detectors=(), classifiers=(), folds=(recipe.fold_count,))
    about = run_recipe(every, setup, tmp_path, every.networks, ())
    ((name, figures),) = about["figures"].items()
    assert name == f"{network.name}/fold{recipe.fold_count}"
    assert figures["best"]["epoch"] == 2 and figures["best"]["error"] is figures["best"]["beyond_8px"] is None
    volumes = sum(d == network.config.description for _, d in setup.data.targets)
    assert figures["steps"] == -(-volumes // network.schedule.batch)


def test_a_runs_networks_replace_those_of_a_bundle_and_nothing_else(finished, tmp_path):
    recipe, _, run, _ = finished
    export_run(run, tmp_path / "base", "tiny", "synthetic dots", attribution=("Dots by A",))
    (last,) = (n for n in recipe.networks[-1:])
    part = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(part / "classifiers")
    for network in recipe.networks[:-1]:
        shutil.rmtree(part / "networks" / network.name)
    (file,) = (part / "networks" / last.name).glob("fold*/best.safetensors")
    fold = int(file.parent.name.removeprefix("fold"))
    save_file({key: value * 1.5 for key, value in load_file(file).items()}, file)
    # A network that no detector names is a start of another one, and is not taken.
    start = shutil.copytree(part / "networks" / last.name, part / "networks" / f"start-{last.name}")
    about = json.loads((part / RUN_FILE).read_text())
    about["recipe"]["networks"].insert(0, about["recipe"]["networks"][-1] | {"name": start.name})
    # The second detector is of another name than any of the bundle's.
    about["recipe"]["detectors"][0] |= {"sagittal_prior_mm": 3.0, "joint_levels": True}
    about["recipe"]["detectors"][1] |= {"sagittal_prior_mm": 6.0, "name": "other"}
    (part / RUN_FILE).write_text(json.dumps(about))
    manifest = export_over(
        part, fold, tmp_path / "base", tmp_path / "new", "dots, then more", attribution=("Lines by B",)
    )
    old, new = (read_manifest(folder) for folder in (tmp_path / "base", manifest.parent))
    assert (old.name, old.detector_names, old.classifiers) == (new.name, new.detector_names, new.classifiers)
    assert new.trained_on == "dots, then more" and new.attribution == ("Dots by A", "Lines by B")
    assert np.allclose(old.prior, new.prior, rtol=0, atol=1e-6)
    for before, after in zip(old.detectors, new.detectors, strict=True):
        changed = {
            d for d, entry in after["networks"].items() if entry["sha256"] != before["networks"][d]["sha256"]
        }
        assert changed == {last.config.description}
        assert last.name in after["figures"]
    options = [(d.sagittal_prior_mm, d.joint_levels) for d in load_bundle(manifest.parent).detectors]
    assert options == [(3.0, True), (None, False)]
    shutil.rmtree(part / "networks" / last.name)
    with pytest.raises(LabelError, match="no trained member of fold"):
        export_over(part, fold, tmp_path / "base", tmp_path / "newer", "dots")


@pytest.mark.slow
def test_a_classifier_starts_from_another_and_then_replaces_those_of_a_bundle(finished, tmp_path):
    recipe, setup, run, _ = finished
    first = recipe.classifiers[0]
    started = replace(
        first,
        name="further",
        start_from=first.name,
        step1=replace(SCHEDULE, epochs=1, lr=1e-12, weight_decay=0),
        step2=None,
        config=replace(first.config, sequence="level_region"),
    )
    further = replace(recipe, classifiers=(first, started))
    part = tmp_path / "run"
    for kind in ("networks", "points", "classifiers"):
        shutil.copytree(run / kind, part / kind)
    run_recipe(
        further, setup, part, further.networks, further.classifiers
    )  # the last one alone is to be trained
    assert set(pd.read_csv(part / "members.csv")["classifier"]) == {"further/fold0"}
    export_run(part, tmp_path / "alone", "tiny", "synthetic dots")
    assert [entry["name"] for entry in read_manifest(tmp_path / "alone").classifiers] == ["further"]
    before = load_file(run / "classifiers" / first.name / "fold0" / "step2" / BEST)
    after = load_file(part / "classifiers" / "further" / "fold0" / "step1" / BEST)
    for name, tensor in before.items():
        taken = (
            name in after
            and after[name].shape == tensor.shape
            and "running" not in name
            and "num_" not in name
        )
        assert not taken or torch.allclose(after[name], tensor, atol=1e-9), name
    assert after.keys() - before.keys() == {name for name in after if name.startswith("rnn3")}
    export_run(run, tmp_path / "base", "tiny", "synthetic dots")
    for network in recipe.networks:
        shutil.rmtree(part / "networks" / network.name)
    export_over(part, 0, tmp_path / "base", tmp_path / "new", "dots, then more")
    old, new = (read_manifest(tmp_path / name) for name in ("base", "new"))
    assert [entry["name"] for entry in new.classifiers] == ["further"] and new.classifiers[0]["figures"]
    assert [d["networks"] for d in old.detectors] == [d["networks"] for d in new.detectors]
    assert load_bundle(tmp_path / "new").classifiers[0].network.config == started.config


def test_an_unfinished_run_is_not_exported(finished, tmp_path):
    recipe, setup, _, _ = finished
    run_recipe(recipe, setup, tmp_path / "run", (), ())
    with pytest.raises(LabelError, match="not trained to its end"):
        export_run(tmp_path / "run", tmp_path / "bundle", "none", "nothing")


@pytest.fixture
def command(finished, tmp_path_factory, capsys):
    """Give a training command for the finished run's data; return its status, run.json and its output."""
    recipe, setup, run, _ = finished

    file = write_recipe(recipe, tmp_path_factory.mktemp("recipe"))

    def give(name: str, out, *flags: str) -> tuple[int, dict, str]:
        given = [name, str(file), "--data", str(run.parent / "data"), "--out", str(out), *flags]
        status = train.main([*given, "--cache", str(setup.data.cache.folder), "--device", "cpu"])
        return status, json.loads((out / RUN_FILE).read_text()), capsys.readouterr().out

    return give


def test_the_detector_command_trains_networks_alone(finished, command, tmp_path):
    recipe = finished[0]
    name = recipe.networks[0].name
    status, about, said = command("detector", tmp_path / "run", "--network", name)
    assert status == 0 and set(about["figures"]) == {f"{name}/fold0"} and said.startswith(f"{name}/fold0 ")
    assert (tmp_path / "run/points" / f"{name}.npz").is_file()
    assert not (tmp_path / "run/classifiers").exists()


@pytest.mark.slow
def test_the_classifier_command_trains_one_behind_its_detector(finished, command, tmp_path):
    recipe, _, run, about = finished
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("cache", "classifiers"))
    first, second = (classifier.name for classifier in recipe.classifiers)
    status, again, said = command("classifier", tmp_path / "run", "--classifier", second)
    assert status == 0 and f"{second}/fold0" in said
    assert [path.name for path in (tmp_path / "run/classifiers").iterdir()] == [second]
    for name in (first, second):  # the same seed and data give the same figures
        assert again["figures"][f"{name}/fold0"]["figures"] == about["figures"][f"{name}/fold0"]["figures"]
    assert command("classifier", tmp_path / "run", "--classifier", first)[0] == 0
    one_by_one, together = (pd.read_csv(folder / "members.csv") for folder in (tmp_path / "run", run))
    assert one_by_one.equals(together)


def test_a_finished_run_given_again_prints_its_figures(finished, command):
    status, about, said = command("recipe", finished[2])
    assert status == 0 and about["figures"] == finished[3]["figures"]
    lines = said.splitlines()
    assert [line.split()[0] for line in lines[:-5]] == [*about["figures"], "prior"]
    assert lines[-5].startswith("4 studies in ") and lines[-5].endswith(" on cpu, fp32")
    assert lines[-4] == "3 networks and 2 classifiers of 'tiny', of 1 fold"
    assert lines[-3] == "faults: 0" and lines[-2] == f"run: {finished[2]}"
    assert lines[-1].startswith(f"next: python kernel/train.py export {finished[2]} --out ")


def test_the_closing_words_count_the_faults_of_further_studies_too(finished, tmp_path):
    for folder, faults in ((tmp_path, 1), (tmp_path / "extra_studies", 2)):
        folder.mkdir(exist_ok=True)
        (folder / "faults.csv").write_text("reason,where,message\n" + "no_slice,here,a label\n" * faults)
    expected = f"faults: 3, see {tmp_path / 'faults.csv'}, {tmp_path / 'extra_studies/faults.csv'}"
    assert expected in closing(finished[3], tmp_path, 1.0).splitlines()


def test_the_shipped_layout_has_its_manifest_on_top(finished, tmp_path, capsys):
    """``export --weights kernel/weights`` into a checkout is what infer.py finds there."""
    given = ["export", str(finished[2]), "--trained-on", "synthetic dots"]
    checkout = tmp_path / "checkout"
    shipped = ["--out", str(checkout), "--name", "shipped", "--weights", "kernel/weights"]
    assert train.main([*given, *shipped]) == 0
    assert capsys.readouterr().out.strip() == str(checkout / MANIFEST)
    files = {path.relative_to(checkout).as_posix() for path in checkout.rglob("*") if path.is_file()}
    manifest = read_manifest(checkout)
    assert manifest.name == "shipped" and manifest.trained_on == "synthetic dots"
    assert files == {MANIFEST, *manifest.files}
    assert {str(Path(file).parent) for file in manifest.files} == {"kernel/weights"}
    shipped = load_bundle(checkout)
    assert train.main([*given, "--out", str(tmp_path / "plain")]) == 0
    plain = load_bundle(tmp_path / "plain")
    assert plain.name == "run" and (tmp_path / "plain/weights").is_dir()
    for a, b in zip(shipped.classifiers, plain.classifiers, strict=True):
        assert all(map(torch.equal, a.network.state_dict().values(), b.network.state_dict().values()))


@pytest.mark.parametrize("weights", ["../weights", "/weights"])
def test_weights_stay_inside_the_bundle(finished, tmp_path, weights, capsys):
    out = tmp_path / "inner/bundle"
    given = ["export", str(finished[2]), "--out", str(out), "--trained-on", "dots", "--weights", weights]
    assert train.main(given) == 2
    assert f"got the folder {weights}, expected one inside" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
