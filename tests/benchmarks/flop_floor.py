"""The least time that the necessary arithmetic takes: FLOPs over the measured rate of a large matrix product.

torch has two libraries for it on a CPU; the faster one counts.

Exact results need these passes. Reading is not among them.

* The pointer's encoder on every real slice and on the two kinds of padded slice.
* The segmenter on each slice with a pointer probability that reaches a class's best heatmap value. These are the
  slices that the kernel segmented: best first, and a few more in larger batches. Its decoder's first convolutions
  come before the enlargement.
* The backbone on every distinct image among the crops.
* The LSTMs.
"""

import time
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lumbar.bundle.loading import load_bundle
from lumbar.networks.device import Device
from lumbar.networks.fusion.onednn import ActivatedLinear, available
from lumbar.networks.fusion.rewrite import fuse

MATRIX = 4096  # rows and columns of the measured product
# Networks are counted as they are rewritten for a card: torch's counter does not know oneDNN's own operations.
COUNTED = Device(torch.device("cuda"), None, "nothing runs there", 1)


def matrix_rate(device: Device) -> float:
    """Return FLOP/s of a large square matrix product in the device's precision, on a CPU by either of torch's
    libraries, best of five each."""
    kind = device.autocast_type or torch.float32
    a = torch.randn(MATRIX, MATRIX, device=device.torch, dtype=kind)
    layer = nn.Linear(MATRIX, MATRIX, bias=False, device=device.torch, dtype=kind)
    products = [layer]
    if device.torch.type == "cpu" and available():
        products.append(ActivatedLinear(layer, None))
    best = float("inf")
    with torch.inference_mode():
        for product in products:
            for _ in range(6):
                start = time.perf_counter()
                product(a).sum().item()
                best = min(best, time.perf_counter() - start)
    return 2 * MATRIX**3 / best


def image_flops(bundle: Path) -> dict[str, dict[str, float] | float]:
    """Return FLOPs of one image through each network of the first members, the detector's by description, and of
    what comes once a study."""
    members = load_bundle(bundle, partial(fuse, device=COUNTED))
    detectors, classifier = members.detectors[0].networks, members.classifiers[0].network
    slice_of_three, crop = torch.rand(1, 3, 256, 256), torch.rand(1, 1, 128, 128)
    width = classifier.pool.hidden.in_features
    return {
        "segmenter": {d: flops(n.segmenter, slice_of_three) for d, n in detectors.items()},
        "pointer": {d: flops(n.pointer.encode, slice_of_three) for d, n in detectors.items()},
        "backbone": flops(classifier.features, crop),
        "sequence 1": sum(lstm_flops(n.pointer) * n.config.max_length for n in detectors.values()),
        "sequence 2": flops(classifier.grade, torch.rand(1, 25, 5, width))
        + lstm_flops(classifier.rnn1) * 125
        + (lstm_flops(classifier.rnn2) * 25 if hasattr(classifier, "rnn2") else 0),
    }


def flops(function, *inputs) -> float:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        function(*inputs)
    return counter.get_total_flops()


def lstm_flops(network: nn.Module) -> float:
    """Return FLOPs a step of the LSTMs in a network, which torch's counter does not see."""
    return sum(
        2 * weight.numel()
        for module in network.modules()
        if isinstance(module, nn.LSTM)
        for name, weight in module.named_parameters()
        if name.startswith("weight")
    )


def floor_seconds(counts: dict, image: dict, rate: float) -> dict[str, float]:
    """Return the least seconds of each stage, given how many images each network had to see."""
    stage1 = sum(
        number * image[network][description]
        for network in ("pointer", "segmenter")
        for description, number in counts[network].items()
    )
    stage2 = counts["backbone"] * image["backbone"]
    return {
        "stage 1": (stage1 + image["sequence 1"]) / rate,
        "stage 2": (stage2 + image["sequence 2"]) / rate,
    }
