"""Detector networks on volumes -> their points, the exact short way.

The pointer reads every slice first. A class's heatmap on a slice can't exceed the pointer's probability
there (sigmoid <= 1), so slices are segmented best first, and those that can't win never are. Padded
slices are all alike: one pass through the pointer's encoder serves them. The sigmoid rises, so a slice's
largest logit is where its heatmap is largest, and no heatmap is ever made.

The points are those of ``logits_to_heatmap`` on the whole volume, times the request's weight of each slice (tested),
with one exception. Of voxels with different logits that round to one heatmap value, the larger logit wins, not the
first voxel. Where levels are chosen together, ``joint_search`` finds the slices that can't win, and the points are
those of the peaks of the whole volume.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, inference_mode
from torch.nn import functional as F

from lumbar.grading.joint_search import JointSearch
from lumbar.grading.slice_choice import SliceSearch
from lumbar.grids import WHITE
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.detector import DetectorNetwork, neighbours, present_slices
from lumbar.networks.device import NotFiniteError, nan_unless_finite
from lumbar.networks.heatmap import local_peaks, logits_to_heatmap, slice_peaks
from lumbar.networks.transfer import download, upload

POINTED_A_SLICE = 4  # by their memory: a segmenter's last feature maps are larger than a pointer's first
PEAKS = 4  # of each class and slice, among which levels are chosen together


@dataclass(frozen=True)
class Points:
    """Where a detector found the sites of one description, on its own (D, 256, 256) grid.

    Attributes:
        points: (class, 5, 3) int64 slice, row, column for the slice offsets -2..2; a slice may lie outside the
            volume.
        values: (class, 5) float32, the heatmap there.
        slices: Real slices of the grid, after a squeeze.
        kind: ``"fixed"`` or ``"dynamic"``.
        segmented: How many of the slices the segmenter read.
        largest: (class, 3), where each heatmap is largest on the slices that were segmented, if levels were chosen
            together; None where that is the point itself.
    """

    points: np.ndarray
    values: np.ndarray
    slices: int
    kind: str
    segmented: int
    largest: np.ndarray | None = None


@dataclass(frozen=True)
class SearchRequest:
    """A volume in which a network searches for points.

    Attributes:
        network: Of the volume's description.
        grid: (S, 256, 256) on the runner's device, uint8 or float32 0..1, 1 <= S <= max_length, squeezed already,
            without padding.
        kinds: Of points, ``"fixed"`` and ``"dynamic"``.
        weight: (class, S) float32, 0..1, a factor of the heatmap on each slice; None for none.
        positions: (S,) float32 mm, of ``stage1_positions``; None where unknown or not read by the network.
        frame: (S, 3, 3), of ``place_frame``, to choose all levels of a sagittal volume together; None to choose each
            by itself.
    """

    network: DetectorNetwork
    grid: Tensor
    kinds: frozenset[str]
    weight: np.ndarray | None = None
    positions: np.ndarray | None = None
    frame: np.ndarray | None = None


def find_points(
    network: DetectorNetwork,
    grid: Tensor,
    kinds: Iterable[str],
    runner: BatchRunner,
    positions: np.ndarray | None = None,
) -> dict[str, Points]:
    """Return the points of one volume by kind; the arguments are those of ``SearchRequest``.

    Raises:
        NotFiniteError: The pointer or the segmenter gave NaN or Inf.
    """
    there = grid.to(runner.device.torch)
    request = SearchRequest(network, there, frozenset(kinds), positions=positions)
    (found,) = search_points([request], runner)
    if isinstance(found, NotFiniteError):
        raise found
    return found


@inference_mode()
def search_points(
    requests: Sequence[SearchRequest], runner: BatchRunner
) -> list[dict[str, Points] | NotFiniteError]:
    """Find the points of several volumes side by side, each as if it were alone.

    Volumes of one network share its passes. The device is read once for all pointers, and once per round of the search
    for all segmenters.

    Returns:
        The points of each request by kind, or the error of a network that gave NaN or Inf for this volume.
    """
    by_network: dict[tuple[int, bool], list[int]] = {}
    for number, request in enumerate(requests):
        by_network.setdefault((id(request.network), request.frame is None), []).append(number)
    with runner.device.autocast():  # around all passes, so that no weight is cast twice
        stacks = [VolumeStack([requests[n] for n in numbers], runner) for numbers in by_network.values()]
        for stack, read in zip(stacks, download([stack.bound for stack in stacks]), strict=True):
            stack.begin(read)
        while rounds := [(stack, chosen) for stack in stacks if (chosen := stack.wanted())]:
            peaks = [stack.segment(chosen) for stack, chosen in rounds]
            for (stack, chosen), read in zip(rounds, download(peaks), strict=True):
                stack.take(chosen, read)
    found: list[dict[str, Points] | NotFiniteError] = [{}] * len(requests)
    for stack, numbers in zip(stacks, by_network.values(), strict=True):
        for number, points in zip(numbers, stack.points(), strict=True):
            found[number] = points
    return found


class VolumeStack:
    """The volumes that one network reads, one behind the other, and the search in each: all joint ones, or none.

    Between two volumes there is a zero slice: the neighbour of a volume's first and last slices. Behind each volume
    up to two padded slices stand for all. The first still has the last real slice as its neighbour, all later ones are
    the same zero image.
    """

    def __init__(self, requests: list[SearchRequest], runner: BatchRunner):
        """Stack the volumes and launch the pointer on all slices; nothing is read."""
        self.requests, self.runner = requests, runner
        self.network = requests[0].network
        self.searches: list[SliceSearch | JointSearch] = []
        self.failed: dict[int, NotFiniteError] = {}
        length, device = self.network.config.max_length, runner.device
        padding = [min(2, length - len(request.grid)) for request in requests]
        between = [1] * (len(requests) - 1) + [0]
        padded = [
            F.pad(unit_range(request.grid), (0, 0, 0, 0, 0, pad + gap))
            for request, pad, gap in zip(requests, padding, between, strict=True)
        ]
        volume = padded[0] if len(padded) == 1 else torch.cat(padded)
        self.starts = np.cumsum([0, *(len(one) for one in padded[:-1])])
        self.images = neighbours(volume[None].to(device.autocast_type or volume.dtype))[0]  # cast once
        features = runner.run(encode_slices, self.network, self.images, "pointer", POINTED_A_SLICE)
        ends = [len(request.grid) + pad - 1 for request, pad in zip(requests, padding, strict=True)]
        slices = np.minimum(np.arange(length), np.array(ends)[:, None]) + self.starts[:, None]
        rows, *positions = upload([slices, *self.positions()], device.torch)  # (volume, D)
        features, present = features[rows], present_slices(volume[None])[0][rows]
        with device.autocast():
            logits = self.network.pointer.point(features, present, *positions).float()
        self.logits = nan_unless_finite(nan_unless_finite(logits, logits), features)  # (volume, class, D)
        self.present = present
        # One tensor to read: a row per class, and one that marks real slices.
        self.bound = torch.cat([self.logits.sigmoid(), present[:, None].float()], dim=1)

    def positions(self) -> list[np.ndarray]:
        """Return the slices' positions (volume, D) float32 mm, 0 where unknown; nothing if the network reads none."""
        config = self.network.config
        if not config.slice_positions:
            return []
        positions = np.zeros((len(self.requests), config.max_length), np.float32)
        for row, request in zip(positions, self.requests, strict=True):
            if request.positions is not None:
                row[: len(request.positions)] = request.positions
        return [positions]

    def begin(self, bound: np.ndarray) -> None:
        """Begin the searches from the bounds as they were read, (volume, class + 1, D)."""
        for number, (request, rows) in enumerate(zip(self.requests, bound, strict=True)):
            rows = rows[:, : len(request.grid)]
            self.check(number, rows, "pointer")
            begun = rows[:-1], rows[-1] > 0, "dynamic" in request.kinds
            if request.frame is None:
                self.searches.append(SliceSearch(*begun, request.weight))
            else:
                self.searches.append(JointSearch(*begun, request.frame, PEAKS))

    def check(self, number: int, read: np.ndarray, cause: str) -> None:
        """Note that a volume's numbers are not finite: its search ends."""
        if not np.isfinite(read).all():
            self.failed[number] = NotFiniteError(f"{cause}: NaN or Inf in the network's output")

    def wanted(self) -> list[tuple[int, np.ndarray]]:
        """Return which slices to segment next, by volume; empty when all points are decided."""
        asked = [(n, one.wanted()) for n, one in enumerate(self.searches) if n not in self.failed]
        return [(number, slices) for number, slices in asked if len(slices)]

    def segment(self, chosen: list[tuple[int, np.ndarray]]) -> Tensor:
        """Launch the segmenter on slices of several volumes.

        Returns:
            (slice, class, peak, 3) on the device: the heatmap at its peaks on each slice, their rows and columns.
        """
        volumes = np.concatenate([np.full(len(slices), number) for number, slices in chosen])
        slices = np.concatenate([slices for _, slices in chosen])
        where, volume, depth = upload(
            [self.starts[volumes] + slices, volumes, slices], self.runner.device.torch
        )
        function = segment_peaks if self.requests[0].frame is None else segment_several_peaks
        peaks = self.runner.run(function, self.network, self.images[where], "segmenter")
        logits, places = peaks.split([1, 2], dim=-1)
        heatmap = logits_to_heatmap(
            logits[:, :, None], self.logits[volume, :, depth, None], self.present[volume, depth, None]
        )
        return torch.cat([nan_unless_finite(heatmap[:, :, 0], logits), places], dim=-1)

    def take(self, chosen: list[tuple[int, np.ndarray]], peaks: np.ndarray) -> None:
        """Hand the peaks on the chosen slices to their searches."""
        ends = np.cumsum([len(slices) for _, slices in chosen])
        for (number, slices), rows in zip(chosen, np.split(peaks, ends[:-1]), strict=True):
            self.check(number, rows, "segmenter")
            rows = rows.swapaxes(0, 1)
            self.searches[number].take(slices, rows[..., 0], rows[..., 1:])

    def points(self) -> list[dict[str, Points] | NotFiniteError]:
        """Return the points of each volume, or why there are none."""
        return [
            self.failed.get(number) or points_of(request, search)
            for number, (request, search) in enumerate(zip(self.requests, self.searches, strict=True))
        ]


