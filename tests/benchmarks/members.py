"""The full-size networks that are timed: family A's detector and a convnext_tiny classifier.

With random weights, where no slice can be skipped for sure, and with networks that have learnt a little on
phantoms and are peaked. The pointers' encoders stay random, what reads the slices in order is trained on their
features (a minute; training the encoders as well took ten and left 40 of 40 axial slices in question). The
segmenters learn as a whole, some minutes each. What is made is kept outside the repository.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from lumbar.detector import DetectorNetwork, neighbours, present_slices
from lumbar.device import Device, choose_device, keep_freed_memory
from lumbar.phantom.dataset import write_phantoms
from lumbar.sites import AXIAL_T2
from tests.random_bundle import (
    FAMILY_A,
    LENGTHS,
    random_classifier,
    random_detector,
    write_random_bundle,
)
from training.detector_data import DetectorBatch, DetectorDataset, join_volumes
from training.detector_training import PEAKS, detector_losses, to_device
from training.losses import pointer_loss
from training.materials import Sources, read_materials

CACHE = Path(os.environ.get("LUMBAR_BENCHMARK_CACHE", Path.home() / ".cache" / "lumbar-benchmarks"))
PHANTOMS = 60  # studies that are learnt from
BATCH, RATE = 4, 3e-3
POINTER_STEPS, SEGMENTER_STEPS = 600, 400
SLICES = 2  # of each volume that the segmenter sees in a step
START_BIAS = -6.5  # of its head: the logit of the share of marked pixels


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
    """Return a bundle whose pointers learnt a few hundred steps on phantoms; trains them on first use."""
    folder = CACHE / f"learnt-{PHANTOMS}-{POINTER_STEPS}-{SEGMENTER_STEPS}"
    if not (folder / "weights_manifest.json").is_file():
        keep_freed_memory()  # as the kernel does; a third of a step goes into page faults otherwise
        folder.mkdir(parents=True, exist_ok=True)
        data = phantoms(PHANTOMS, seed=5, split="train")
        sources = Sources(data, CACHE / f"{data.name}-decoded", None, None, os.cpu_count() or 1, strict=False)
        materials, chosen = read_materials(sources, folder), choose_device(device)
        torch.manual_seed(0)
        detector = random_detector("learnt", "fixed", LENGTHS["family_a"], FAMILY_A)
        for description, network in detector.networks.items():
            dataset = DetectorDataset(
                materials.cache,
                list(materials.study_ids),
                materials.targets,
                description,
                network.config.max_length,
                augmentation=None,
                seed=0,
            )
            volumes = join_volumes([dataset[i] for i in range(len(dataset))])
            teach_pointer(network.to(chosen.torch), volumes, chosen)
            teach_segmenter(network, volumes, chosen)
            network.cpu()
        write_random_bundle(
            folder, [detector], [random_classifier("level", "convnext_tiny", "level", "stretch")]
        )
    return folder


def teach_pointer(network: DetectorNetwork, volumes: DetectorBatch, device: Device) -> None:
    """Train what reads the slices in order, and the head, on the features of all volumes; the encoder stays."""
    present = present_slices(volumes.grid)
    with device.autocast():
        encoded = [
            device.in_batches(network.pointer.encode, images, "pointer")
            for images in (neighbours(grid[None])[0] for grid in volumes.grid)
        ]
    features, here = torch.stack(encoded), present.to(device.torch)
    peak = (volumes.amplitude * volumes.planes.amax(dim=(2, 3))[:, :, None]).to(device.torch)
    mask = (volumes.labelled[:, :, None] & present[:, None]).to(device.torch)
    network.pointer.train()

    def loss(some: Tensor) -> Tensor:
        return pointer_loss(network.pointer.point(features[some], here[some]), peak[some], mask[some])

    learning = [*network.pointer.sequence.parameters(), *network.pointer.head.parameters()]
    teach(learning, len(features), POINTER_STEPS, loss)
    network.eval()


def teach_segmenter(network: DetectorNetwork, volumes: DetectorBatch, device: Device) -> None:
    """Train the segmenter on a few slices of each volume that hold a point."""
    torch.nn.init.constant_(network.segmenter.head.bias, START_BIAS)
    xy_target = "union_of_levels" if network.config.description == AXIAL_T2 else "own"
    network.segmenter.train()

    def loss(some: Tensor) -> Tensor:
        batch = to_device(DetectorBatch(*(tensor[some] for tensor in vars(volumes).values())), device)
        with device.autocast():
            return detector_losses(network, batch, xy_target, SLICES, PEAKS, pointer_share=0)["loss"]

    teach(network.segmenter.parameters(), len(volumes.grid), SEGMENTER_STEPS, loss)
    network.eval()


def teach(
    parameters: Iterable[nn.Parameter], volumes: int, steps: int, loss: Callable[[Tensor], Tensor]
) -> None:
    """Minimise the loss, of the volumes with these numbers, on a few at a time."""
    optimizer = torch.optim.AdamW(parameters, lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(torch.randperm(volumes)[:BATCH]).backward()
        optimizer.step()
        schedule.step()
