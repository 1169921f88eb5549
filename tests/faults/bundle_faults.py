"""Faults of a bundle: the kernel names the fault before it reads any study, and ends with status 4."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy

from tests.faults.checks import check_log, rows_of
from tests.faults.study_runs import Stage

MANIFEST = "weights_manifest.json"
EXIT_BUNDLE = 4


class Evil:
    """What shows that it was unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit(66)",)


def edited(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def harm(bundle: Path) -> None:
        manifest = json.loads((bundle / MANIFEST).read_text())
        change(manifest)
        (bundle / MANIFEST).write_text(json.dumps(manifest))

    return harm


def classifier_is(**values) -> Callable[[Path], None]:
    return edited(lambda m: m["classifiers"][0].update(values))


def configured(**values) -> Callable[[Path], None]:
    return edited(lambda m: m["classifiers"][0]["config"].update(values))


def weights_file(bundle: Path) -> Path:
    return bundle / json.loads((bundle / MANIFEST).read_text())["classifiers"][0]["file"]


def reweighted(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return a harm that replaces a member's file and makes the manifest agree with it."""

    def harm(bundle: Path) -> None:
        path = weights_file(bundle)
        raw = change(path.read_bytes())
        path.write_bytes(raw)
        classifier_is(bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest())(bundle)

    return harm


def with_nan(raw: bytes) -> bytes:
    tensors = safetensors.numpy.load(raw)
    name = max(tensors, key=lambda key: tensors[key].size)
    tensors[name] = np.full_like(tensors[name], np.nan)
    return safetensors.numpy.save(tensors)


def without_a_tensor(raw: bytes) -> bytes:
    tensors = safetensors.numpy.load(raw)
    tensors.pop(sorted(tensors)[0])
    return safetensors.numpy.save(tensors)


def linked(bundle: Path) -> None:
    path = weights_file(bundle)
    outside = path.rename(bundle.with_name("outside.safetensors"))
    path.symlink_to(outside)


BUNDLE_FAULTS: dict[str, Callable[[Path], None]] = {
    "no manifest": lambda bundle: (bundle / MANIFEST).unlink(),
    "manifest is no JSON": lambda bundle: (bundle / MANIFEST).write_text("{"),
    "manifest nested too deeply": lambda bundle: (bundle / MANIFEST).write_text("[" * 10**5),
    "manifest is a list": lambda bundle: (bundle / MANIFEST).write_text("[]"),
    "manifest of another format": edited(lambda m: m.update(format=99)),
    "unknown field": edited(lambda m: m.update(extra=1)),
    "no detectors": edited(lambda m: m.update(detectors=[])),
    "detectors are a number": edited(lambda m: m.update(detectors=7)),
    "a classifier is a word": edited(lambda m: m.update(classifiers=["a"])),
    "a classifier without configuration": edited(lambda m: m["classifiers"][0].pop("config")),
    "networks are a list": edited(lambda m: m["detectors"][0].update(networks=[])),
    "prior of NaN": edited(lambda m: m.update(prior=[[float("nan")] * 3] * 25)),
    "prior of words": edited(lambda m: m.update(prior="high")),
    "member named as a formula": classifier_is(name="=cmd|' /C calc'!A0"),
    "weight of infinity": classifier_is(weight=float("inf")),
    "path upwards": classifier_is(file="../outside.safetensors"),
    "absolute path": classifier_is(file="/etc/hostname"),
    "path is a number": classifier_is(file=5),
    "path with a zero byte": classifier_is(file="a\0b"),
    "path to a folder": classifier_is(file="weights"),
    "path through a link": linked,
    "missing weights": lambda bundle: weights_file(bundle).unlink(),
    "truncated weights": lambda bundle: weights_file(bundle).write_bytes(
        weights_file(bundle).read_bytes()[:-9]
    ),
    "one bit flipped": lambda bundle: weights_file(bundle).write_bytes(
        weights_file(bundle).read_bytes()[:-1] + b"\xaa"
    ),
    "pickled weights": reweighted(lambda raw: pickle.dumps(Evil())),
    "weights of NaN": reweighted(with_nan),
    "a tensor missing": reweighted(without_a_tensor),
    "header of 8 exabytes": reweighted(lambda raw: b"\xff" * 7 + b"\x7f" + raw[8:]),
    "backbone from a hub": configured(backbone="hf-hub:timm/test_resnet.r160_in1k"),
    "backbone from a folder": configured(backbone="local-dir:/tmp"),
    "unknown backbone": configured(backbone="resnet_of_nobody"),
    "backbone that does not fit": configured(backbone="test_vit"),
    "unknown sequence": configured(sequence="backwards"),
    "unknown border": configured(border="wall"),
    "dropout is a word": configured(dropout="much"),
}


def run_bundle_fault(stage: Stage, name: str) -> None:
    """Harm a copy of the small bundle and check that the kernel refuses it by name, at once."""
    folder = stage.folder / "harmed bundle"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stage.small, folder)
    BUNDLE_FAULTS[name](folder)
    competition = stage.competition("healthy")
    out = stage.folder / "harmed-bundle-out"
    shutil.rmtree(out, ignore_errors=True)
    outcome = stage.starter.run(["--data", competition.write_tables(), "--bundle", folder], out)
    check_log(outcome.log)
    assert outcome.status == EXIT_BUNDLE, f"status {outcome.status}\n{outcome.log[-2000:]}"
    assert "Traceback" not in outcome.log, outcome.log[-2000:]
    assert "infer.py: " in outcome.log, outcome.log
    assert "grading" not in outcome.log, "it began to grade"
    if outcome.submission.exists():  # the prior, written while the weights were being checked
        rows_of(outcome.submission, competition.row_ids())