def points_of(request: SearchRequest, search: SliceSearch | JointSearch) -> dict[str, Points]:
    """Return the points of a search that has ended, by kind."""
    slices, largest = len(request.grid), search.largest()
    return {
        kind: Points(*search.points(kind), slices, kind, search.segmented, largest) for kind in request.kinds
    }


def unit_range(grid: Tensor) -> Tensor:
    """Return pixels as float32 0..1 where they are uint8, else as they are."""
    if grid.dtype != torch.uint8:
        return grid
    # A tensor on the device: by a number, a card multiplies with the rounded reciprocal.
    return grid.float() / torch.full((), WHITE, dtype=torch.float32, device=grid.device)


def encode_slices(network: DetectorNetwork, images: Tensor) -> Tensor:
    """Return the pointer's features of slices: (N, 3, 256, 256) -> (N, feature)."""
    return network.pointer.encode(images)


def segment_peaks(network: DetectorNetwork, images: Tensor) -> Tensor:
    """Return each class's largest logit on each slice, its row and its column: (N, class, 1, 3) float32."""
    value, place = slice_peaks(network.segmenter(images))
    return torch.cat([value.float()[..., None], place.float()], dim=-1)[:, :, None]


def segment_several_peaks(network: DetectorNetwork, images: Tensor) -> Tensor:
    """Return each class's ``PEAKS`` largest peaks on each slice, logit, row and column: (N, class, peak, 3) float32."""
    value, place = local_peaks(network.segmenter(images), PEAKS)
    return torch.cat([value.float()[..., None], place.float()], dim=-1)
