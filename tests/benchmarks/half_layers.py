"""The layers that lose accuracy in half precision: ``python -m tests.benchmarks.half_layers --data DIR``.

Half precision is emulated in float32: all weights and every layer's output are rounded, products are added up in
float32, as a card does. So one part of a network can be rounded alone, or kept exact alone. Networks are those of a
card: batch norms are folded.

Stage 1: sites with a middle point on another slice or more than a pixel away, of all detectors. Stage 2: the largest
difference of a probability, at the points of float32.
"""

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lumbar.bundle.loading import load_bundle
from lumbar.bundle.members import Bundle, Classifier, Detector
from lumbar.grading.detection import Detection, detect_study
from lumbar.grading.ensemble import classify, site_windows
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device_choice import choose_device
from lumbar.networks.fusion.rewrite import fuse
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import Study, read_study
from tests.benchmarks.flop_floor import COUNTED
from tests.benchmarks.scaling import REPOSITORY
from tests.benchmarks.speed_ratio import within_a_pixel

KINDS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Rounding:
    """A network, and a way to round the weights and the layers' outputs of some of its parts."""

    def __init__(self, network: nn.Module, kind: torch.dtype):
        self.network, self.kind = network, kind

    @contextlib.contextmanager
    def of(self, names: set[str]) -> Iterator[None]:
        """Round the parts of these names inside a ``with`` block."""
        parts = [self.network.get_submodule(name) for name in names]
        layers = {m for part in parts for m in part.modules() if not any(True for _ in m.children())}
        before = {id(p): p.detach().clone() for layer in layers for p in layer.parameters()}
        hooks = [layer.register_forward_hook(self.rounded) for layer in layers]
        parameters = [p for layer in layers for p in layer.parameters()]
        with torch.inference_mode():
            for parameter in parameters:
                parameter.copy_(parameter.to(self.kind))
        try:
            yield
        finally:
            with torch.inference_mode():
                for parameter in parameters:
                    parameter.copy_(before[id(parameter)])
            for hook in hooks:
                hook.remove()

    def rounded(self, _module: nn.Module, _inputs: tuple, output: Tensor | tuple) -> Tensor | tuple:
        if isinstance(output, tuple):  # an LSTM's states behind its output are not used
            return (output[0].to(self.kind).float(), *output[1:])
        return output.to(self.kind).float()


def detector_parts(network: nn.Module) -> list[str]:
    """Return the names of a detector's parts that have weights, in the order of the data."""
    parts = ["pointer.encoder", "pointer.sequence", "pointer.head", "segmenter.encoder"]
    blocks = len(list(network.get_submodule("segmenter.decoder").children()))
    return [*parts, *(f"segmenter.decoder.{number}" for number in range(blocks)), "segmenter.head"]


def classifier_parts(network: nn.Module) -> list[str]:
    """Return the same of a classifier."""
    backbone = network.get_submodule("backbone")
    stages = [
        f"backbone.{name}" for name, part in backbone.named_children() if any(True for _ in part.parameters())
    ]
    return [*stages, *(name for name, _ in network.named_children() if name != "backbone")]


def stage1(
    bundle: Bundle, studies: Sequence[Study], kind: torch.dtype, runner: BatchRunner
) -> dict[str, int]:
    """Return how many sites' points move, by the parts that are rounded."""
    networks = list({id(n): n for detector in bundle.detectors for n in detector.networks.values()}.values())
    exact = [middle_points(bundle.detectors, study, runner) for study in studies]
    print(f"stage 1: {sum(map(len, exact))} points of {len(studies)} studies; moved", flush=True)
    rows = {}
    for label, names in choices(detector_parts(networks[0])):
        with contextlib.ExitStack() as stack:
            for network in networks:
                own = {name for name in names if name in detector_parts(network)}
                stack.enter_context(Rounding(network, kind).of(own))
            found = [middle_points(bundle.detectors, study, runner) for study in studies]
        moved = [~within_a_pixel(np.abs(a - b)) for a, b in zip(found, exact, strict=True)]
        rows[label] = int(np.concatenate(moved).sum())
        print(f"  {label:40} {rows[label]}", flush=True)
    return rows


def middle_points(detectors: Sequence[Detector], study: Study, runner: BatchRunner) -> np.ndarray:
    """Return the middle points of all detectors, (n, 3)."""
    found = detect_study(detectors, study.volumes, runner)
    return np.concatenate([points.points[:, 2] for one in found.values() for points in one.points.values()])


def stage2(
    member: Classifier,
    found: Sequence[dict[str, Detection]],
    studies: Sequence[Study],
    kind: torch.dtype,
    runner: BatchRunner,
) -> dict[str, float]:
    """Return the largest difference of a probability, by the parts that are rounded."""
    windows = np.stack(
        [
            site_windows(one, study.volumes, member.network.config.crops)
            for of, study in zip(found, studies, strict=True)
            for one in of.values()
        ]
    )
    exact = classify(member, windows, runner)
    print(f"stage 2, {member.name}: largest difference of a probability", flush=True)
    rows = {}
    for label, names in choices(classifier_parts(member.network)):
        with Rounding(member.network, kind).of(names):
            rows[label] = float(np.abs(classify(member, windows, runner) - exact).max())
        print(f"  {label:40} {rows[label]:.1e}", flush=True)
    return rows


def choices(parts: list[str]) -> Iterator[tuple[str, set[str]]]:
    """Yield labels and the parts to round: all, all but one, and one alone."""
    yield "all", set(parts)
    for part in parts:
        yield f"all but {part}", set(parts) - {part}
    for part in parts:
        yield f"{part} alone", {part}


def card_networks(folder: Path) -> Bundle:
    """Load a bundle, its networks rewritten as for a card and in float32 on the CPU."""
    return load_bundle(folder, lambda network: fuse(network, COUNTED))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.half_layers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="studies in the competition's layout")
    parser.add_argument("--bundle", type=Path, default=REPOSITORY, help="default: the shipped one")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="default: both")
    parser.add_argument("--stages", nargs="+", type=int, choices=(1, 2), default=[1, 2], help="default: both")
    options = parser.parse_args()
    runner = BatchRunner(choose_device("cpu", "fp32"))
    bundle = card_networks(options.bundle)
    studies = [read_study(ref) for ref in find_dataset(options.data).studies]
    found = [detect_study(bundle.detectors, study.volumes, runner) for study in studies]
    for kind in options.kinds:
        print(kind)
        if 1 in options.stages:
            stage1(bundle, studies, KINDS[kind], runner)
        for member in bundle.classifiers if 2 in options.stages else ():
            stage2(member, found, studies, KINDS[kind], runner)


if __name__ == "__main__":
    main()
