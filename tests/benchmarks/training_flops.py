"""FLOPs and kept activations of forward and backward passes, counted on tensors without data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lumbar.grids import CROP_INPUT, CROP_OFFSETS, DETECTOR_GRID
from lumbar.networks.architecture import ClassifierConfig, DetectorConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork, LstmSequence
from lumbar.sites import SITES


@dataclass(frozen=True)
class Pass:
    """One sample through a network.

    Attributes:
        forward: FLOPs without the backward pass.
        both: FLOPs with the backward pass.
        kept: Bytes in float32 that autograd keeps between the two, without parameters.
    """

    forward: float
    both: float
    kept: float

    def times(self, count: float) -> "Pass":
        return Pass(self.forward * count, self.both * count, self.kept * count)


@dataclass(frozen=True)
class DetectorPasses:
    """A network of stage 1: one slice through the segmenter and the pointer's encoder, and a volume's sequence."""

    parameters: int
    segmenter: Pass
    pointer: Pass
    sequence: Pass


@dataclass(frozen=True)
class ClassifierPasses:
    """A network of stage 2: one image of a crop, and a study's features through LSTMs and heads."""

    parameters: int
    image: Pass
    study: Pass


@cache
def detector_passes(config: DetectorConfig) -> DetectorPasses:
    with torch.device("meta"):
        network = DetectorNetwork(config)
        images = torch.empty(1, 3, DETECTOR_GRID, DETECTOR_GRID)
        # An LSTM costs the same at every slice, so a few are enough; attention does not.
        lstm = isinstance(network.pointer.sequence, LstmSequence)
        length = min(8, config.max_length) if lstm else config.max_length
        width = network.pointer.encoder.feature_info.channels()[-1]
        features = torch.empty(1, length, width, requires_grad=True)
        present = torch.ones(1, length, dtype=torch.bool)
        sequence = count_pass(network.pointer, lambda: network.pointer.point(features, present))
        return DetectorPasses(
            parameter_count(network),
            count_pass(network.segmenter, lambda: network.segmenter(images)),
            count_pass(network.pointer, lambda: network.pointer.encode(images)),
            sequence.times(config.max_length / length),
        )


@cache
def classifier_passes(config: ClassifierConfig) -> ClassifierPasses:
    with torch.device("meta"):
        network = ClassifierNetwork(config)
        image = torch.empty(1, 1, CROP_INPUT, CROP_INPUT)
        width = network.pool.hidden.in_features
        features = torch.empty(1, len(SITES), len(CROP_OFFSETS), width, requires_grad=True)
        return ClassifierPasses(
            parameter_count(network),
            count_pass(network, lambda: network.features(image)),
            count_pass(network, lambda: network.grade(features)),
        )


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_pass(network: nn.Module, function: Callable[[], Tensor]) -> Pass:
    """Run a network's function forward and backward and count."""
    own = {tensor.untyped_storage()._cdata for tensor in network.state_dict(keep_vars=True).values()}
    kept: dict[int, Tensor] = {}  # by storage: what two operations keep is kept once

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with FlopCounterMode(display=False, custom_mapping=BACKWARD) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            result = function()
        forward = counter.get_total_flops()
        result.sum().backward()
    size = sum(t.untyped_storage().nbytes() for storage, t in kept.items() if storage not in own)
    return Pass(forward, counter.get_total_flops(), size)


def convolution_backward_flops(
    gradient, images, weight, bias, stride, padding, dilation, transposed, *rest, **_
):
    """Return the FLOPs of a convolution's gradients by shapes: each of the two that is wanted costs a forward pass.

    torch's own count (2.14) takes the weight's gradient of a grouped convolution for that of a full one.
    """
    wanted = rest[2]  # output_padding, groups, output_mask: of images, weight, bias
    one = 2 * prod(images if transposed else gradient) * prod(weight[1:])
    return one * (wanted[0] + wanted[1])


BACKWARD = {torch.ops.aten.convolution_backward: convolution_backward_flops}
