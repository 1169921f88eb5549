"""A trained network's points: found as in serving, kept by study id, judged against labels, drawn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lumbar.atomic_files import atomic_path
from lumbar.grading.detection import stage1_grid, stage1_positions
from lumbar.grading.point_search import Points, find_points
from lumbar.grids import CROP_GRID, CROP_OFFSETS, DETECTOR_GRID, MIDDLE, WINDOW
from lumbar.networks.architecture import POINT_KINDS
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.device import Device
from lumbar.sites import class_count
from training.data.cache import Cache
from training.data.targets import Target, squeezed_target
from training.plots import draw_points

SAMPLE_SLICES = 8  # pictures of labels and predictions
FAR = WINDOW / 4 * DETECTOR_GRID / CROP_GRID  # pixels of the detector grid: a quarter of the crop's side


@dataclass(frozen=True)
class FoundPoints:
    """A network's points on studies: by study id, by kind ("fixed", "dynamic")."""

    description: str
    studies: dict[str, dict[str, Points]]

    def write(self, file: Path) -> None:
        """Write as .npz: study ids, and for each kind points (n, C, 5, 3), values (n, C, 5) and slices (n,)."""
        classes = class_count(self.description)
        arrays: dict[str, np.ndarray] = {"study_ids": np.array(list(self.studies), dtype=str)}
        for kind in POINT_KINDS:
            found = [points[kind] for points in self.studies.values()]
            shape = (len(found), classes, len(CROP_OFFSETS))
            arrays[f"{kind}_points"] = np.array([p.points for p in found], np.int64).reshape(*shape, 3)
            arrays[f"{kind}_values"] = np.array([p.values for p in found], np.float32).reshape(shape)
            arrays[f"{kind}_slices"] = np.array([p.slices for p in found], np.int64)
        with atomic_path(file) as beside:
            np.savez_compressed(beside, **arrays)


def read_points(file: Path, description: str) -> FoundPoints:
    """Read what ``FoundPoints.write`` wrote."""
    with np.load(file) as arrays:
        columns = {name: arrays[name] for name in arrays.files}
    studies = {
        str(study): {
            kind: Points(
                points=columns[f"{kind}_points"][i],
                values=columns[f"{kind}_values"][i],
                slices=int(columns[f"{kind}_slices"][i]),
                kind=kind,
                segmented=0,
            )
            for kind in POINT_KINDS
        }
        for i, study in enumerate(columns["study_ids"])
    }
    return FoundPoints(description, studies)


def predict_points(
    network: DetectorNetwork, cache: Cache, study_ids: list[str], device: Device
) -> FoundPoints:
    """Find the points of studies, by the very search that serving uses; studies without the description lack."""
    network.eval()
    config, runner, found = network.config, BatchRunner(device), {}
    for study in study_ids:
        volume = cache.volumes(study).get(config.description)
        if volume is not None:
            grid = torch.from_numpy(stage1_grid(volume, config.max_length))
            read = config.slice_positions
            positions = stage1_positions(volume, config.max_length) if read else None
            found[study] = find_points(network, grid, POINT_KINDS, runner, positions)
    return FoundPoints(config.description, found)


def labelled_points(targets: dict[tuple[str, str], Target], description: str, max_length: int) -> FoundPoints:
    """Return the labels themselves as points of both kinds; a study counts if all its classes are labelled."""
    found = {}
    for (study, described), target in targets.items():
        if described != description or np.isnan(target.points).any():
            continue
        target = squeezed_target(target, max_length)
        points = np.rint(np.repeat(target.points[:, None], len(CROP_OFFSETS), axis=1)).astype(np.int64)
        points[..., 0] += np.array(CROP_OFFSETS)
        values, slices = np.ones(points.shape[:2], np.float32), target.amplitude.shape[1]
        found[study] = {kind: Points(points, values, slices, kind, segmented=0) for kind in POINT_KINDS}
    return FoundPoints(description, found)


def point_errors(found: FoundPoints, targets: dict[tuple[str, str], Target], max_length: int) -> np.ndarray:
    """Return |slice|, |row|, |column| errors of every labelled site: (n, 3), on the detector's 256 grid."""
    errors = []
    for study, points in found.studies.items():
        if (study, found.description) in targets:
            truth = squeezed_target(targets[study, found.description], max_length).points
            middle = points["fixed"].points[:, MIDDLE]
            errors.append(np.abs(middle - truth)[~np.isnan(truth[:, 0])])
    return np.concatenate(errors) if errors else np.full((1, 3), np.nan)


def error_figures(errors: np.ndarray) -> dict[str, float]:
    """Return the selection figure, the mean of z, y and x errors, and its parts and tails; NaN without a label."""
    z, y, x = errors.mean(axis=0)
    off = np.hypot(errors[:, 1], errors[:, 2])
    far = float(np.where(np.isnan(off), np.nan, off > FAR).mean())
    return {"error": float(errors.mean()), "z": float(z), "y": float(y), "x": float(x), "beyond_8px": far}


def draw_sample_slices(
    file: Path, found: FoundPoints, cache: Cache, targets: dict[tuple[str, str], Target], max_length: int
) -> None:
    """Draw labels and predictions of the first class of a few studies on the labelled slice."""
    samples = []
    for study, points in list(found.studies.items())[:SAMPLE_SLICES]:
        target = targets.get((study, found.description))
        if target is None:
            continue
        grid = stage1_grid(cache.volumes(study)[found.description], max_length)
        truth = squeezed_target(target, max_length).points
        predicted = points["fixed"].points[:, MIDDLE]
        if np.isnan(truth[:, 0]).all():
            continue
        z = int(np.rint(truth[np.flatnonzero(~np.isnan(truth[:, 0]))[0], 0]))
        on_slice = np.rint(truth[:, 0]) == z
        near = abs(predicted[:, 0] - z) <= 1
        samples.append((f"{study} slice {z}", grid[z], truth[on_slice, 1:], predicted[near, 1:]))

    draw_points(file, samples, found.description)
