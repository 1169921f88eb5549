"""Training overfits a small set, learns nothing from shuffled labels, and survives being killed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from lumbar.networks.architecture import SEQUENCES, ClassifierConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork, present_slices
from lumbar.networks.device_choice import choose_device
from lumbar.networks.heatmap import points_to_heatmap
from lumbar.sites import AXIAL_T2, SAGITTAL_T2
from tests.making.labelled_competition import SCHEDULE, tiny_detector
from training.data.classifier_dataset import ClassifierBatch
from training.data.detector_dataset import DetectorBatch
from training.errors import TrainingError
from training.evaluation.metric import best_constant, grade_log_loss
from training.fitting.classifier_step import METRIC, PLAIN, classifier_losses, study_logits
from training.fitting.detector_step import detector_losses
from training.fitting.loop import BEST, Task, best_epoch, fit, rate
from training.fitting.losses import segmenter_loss, slice_mask, slice_target, weight_means

SIDE = 64  # of the small grids that the fully convolutional detectors are tested on


def dotted_batch(classes: int, seed: int = 0) -> DetectorBatch:
    """Return two volumes of five slices, each class a dot of its own brightness at its point."""
    random = np.random.default_rng(seed)
    grids, planes, amplitudes = [], [], []
    for _ in range(2):
        points = np.stack(
            [random.integers(0, 5, classes), *random.integers(6, SIDE - 6, (2, classes))], axis=1
        )
        heat = points_to_heatmap(points, (5, SIDE, SIDE))
        shine = points_to_heatmap(points, (5, SIDE, SIDE), sigma=2, decay=0.3)
        brightness = np.linspace(0.4, 1, classes)[:, None, None, None]
        grids.append((brightness * shine).max(axis=0) + 0.05 * random.random((5, SIDE, SIDE)))
        amplitudes.append(heat.max(axis=(2, 3)))
        planes.append(heat.max(axis=1))
    grid = torch.tensor(np.array(grids), dtype=torch.float32)
    grid = torch.cat([grid, torch.zeros(2, 1, SIDE, SIDE)], dim=1)  # one padded slice
    amplitude = F.pad(torch.tensor(np.array(amplitudes)), (0, 1))
    labelled, positions = torch.ones(2, classes, dtype=torch.bool), torch.zeros(2, 6)
    return DetectorBatch(grid, torch.tensor(np.array(planes)), amplitude, labelled, positions)


@pytest.mark.parametrize(
    ("description", "pointer", "xy_target"),
    [
        (SAGITTAL_T2, "lstm", "own"),
        pytest.param(AXIAL_T2, "transformer", "union_of_levels", marks=pytest.mark.slow),
    ],
)
def test_a_detector_overfits(description, pointer, xy_target):
    torch.manual_seed(0)
    batch = dotted_batch(5 if description == SAGITTAL_T2 else 10)
    network = DetectorNetwork(tiny_detector(description, pointer)).train()
    for part in network.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    floors = lowest_losses(batch, xy_target)
    for step in range(150):
        losses = detector_losses(network, batch, xy_target, None)
        if step == 0:
            first = losses
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    for name, floor in floors.items():
        assert losses[name] - floor < 0.1 * (first[name] - floor), name


def lowest_losses(batch: DetectorBatch, xy_target: str) -> dict[str, torch.Tensor]:
    """Return the lowest possible losses: soft labels have an entropy that no network gets below."""
    amplitude = batch.amplitude.transpose(1, 2).flatten(0, 1)
    target = slice_target(batch.planes.repeat_interleave(6, dim=0), amplitude, xy_target)
    mask = slice_mask(batch.amplitude, batch.labelled, present_slices(batch.grid), xy_target)
    perfect = torch.logit(target, eps=1e-6)
    segmenter = segmenter_loss(perfect, target, mask.transpose(1, 2).flatten(0, 1), torch.ones(len(target)))
    peak = batch.amplitude[:, :, :5] * batch.planes.amax(dim=(2, 3))[:, :, None]
    return {"segmenter": segmenter, "pointer": F.binary_cross_entropy(peak, peak)}


def crops_and_labels(studies: int, seed: int, informative: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Return crops (n, 25, 5, 32, 32), their brightness the grade if informative, and labels (n, 25)."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, p=[0.6, 0.25, 0.15], size=(studies, 25))
    crops = 0.1 * random.random((studies, 25, 5, 32, 32))
    if informative:
        crops += 0.4 * labels[..., None, None, None]
    return torch.tensor(crops, dtype=torch.float32), torch.tensor(labels)


def train_classifier(sequence: str, kind: str, crops, labels, steps: int) -> tuple[ClassifierNetwork, float]:
    torch.manual_seed(0)
    network = ClassifierNetwork(ClassifierConfig("test_byobnet", sequence, "shift", (0.0, 0.0, 0.0))).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(steps):
        chosen = torch.arange(4 * step, 4 * step + 4) % len(crops)
        batch = ClassifierBatch(crops[chosen], labels[chosen], labels[chosen], 1.0)
        loss = classifier_losses(study_logits(network, batch.crops), batch, kind, weight_means(labels))[
            "loss"
        ]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network, loss.item()


@pytest.mark.parametrize(
    "sequence",
    [
        "level",
        pytest.param("all", marks=pytest.mark.slow),
        *(pytest.param(s, marks=pytest.mark.long) for s in SEQUENCES if s not in ("level", "all")),
    ],
)
def test_a_classifier_overfits(sequence):
    _, loss = train_classifier(
        sequence, METRIC if sequence == "level" else PLAIN, *crops_and_labels(4, 0), steps=60
    )
    assert loss < 0.1


def test_labels_without_pictures_give_the_prior():
    """Each study comes once: a repeated one would be learnt by heart, whatever its label."""
    steps = 30
    seen = 4 * steps
    crops, labels = crops_and_labels(seen + 16, 1, informative=False)
    network, _ = train_classifier("level", PLAIN, crops[:seen], labels[:seen], steps)
    network.eval()
    with torch.inference_mode():
        said = study_logits(network, crops[seen:]).softmax(-1).double().numpy()
    truth = labels[seen:].numpy()
    plain = -np.log(np.take_along_axis(said, truth[..., None], axis=2)).mean()
    share = np.bincount(labels[:seen].numpy().ravel()) / labels[:seen].numel()
    assert plain == pytest.approx(-np.log(share)[truth].mean(), abs=0.05)
    prior = np.broadcast_to(best_constant(labels[:seen].numpy()), said.shape)
    assert grade_log_loss(truth, said) > 0.9 * grade_log_loss(truth, prior)


def small_task(network, fail_at: int | None = None, evaluations: list | None = None) -> Task:
    """Return a task of three noisy batches an epoch that dies at step ``fail_at``."""
    steps = iter(range(1_000))

    def losses(batch):
        if next(steps) == fail_at:
            raise KeyboardInterrupt
        return {"loss": ((network(batch) - batch.sum(1, keepdim=True)) ** 2).mean()}

    def batches(epoch):
        random = torch.Generator().manual_seed(epoch)
        return [torch.randn(8, 4, generator=random) for _ in range(3)]

    def evaluate():
        probe = torch.ones(1, 4)
        return {"error": float((network(probe) - 4).abs())}

    return Task(network, batches, 3, losses, evaluate, "error", network.train, keep_epoch=2)


def small_network() -> torch.nn.Module:
    torch.manual_seed(7)
    layers = torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.3), torch.nn.Linear(16, 1)
    return torch.nn.Sequential(*layers)


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9, "clip_grad_norm": 0.5}])
def test_killed_and_resumed_is_unbroken(tmp_path, options):
    schedule, device = replace(SCHEDULE, epochs=5, lr=1e-2, **options), choose_device("cpu", "fp32")
    unbroken = small_network()
    result = fit(small_task(unbroken), schedule, tmp_path / "a", device, 1, "unbroken")
    for fail_at in (7, 3):  # in the third epoch; then, resumed, in the fourth
        with pytest.raises(KeyboardInterrupt):
            fit(small_task(small_network(), fail_at), schedule, tmp_path / "b", device, 1, "killed")
        torch.manual_seed(99)  # a new process has another state
        assert (tmp_path / "b" / "checkpoint.pt").is_file()
    resumed = small_network()
    again = fit(small_task(resumed), schedule, tmp_path / "b", device, 1, "resumed")
    for name, tensor in unbroken.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    clock = {"seconds", "train_seconds"}
    assert {k: v for k, v in result["last"].items() if k not in clock} == {
        k: v for k, v in again["last"].items() if k not in clock
    }
    kept = [(tmp_path / run / "epoch_2.safetensors").read_bytes() for run in "ab"]
    assert kept[0] == kept[1] and (tmp_path / "b" / BEST).is_file()


def test_the_average_of_the_weights_is_evaluated_kept_and_returned(tmp_path):
    """The steps themselves stay as they are: the last average follows from the weights after each of them."""
    device = choose_device("cpu", "fp32")
    schedule = replace(SCHEDULE, epochs=2, lr=1e-2, evaluate_every=2)
    weights: list[dict] = []

    def recorded(network, evaluated: list) -> Task:
        task = small_task(network)

        def losses(batch):
            weights.append({name: t.clone() for name, t in network.state_dict().items()})
            return task.losses(batch)

        def evaluate():
            evaluated.append({name: t.clone() for name, t in network.state_dict().items()})
            return task.evaluate()

        return replace(task, losses=losses, evaluate=evaluate)

    raw, averaged = [], []
    fit(recorded(small_network(), raw), schedule, tmp_path / "raw", device, 1, "raw")
    plain, weights = [*weights, raw[0]], []
    network = small_network()
    fit(
        recorded(network, averaged),
        replace(schedule, ema_decay=0.3),
        tmp_path / "averaged",
        device,
        1,
        "averaged",
    )
    expected = plain[0]["3.weight"]
    for step, after in enumerate(plain[1:], 1):
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * after["3.weight"]
    assert torch.allclose(averaged[0]["3.weight"], expected, atol=1e-6)
    assert torch.equal(network.state_dict()["3.weight"], averaged[0]["3.weight"])
    assert not torch.equal(averaged[0]["3.weight"], raw[0]["3.weight"])
    for before, now in zip(plain[:-1], weights, strict=True):
        assert all(torch.equal(before[name], now[name]) for name in before)
    kept = load_file(tmp_path / "averaged" / "epoch_2.safetensors")
    assert torch.equal(kept["3.weight"], averaged[0]["3.weight"])


def test_a_clipped_gradient_has_the_norm_of_the_option(tmp_path):
    network, norms = small_network(), []
    task, device = small_task(network), choose_device("cpu", "fp32")
    for limit in (None, 1e-3):
        fit(
            replace(task, batches=lambda epoch: [torch.full((8, 4), 9.0)] * 3),
            replace(SCHEDULE, epochs=1, clip_grad_norm=limit),
            tmp_path / str(limit),
            device,
            1,
            "clipped",
        )
        norms.append(torch.cat([p.grad.flatten() for p in network.parameters()]).norm().item())
    assert norms[0] > 1e-2 and norms[1] == pytest.approx(1e-3, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_the_training_by_name(tmp_path):
    network = small_network()
    task = replace(small_task(network), losses=lambda batch: {"loss": network(batch).sum() * float("nan")})
    with pytest.raises(TrainingError, match="sagittal 1: got loss nan"):
        fit(task, SCHEDULE, tmp_path, choose_device("cpu", "fp32"), 0, "sagittal")
    with pytest.raises(TrainingError, match="no labelled study"):
        fit(replace(task, steps=0), SCHEDULE, tmp_path, choose_device("cpu", "fp32"), 0, "sagittal")


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [rate(step, 100, 0.1) for step in range(101)]
    assert rates[0] < 0.2 and max(rates) == pytest.approx(1) and np.argmax(rates) == 10
    assert rates[100] == pytest.approx(0) and (np.diff(rates[10:]) < 0).all()


def test_the_best_epoch_is_the_lowest_figure_or_the_last():
    history = [
        {"epoch": 1, "error": 2.0},
        {"epoch": 2},
        {"epoch": 3, "error": 1.0},
        {"epoch": 4, "error": 1.0},
    ]
    assert best_epoch(history, "error") == 4
    assert best_epoch([{"epoch": n, "error": float("nan")} for n in (1, 2)], "error") == 2
