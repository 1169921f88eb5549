"""The least time that the necessary arithmetic takes: FLOPs over the measured rate of a large matrix product.

torch has two libraries for it on a CPU; the faster one counts.

Necessary are, with exact results: the pointer's encoder on every real slice and on the two kinds of padded
slice; the segmenter on the slices whose pointer probability reaches a class's best heatmap value (those that the kernel
looked at: best first, and in larger batches a few more), its decoder's first convolutions before the enlargement;
the backbone on every distinct image among the crops; the LSTMs. Reading is no part of it.
"""

import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from lumbar.device import Device, choose_device
from lumbar.grading import ready_bundle
from lumbar.onednn import ActivatedLinear, available
from lumbar.sites import DESCRIPTIONS

MATRIX = 4096  # rows and columns of the product whose rate is measured
# Of the operations that torch's counter does not know.
ONEDNN_FLOPS = (
    {
        torch.ops.mkldnn._linear_pointwise: lambda x, weight, *_, **__: 2 * x.numel() * weight[0],
        torch.ops.mkldnn._convolution_pointwise: lambda x, weight, *_, out_shape, **__: conv_flop_count(
            x, weight, out_shape
        ),
    }
    if available()
    else {}
)


def matrix_rate(device: Device) -> float:
    """Return FLOP/s of a large square matrix product in the device's precision, by either of torch's
    libraries, best of five each."""
    kind = device.autocast_type or torch.float32
    a = torch.randn(MATRIX, MATRIX, device=device.torch, dtype=kind)
    layer = nn.Linear(MATRIX, MATRIX, bias=False, device=device.torch, dtype=kind)
    best = float("inf")
    with torch.inference_mode():
        for product in (layer, ActivatedLinear(layer, None)) if available() else (layer,):
            for _ in range(6):
                start = time.perf_counter()
                product(a).sum().item()
                best = min(best, time.perf_counter() - start)
    return 2 * MATRIX**3 / best


def image_flops(bundle: Path) -> dict[str, float]:
    """Return FLOPs of one image through each network of the first members, and of what comes once a study."""
    members = ready_bundle(bundle, choose_device("cpu", "fp32"))
    networks = [members.detectors[0].networks[d] for d in DESCRIPTIONS if d in members.detectors[0].networks]
    detector, classifier = networks[0], members.classifiers[0].network
    slice_of_three, crop = torch.rand(1, 3, 256, 256), torch.rand(1, 1, 128, 128)
    width = classifier.pool.hidden.in_features
    return {
        "segmenter": flops(detector.segmenter, slice_of_three),
        "pointer": flops(detector.pointer.encode, slice_of_three),
        "backbone": flops(classifier.features, crop),
        "sequence 1": sum(lstm_flops(n.pointer) * n.config.max_length for n in networks),
        "sequence 2": flops(classifier.grade, torch.rand(1, 25, 5, width))
        + lstm_flops(classifier.rnn1) * 125
        + (lstm_flops(classifier.rnn2) * 25 if hasattr(classifier, "rnn2") else 0),
    }


def flops(function, *inputs) -> float:
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=ONEDNN_FLOPS) as counter:
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


def floor_seconds(counts: dict[str, int], image: dict[str, float], rate: float) -> dict[str, float]:
    """Return the least seconds of each stage, given how many images each network had to see."""
    stage1 = counts["pointer"] * image["pointer"] + counts["segmenter"] * image["segmenter"]
    stage2 = counts["backbone"] * image["backbone"]
    return {
        "stage 1": (stage1 + image["sequence 1"]) / rate,
        "stage 2": (stage2 + image["sequence 2"]) / rate,
    }
