"""The authors' checkpoints go through ``build_dataset.py import`` and give the same as their notebooks.

The golden files (names of the published checkpoints, random weights, the results of the notebooks' arithmetic)
lie beside the project; without them these tests skip.
"""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import build_dataset
from dataset.published.networks import import_classifier_network
from dataset.published.shapes import read_checkpoint
from lumbar.bundle.loading import load_bundle
from lumbar.faults import BundleError
from lumbar.grading.crops import enlarge, extract_windows
from lumbar.grading.point_search import find_points
from lumbar.grids import CROP_OFFSETS, squeeze
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.detector import neighbours, present_slices
from lumbar.networks.device import Device
from lumbar.networks.heatmap import logits_to_heatmap
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, DESCRIPTIONS, SAGITTAL_T1

GOLDEN = Path(__file__).resolve().parents[2] / "../shared/golden"
MARGIN = 1e-4  # a point is compared where it beats the next best voxel by more
CPU = BatchRunner(Device(torch.device("cpu"), None, "test", batch=8))
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"the golden files are not at {GOLDEN}")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """All golden checkpoints, imported by the command: two families, three axes of one classifier."""
    out = tmp_path_factory.mktemp("imported")
    classifier = GOLDEN / "classifier/classifier.safetensors"
    axes = ("level", "level_skip", "level_slices")
    flags = [
        *("--detector", f"a:sagittal_t1={GOLDEN}/family_a/sagittal_t1.safetensors"),
        *("--detector", f"b:sagittal_t1={GOLDEN}/family_b/sagittal_t1.safetensors"),
        *("--detector", f"b:axial_t2={GOLDEN}/family_b/axial_t2.safetensors"),
        *(flag for axis in axes for flag in ("--classifier", f"{axis}:{classifier}", "--sequence", axis)),
        *("--border", "stretch", "--partial", "--out", str(out)),
    ]
    assert build_dataset.main(["import", *flags]) == 0
    return load_bundle(out)


@pytest.fixture(scope="module")
def volumes():
    return read_study(find_dataset(GOLDEN / "study").studies[0]).volumes


@needs_golden
def test_what_the_keys_can_not_tell_is_the_familys(bundle):
    a, b = bundle.detectors
    assert (a.xy, b.xy) == ("fixed", "dynamic")
    assert a.networks[SAGITTAL_T1].config.max_length == 32
    assert [b.networks[d].config.max_length for d in (SAGITTAL_T1, AXIAL_T2)] == [38, 192]
    assert b.networks[SAGITTAL_T1].config.encoder == "tf_efficientnet_b0"
    assert b.networks[AXIAL_T2].config.pointer == "transformer"
    assert [m.network.config.sequence for m in bundle.classifiers] == ["level", "level_skip", "level_slices"]
    assert {m.network.config.backbone for m in bundle.classifiers} == {"convnext_atto"}


@needs_golden
@pytest.mark.parametrize(
    ("file", "member", "description"),
    [
        ("family_a/sagittal_t1", 0, SAGITTAL_T1),
        pytest.param("family_b/sagittal_t1", 1, SAGITTAL_T1, marks=pytest.mark.slow),
        pytest.param("family_b/axial_t2", 1, AXIAL_T2, marks=pytest.mark.slow),
    ],
)
def test_stage_1_gives_what_the_notebooks_give(bundle, volumes, file, member, description):
    expected = np.load(GOLDEN / f"{file}.npz")
    network = bundle.detectors[member].networks[description]
    grid = squeeze(volumes[description].grid256, network.config.max_length)
    grey = np.rint(grid * 255) if grid.dtype != np.uint8 else grid
    difference = np.abs(grey.astype(int) - expected["input"][: len(grid)])
    assert (difference <= 1).mean() >= 0.999

    padded = torch.zeros(1, network.config.max_length, 256, 256)
    padded[0, : len(grid)] = torch.from_numpy(expected["input"][: len(grid)]).float() / 255
    index = expected["sample_index"]
    seen = np.unique(index[:, 1])
    with torch.inference_mode():
        images, present = neighbours(padded), present_slices(padded)
        pointer = network.pointer(images, present)[0]
        segmenter = network.segmenter(images[0, seen]).transpose(0, 1)
    assert np.abs(pointer.numpy() - expected["pointer_logits"]).max() < 1e-3
    heatmap = logits_to_heatmap(segmenter, pointer[:, seen], present[0, seen])
    where = (index[:, 0], np.searchsorted(seen, index[:, 1]), index[:, 2], index[:, 3])
    assert np.abs(segmenter.numpy()[where] - expected["sample_segmenter_logit"]).max() < 1e-3
    assert np.abs(heatmap.numpy()[where] - expected["sample_heatmap"]).max() < 1e-3

    found = find_points(network, padded[0, : len(grid)], {"fixed"}, CPU)["fixed"]
    for number, (point, golden) in enumerate(zip(found.points[:, 2], expected["points"], strict=True)):
        if not (point == golden).all():  # only where the best voxel leads by next to nothing
            z, y, x = golden
            with torch.inference_mode():
                there = network.segmenter(images[0, z : z + 1])[0, number, y, x].sigmoid()
            lead = found.values[number, 2] - float(there * pointer[number, z].sigmoid())
            assert abs(lead) < MARGIN


