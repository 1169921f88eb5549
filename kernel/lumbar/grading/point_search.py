"""A detector network on a volume -> its points, the exact short way.

The pointer reads every slice first. A class's heatmap on a slice can't exceed the pointer's probability
there (sigmoid <= 1), so slices are segmented best first, and those that can't win never are. Padded
slices are all alike: one pass through the pointer's encoder serves them. The sigmoid rises, so a slice's
largest logit is where its heatmap is largest, and no heatmap is ever made. Same result as decoding
``logits_to_heatmap`` of the whole volume (tested); of voxels whose logits differ and whose heatmap is rounded
to one value, the larger logit wins, not the first voxel.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lumbar.grids import CROP_OFFSETS
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.detector import DetectorNetwork, neighbours, present_slices
from lumbar.networks.device import finite
from lumbar.networks.heatmap import logits_to_heatmap, peaks_to_points, slice_peaks

POINTED_A_SLICE = 4  # by their memory: a segmenter's last feature maps are larger than a pointer's first


@dataclass(frozen=True)
class Points:
    """Where a detector saw the sites of one description, on its own (D, 256, 256) grid.

    points: (class, 5, 3) int64 slice, row, column for the slice offsets -2..2 (a slice may lie outside
    the volume). values: (class, 5) float32, the heatmap there. slices: real slices of the grid, after a
    squeeze. kind: ``"fixed"`` or ``"dynamic"``. segmented: how many of them the segmenter had to look at.
    """

    points: np.ndarray
    values: np.ndarray
    slices: int
    kind: str
    segmented: int


def find_points(
    network: DetectorNetwork, grid: Tensor, kinds: Iterable[str], runner: BatchRunner
) -> dict[str, Points]:
    """Return the points of each kind, ``"fixed"`` and ``"dynamic"``, from one pass.

    grid: (S, 256, 256) float32, 0..1, 1 <= S <= max_length, squeezed already, without padding.
    """
    kinds, device = set(kinds), runner.device
    length = network.config.max_length
    padded = F.pad(grid, (0, 0, 0, 0, 0, min(2, length - len(grid))))  # two padded slices stand for all
    volume = padded[None].to(device.torch)
    present = present_slices(volume)[0]
    images = neighbours(volume.to(device.autocast_type or volume.dtype))[0]  # cast once, not at every pass
    with device.autocast():  # around all passes, so that no weight is cast twice
        pointer_logits = point_slices(network, images, present, runner)
        value, place, done = search_slices(network, images, pointer_logits, present, kinds, runner)
    slices = len(grid)
    return {
        kind: Points(*peaks_to_points(value, place, slices, kind), slices, kind, int(done.sum()))
        for kind in kinds
    }


def search_slices(
    network: DetectorNetwork,
    images: Tensor,
    pointer_logits: Tensor,
    present: Tensor,
    kinds: set[str],
    runner: BatchRunner,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Segment slices until the points of each kind are decided.

    Returns what the heatmap reached, (class, S), at which row and column, (class, S, 2), and which slices were
    segmented, (S,) bool.
    """
    real = present.cpu().numpy()
    bound = np.where(real, pointer_logits[:, : len(real)].sigmoid().cpu().numpy(), 0)
    value = np.zeros(bound.shape, np.float32)
    place = np.zeros((*bound.shape, 2), np.int64)
    done = ~real  # on a zero slice the heatmap is 0 everywhere
    while len(chosen := slices_to_segment(bound, value, done, "dynamic" in kinds)):
        peaks = runner.run(lambda some: segment_peaks(network, some), images[chosen], "segmenter")
        logits, where = peaks.transpose(0, 1).split([1, 2], dim=-1)
        heatmap = logits_to_heatmap(logits[..., None], pointer_logits[:, chosen], present[chosen])
        value[:, chosen], place[:, chosen] = heatmap[..., 0, 0].cpu().numpy(), where.cpu().numpy()
        done[chosen] = True
    return value, place, done & real


def segment_peaks(network: DetectorNetwork, images: Tensor) -> Tensor:
    """Return each class's largest logit on each slice, its row and its column: (N, class, 3) float32."""
    value, place = slice_peaks(network.segmenter(images))
    return torch.cat([value.float()[..., None], place.float()], dim=-1)


def point_slices(network: DetectorNetwork, images: Tensor, present: Tensor, runner: BatchRunner) -> Tensor:
    """Return the pointer's logits (class, D) float32 for all D slices, the padded ones included.

    images: (S, 3, 256, 256), or with up to two padded slices behind the real ones: the first still has the
    last real slice as its neighbour, all later ones are the same zero image.
    """
    length = network.config.max_length
    features = runner.run(network.pointer.encode, images, "pointer", images_per_slice=POINTED_A_SLICE)
    features = torch.cat([features, features[-1:].expand(length - len(features), -1)])
    present = F.pad(present, (0, length - len(present)))
    with torch.inference_mode(), runner.device.autocast():
        return finite(network.pointer.point(features[None], present[None])[0].float(), "pointer")


def slices_to_segment(bound: np.ndarray, value: np.ndarray, done: np.ndarray, dynamic: bool) -> np.ndarray:
    """Return which slices to segment next, ascending; none when the points are decided.

    bound: (class, S), the most that a slice's heatmap can reach. value: (class, S), what it reached where
    done (S,). Each class asks for its most promising slice that could still win, an equal one only if it
    comes before the best so far, and, as large batches cost less, for all others that will hardly be spared. A
    dynamic detector needs the slices of the crops: it asks for those around the most promising slice as well, and
    where a class is decided for those around its best.
    """
    best = value.argmax(axis=1)
    record = value[np.arange(len(value)), best][:, None]
    earlier = np.arange(len(done)) < best[:, None]
    hopeful = ~done & ((bound > record) | ((bound == record) & earlier & (record > 0)))
    promise = np.where(hopeful, bound, -1)
    top = promise.max(axis=1, keepdims=True)
    asked = (hopeful & (bound >= top * still_expected(bound, value, best))).any(axis=0)
    if dynamic:
        middle = np.where(hopeful.any(axis=1), promise.argmax(axis=1), best)
        asked[np.clip(middle[:, None] + np.array(CROP_OFFSETS), 0, len(done) - 1)] = True
    return np.flatnonzero(asked & ~done)


def still_expected(bound: np.ndarray, value: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return for each class, (class, 1), which share of its bound a slice may be expected to reach: half way
    between what the best one reached and 1; before any was seen, 1."""
    rows = np.arange(len(value))
    share = value[rows, best] / np.maximum(bound[rows, best], np.finfo(np.float32).tiny)
    return np.where(share > 0, (1 + share) / 2, 1)[:, None]
