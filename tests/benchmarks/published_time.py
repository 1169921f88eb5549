"""Estimate the published ensemble's minutes for the test studies on T4s: ``python -m tests.benchmarks.published_time``.

Nothing is computed: operators are counted on tensors without data, in float16 and with batch norms folded. An operator
takes the longer of its FLOPs and its bytes at the card's sustained rates. Assumptions:

* ``RATE_SHARE`` and ``BANDWIDTH_SHARE`` of the data sheet's rates are sustained.
* A study has ``SLICES`` slices, a third per description. Segmenters read ``SEGMENTED`` of them, or all.
* Every classifier reads ``IMAGES`` crop images per study: two detectors' 25 sites x 5 slices, none shared.
* float16 throughout: autocast's layer norms and softmax in float32 move more.
* LSTMs, heads and transfers are left out: below 1% of the FLOPs. Reading keeps up, and cards share studies evenly.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from lumbar.grids import CROP_INPUT, DETECTOR_GRID
from lumbar.networks.architecture import ClassifierConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.device_choice import BATCH_CUDA
from lumbar.networks.fusion.rewrite import fold, fold_segmenter
from tests.benchmarks.card.published import PUBLISHED, T4_BANDWIDTH, T4_RATE, TEST_STUDIES
from training.recipes.reading import read_recipe

RATE_SHARE = 0.4  # a T4 lowers its clock under a steady load; 26 TFLOP/s
BANDWIDTH_SHARE = 0.8  # of 320 GB/s
SLICES, SEGMENTED, IMAGES = 96, 20, 250  # per study
CARDS = 2
WAYS = ("every operator alone", "elementwise operators joined to their neighbours", "FLOPs alone")


@dataclass
class Work:
    """The work of images through a network, or of a study.

    Attributes:
        flops: Of convolutions and matrix products.
        matrix_bytes: That these read and write.
        other_bytes: That all other operators read and write.
        seconds: On a T4, for each of ``WAYS``.
    """

    flops: float = 0
    matrix_bytes: float = 0
    other_bytes: float = 0
    seconds: tuple[float, float, float] = (0, 0, 0)

    def plus(self, other: "Work", times: float = 1) -> "Work":
        """Return this work and ``times`` another one."""
        seconds = [mine + times * theirs for mine, theirs in zip(self.seconds, other.seconds, strict=True)]
        return Work(
            self.flops + times * other.flops,
            self.matrix_bytes + times * other.matrix_bytes,
            self.other_bytes + times * other.other_bytes,
            (seconds[0], seconds[1], seconds[2]),
        )


class Roofline(TorchDispatchMode):
    """Adds up the work of all operators inside a ``with`` block."""

    def __init__(self):
        super().__init__()
        self.work = Work()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = function(*args, **(kwargs or {}))
        read = [tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)]
        written = [tensor for tensor in tree_leaves(given) if isinstance(tensor, Tensor)]
        if not function.is_view and read:
            moved = float(sum(tensor.numel() * tensor.element_size() for tensor in (*read, *written)))
            self.work = self.work.plus(self.one(function, args, kwargs or {}, given, moved))
        return given

    def one(self, function, args, kwargs, given, moved: float) -> Work:
        """Return the work of one operator that moves so many bytes."""
        by_bytes = moved / (BANDWIDTH_SHARE * T4_BANDWIDTH)
        if function.overloadpacket not in flop_registry:
            return Work(other_bytes=moved, seconds=(by_bytes, 0, 0))
        flops = flop_registry[function.overloadpacket](*args, **kwargs, out_val=given)
        by_flops = flops / (RATE_SHARE * T4_RATE)
        longer = max(by_bytes, by_flops)
        return Work(flops, matrix_bytes=moved, seconds=(longer, longer, by_flops))


def per_image(function: Callable[[Tensor], object], channels: int, side: int, batch: int) -> Work:
    """Return the work of one image in a pass of a batch; the pass reads the weights once."""
    images = torch.empty(batch, channels, side, side, dtype=torch.float16, device="meta")
    with torch.no_grad(), Roofline() as counted:
        function(images)
    return Work().plus(counted.work, 1 / batch)


def detector_work(family: str, segmented: int) -> Work:
    """Return the work of a family's three networks on a study."""
    total = Work()
    for recipe in read_recipe(family).networks:
        with torch.device("meta"):
            network = DetectorNetwork(recipe.config).eval().half()
            image = torch.empty(1, 3, DETECTOR_GRID, DETECTOR_GRID, dtype=torch.float16)
            with torch.no_grad():
                fold_segmenter(network.segmenter, network.segmenter, image)
                fold(network.pointer.encoder, network.pointer.encoder, image)
        total = total.plus(per_image(network.pointer.encode, 3, DETECTOR_GRID, 4 * BATCH_CUDA), SLICES / 3)
        total = total.plus(per_image(network.segmenter, 3, DETECTOR_GRID, BATCH_CUDA), segmented / 3)
    return total


def classifier_work(backbone: str) -> Work:
    """Return the work of a classifier's backbone on a study."""
    with torch.device("meta"):
        network = ClassifierNetwork(ClassifierConfig(backbone, "level", "stretch", (0, 0, 0))).eval().half()
        with torch.no_grad():
            image = torch.empty(1, 1, CROP_INPUT, CROP_INPUT, dtype=torch.float16)
            fold(network.backbone, network.backbone, image)
    return Work().plus(per_image(network.features, 1, CROP_INPUT, 4 * BATCH_CUDA), IMAGES)


def main() -> None:
    print(
        f"T4 at {RATE_SHARE * T4_RATE / 1e12:.0f} TFLOP/s and {BANDWIDTH_SHARE * T4_BANDWIDTH / 1e9:.0f} GB/s"
    )
    stage2 = Work()
    for backbone, members in PUBLISHED.items():
        work = classifier_work(backbone)
        print(f"{members} x {backbone}, each: {words(work)}", flush=True)
        stage2 = stage2.plus(work, members)
    for segmented in (SEGMENTED, SLICES):
        total = stage2
        for family in ("family_a", "family_b"):
            work = detector_work(family, segmented)
            print(f"{family}, {segmented} of {SLICES} slices segmented: {words(work)}", flush=True)
            total = total.plus(work)
        print(f"published ensemble: {words(total)}")
        for way, seconds in zip(WAYS, total.seconds, strict=True):
            minutes = seconds * TEST_STUDIES / CARDS / 60
            print(f"  {way}: {seconds:.2f} s per study, {minutes:.0f} min for {TEST_STUDIES} on {CARDS} T4s")


def words(work: Work) -> str:
    """Return a study's work in words."""
    return (
        f"{work.flops / 1e12:.2f} TFLOP, {work.matrix_bytes / 1e9:.1f} GB of convolutions and matrix products,"
        f" {work.other_bytes / 1e9:.1f} GB of other operators"
    )


if __name__ == "__main__":
    main()