@needs_golden
def test_stage_2_gives_what_the_notebooks_give(bundle, volumes):
    expected = np.load(GOLDEN / "classifier/expected.npz")
    crops = np.empty((25, 5, 128, 128), np.float32)
    for description in DESCRIPTIONS:
        sites = DESCRIPTION_SITES[description]
        points = np.repeat(expected["points"][sites, None], 5, axis=1)
        points[..., 0] += np.array(CROP_OFFSETS)
        length = 64 if description == AXIAL_T2 else 32
        grid = squeeze(volumes[description].grid512, length)
        crops[sites] = enlarge(torch.from_numpy(extract_windows(grid, points, "stretch"))).numpy()
    difference = np.abs(crops - expected["crops_stretch"].astype(np.float32))
    assert np.quantile(difference, 0.999) <= 2 / 255
    for member in bundle.classifiers:
        with torch.inference_mode():
            said = member.network(torch.from_numpy(crops)[None])[0].softmax(dim=-1)
        assert np.abs(said.numpy() - expected[f"probabilities_{member.name}"]).max() < 1e-3


@needs_golden
@pytest.mark.parametrize("ending", ["bin", "pth"])
def test_a_pickled_state_dict_gives_the_same_network(bundle, tmp_path, ending):
    tensors = safetensors.torch.load_file(GOLDEN / "classifier/classifier.safetensors")
    torch.save(tensors, tmp_path / f"classifier.{ending}")
    network = import_classifier_network(tmp_path / f"classifier.{ending}", "level", "stretch")
    for key, tensor in bundle.classifiers[0].network.state_dict().items():
        assert torch.equal(network.state_dict()[key], tensor)


@needs_golden
def test_a_family_that_is_told_fills_what_keys_can_not_tell(tmp_path):
    file = GOLDEN / "family_a/sagittal_t1.safetensors"
    flags = ["--detector", f"sagittal_t1={file}", "--family", "b", "--partial", "--out", str(tmp_path)]
    assert build_dataset.main(["import", *flags]) == 0
    (detector,) = load_bundle(tmp_path).detectors
    assert (detector.xy, detector.networks[SAGITTAL_T1].config.max_length) == ("dynamic", 38)


@needs_golden
def test_float32_files_of_the_same_weights_give_the_same_bundle(tmp_path):
    """The golden files are float16 already; an import neither rounds nor widens them."""
    flags: dict[str, list[str]] = {"as they are": [], "float32": []}
    for key, name in (("sagittal_t1", "family_a/sagittal_t1"), ("axial_t2", "family_b/axial_t2")):
        file = GOLDEN / f"{name}.safetensors"
        wide = {
            key: tensor.float() if tensor.is_floating_point() else tensor
            for key, tensor in safetensors.torch.load_file(file).items()
        }
        torch.save(wide, tmp_path / f"{key}.bin")
        flags["as they are"] += ["--detector", f"{key}={file}"]
        flags["float32"] += ["--detector", f"{key}={tmp_path / key}.bin"]
    for name, given in flags.items():
        command = ["import", *given, "--partial", "--trained-on", "x", "--out", str(tmp_path / name)]
        assert build_dataset.main(command) == 0
    written = [
        {file.name: file.read_bytes() for file in (tmp_path / name / "weights").iterdir()} for name in flags
    ]
    assert written[0] == written[1] and len(written[0]) == 2


@needs_golden
def test_flags_that_would_drop_or_guess_something_are_refused(tmp_path, capsys):
    a, b = (f"{GOLDEN}/family_{family}/sagittal_t1.safetensors" for family in "ab")
    classifier = f"{GOLDEN}/classifier/classifier.safetensors"
    both = ["--detector", f"a:sagittal_t1={a}", "--detector", f"b:sagittal_t1={b}", "--partial"]
    for flags, message in (
        (["--detector", f"sagittal_t1={a}", "--detector", f"sagittal_t1={b}"], "two checkpoints"),
        ([*both, "--classifier", classifier], "no sequence axis in its path"),
        ([*both, "--classifier", classifier, "--sequence", "level"], "of neither family"),
        (["--detector", f"sagittal_t1={classifier}"], "got a classifier's checkpoint"),
        ([*both, "--classifier", a, "--sequence", "level"], "got a detector's checkpoint"),
        ([*both, "--sequence", "sideways"], "expected one of level"),
        ([*both, "--xy", "c=fixed"], "got detectors ['c']"),
    ):
        assert build_dataset.main(["import", *flags, "--out", str(tmp_path / "out")]) == 4
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_not_recognised_is_refused(tmp_path):
    file = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"layer.weight": torch.zeros(2, 2)}, file)
    for flags in (["--detector", f"sagittal_t1={file}"], ["--detector", f"sagittal_t9={file}"], []):
        assert build_dataset.main(["import", *flags, "--out", str(tmp_path / "out")]) == 4
    assert not (tmp_path / "out").exists()


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harmed",)

    torch.save({"key": Harm()}, tmp_path / "harm.bin")
    with pytest.raises(BundleError, match="safely"):
        read_checkpoint(tmp_path / "harm.bin")
    assert not (tmp_path / "harmed").exists()
