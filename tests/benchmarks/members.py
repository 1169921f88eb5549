"""The full-size networks that are timed: family A's detector and a convnext_tiny classifier.

There are two kinds:

* Random weights are the worst case: every slice is segmented.
* Learnt pointers have peaks. Their encoders stay random, and the sequence model is trained on the encoders' features
  of phantoms, which takes a minute. (Training the encoders too took ten, and still all 40 of 40 axial slices were
  segmented.) The segmenters stay random and get logits as large as learnt ones, so the pointers decide how many
  slices are segmented.

The bundles are kept outside the repository.
"""

import os
from pathlib import Path

import torch

from lumbar.grading.point_search import encode_slices
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.detector import DetectorNetwork, neighbours, present_slices
from lumbar.networks.device import Device
from lumbar.networks.device_choice import choose_device
from phantom.dataset import write_phantoms
from tests.making.random_bundle import (
    FAMILY_A,
    LENGTHS,
    random_classifier,
    random_detector,
    write_random_bundle,
)
from training.data.detector_dataset import DetectorBatch, DetectorDataset, join_volumes
from training.data.training_data import DataPaths, read_training_data
from training.fitting.losses import pointer_loss

CACHE = Path(os.environ.get("LUMBAR_BENCHMARK_CACHE", Path.home() / ".cache" / "lumbar-benchmarks"))
PHANTOMS = 18  # studies the pointers learn from
STEPS, BATCH, RATE = 600, 4, 3e-3  # of their training
SURE, UNSURE = 2.2, -4.6  # logits of 0.9 and 0.01: a learnt segmenter's largest and its mean


def phantoms(studies: int, seed: int, split: str) -> Path:
    """Return a folder of phantoms in the competition's layout, made on first use."""
    folder = CACHE / f"phantoms-{split}-{studies}-{seed}"
    if not folder.is_dir():
        write_phantoms(folder, studies, seed, workers=min(studies, os.cpu_count() or 1), split=split)
    return folder


def random_members(detectors: int = 1, classifiers: int = 1) -> Path:
    """Return a bundle of up to two detectors (the second with family B's lengths) and two classifiers."""
    folder = CACHE / f"random-{detectors}x{classifiers}"
    if not (folder / "weights_manifest.json").is_file():
        torch.manual_seed(0)
        lengths = list(LENGTHS.values())[:detectors]
        axes = ("level", "level_skip")[:classifiers]
        write_random_bundle(
            folder,
            [random_detector(f"detector {i}", "fixed", length, FAMILY_A) for i, length in enumerate(lengths)],
            [random_classifier(axis, "convnext_tiny", axis, "stretch") for axis in axes],
        )
    return folder


def learnt_members(device: str) -> Path:
    """Return a bundle with pointers that learnt a few hundred steps on phantoms; train them on first use."""
    folder = CACHE / f"learnt-{PHANTOMS}-{STEPS}"
    if not (folder / "weights_manifest.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        data = phantoms(PHANTOMS, seed=5, split="train")
        paths = DataPaths(data, CACHE / f"{data.name}-decoded", None, None, os.cpu_count() or 1, strict=False)
        training_data, chosen = read_training_data(paths, folder), choose_device(device)
        torch.manual_seed(0)
        detector = random_detector("learnt", "fixed", LENGTHS["family_a"], FAMILY_A)
        for description, network in detector.networks.items():
            dataset = DetectorDataset(
                training_data.cache,
                list(training_data.study_ids),
                training_data.targets,
                description,
                network.config.max_length,
                augmentation=None,
                seed=0,
            )
            volumes = join_volumes([dataset[i] for i in range(len(dataset))])
            teach_pointer(network.to(chosen.torch), volumes, chosen)
            make_sure(network, volumes, chosen)
            network.cpu()
        write_random_bundle(
            folder, [detector], [random_classifier("level", "convnext_tiny", "level", "stretch")]
        )
    return folder


def teach_pointer(network: DetectorNetwork, volumes: DetectorBatch, device: Device) -> None:
    """Train what reads the slices in order, and the head, on the features of all volumes; the encoder stays."""
    present = present_slices(volumes.grid)
    runner = BatchRunner(device)
    with device.autocast():
        encoded = [
            runner.run(encode_slices, network, images, "pointer")
            for images in (neighbours(grid[None])[0] for grid in volumes.grid)
        ]
    features, here = torch.stack(encoded), present.to(device.torch)
    peak = (volumes.amplitude * volumes.planes.amax(dim=(2, 3))[:, :, None]).to(device.torch)
    mask = (volumes.labelled[:, :, None] & present[:, None]).to(device.torch)
    parameters = [*network.pointer.sequence.parameters(), *network.pointer.head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    network.pointer.train()
    for _ in range(STEPS):
        some = torch.randperm(len(features))[:BATCH]
        loss = pointer_loss(network.pointer.point(features[some], here[some]), peak[some], mask[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()


def make_sure(network: DetectorNetwork, volumes: DetectorBatch, device: Device) -> None:
    """Scale and shift a random segmenter's last layer until its logits span a learnt one's range."""
    middle = volumes.grid.shape[1] // 8  # a real slice in every phantom
    images = neighbours(volumes.grid[:, middle - 1 : middle + 2])[:, 1]
    logits = BatchRunner(device).run(segment, network, images, "segmenter").flatten(2)
    mean, top = logits.mean(dim=(0, 2)), logits.amax(dim=2).mean(dim=0)
    scale = (SURE - UNSURE) / (top - mean)
    head = network.segmenter.head
    with torch.no_grad():
        head.weight.mul_(scale[:, None, None, None])
        head.bias.mul_(scale).add_(SURE - scale * top)


def segment(network: DetectorNetwork, images: torch.Tensor) -> torch.Tensor:
    """Return the segmenter's logits of slices."""
    return network.segmenter(images)
