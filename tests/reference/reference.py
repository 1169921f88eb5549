"""The whole inference, plainly and slowly, straight from the write-up: the oracle of the fast pipeline.

Written as the authors' notebooks are: one study, one model after the other, every model decodes the study
again, default memory layout, padded slices computed. Nothing of the kernel is used but the table of
sites; deviations that the write-up declares (solution, sections 2 to 4) are the kernel's, so that the two
can be compared; ``tests/grading/test_deviations.py`` shows how far each goes. MONOCHROME1 and negative rescale
slopes, which the competition does not have, are not looked at here.

Axis order (slice, row, column) throughout; grids 256 for points, 512 for crops, values 0..1.
"""

import csv
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import pydicom
import torch
from torch import nn
from torch.nn import functional as F

from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, SAGITTAL_T1, SAGITTAL_T2
from tests.reference.reference_bundle import load_members
from tests.reference.reference_levels import joint_points
from tests.reference.reference_windows import patient_point, sized_window, window_sides

OFFSETS = (-2, -1, 0, 1, 2)


def normalize(pixels: np.ndarray) -> np.ndarray:
    """Clip to the 1st and 99th percentile, scale to 0..255, truncate to uint8; zero if constant."""
    pixels = pixels.astype(np.float64)
    pixels = np.clip(pixels, np.percentile(pixels, 1), np.percentile(pixels, 99))
    pixels = pixels - pixels.min()
    if pixels.max() == 0:
        return np.zeros(pixels.shape, np.uint8)
    return (pixels / pixels.max() * 255).astype(np.uint8)


def read_volume(folders: list[Path], description: str, size: int) -> np.ndarray:
    """Return all series of one description as one volume (S, size, size) uint8 in patient order."""
    slices, positions = [], []
    axis = 2 if description == AXIAL_T2 else 0
    for folder in folders:
        files = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
        files.sort(key=lambda file: int(file.InstanceNumber))
        pictures = [normalize(file.pixel_array) for file in files]
        rows, columns = pictures[0].shape
        for file, picture in zip(files, pictures, strict=True):
            if picture.shape != (rows, columns):
                picture = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_LINEAR)
            slices.append(cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR))
            positions.append(float(file.ImagePositionPatient[axis]))
    return np.stack(slices)[np.argsort(positions, kind="stable")]


def read_geometry(folders: list[Path], description: str) -> list[pydicom.Dataset]:
    """Return the headers of ``read_volume``'s slices, in its order."""
    files = []
    for folder in folders:
        series = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.glob("*.dcm"))]
        files += sorted(series, key=lambda file: int(file.InstanceNumber))
    axis = 2 if description == AXIAL_T2 else 0
    return sorted(files, key=lambda file: float(file.ImagePositionPatient[axis]))


def sagittal_weights(folders: dict, canal: np.ndarray, lengths: dict, width: float) -> np.ndarray:
    """Return the prior (10, slice) of the axial slices from the canal points (5, 3) of a detector.

    lengths: by description, the slices of the detector's grid. A level counts if its point lies 20 to 55 mm from those
    beside it, and below the one above.
    """
    sagittal, axial = (read_geometry(folders[d], d) for d in (SAGITTAL_T2, AXIAL_T2))
    own = [((z + 0.5) * len(sagittal) / lengths[SAGITTAL_T2] - 0.5, y, x) for z, y, x in canal]
    places = [patient_point(sagittal, *point) for point in own]
    weights = np.ones((5, lengths[AXIAL_T2]))
    for level, place in enumerate(places):
        pairs = [(places[n], places[n + 1]) for n in (level - 1, level) if 0 <= n < 4]
        if not all(a[2] > b[2] and 20 <= np.linalg.norm(a - b) <= 55 for a, b in pairs):
            continue
        offsets = []
        for file in axial:
            normal = np.cross(*np.reshape(np.array(file.ImageOrientationPatient, float), (2, 3)))
            offsets.append(np.dot(place - np.array(file.ImagePositionPatient, float), normal))
        centres = (np.arange(lengths[AXIAL_T2]) + 0.5) * len(axial) / lengths[AXIAL_T2] - 0.5
        squared = np.interp(centres, np.arange(len(axial)), offsets) ** 2
        weights[level] = np.exp(-(squared - squared.min()) / (2 * width**2)).clip(1e-6)
    return np.concatenate([weights, weights])


def level_frame(folders: list[Path], description: str, length: int) -> np.ndarray:
    """Return (length, 3, 3): lateral, forwards, height in mm of (1, row, column) on each slice of the grid."""
    files, positions = read_geometry(folders, description), read_positions(folders, description)
    frame = []
    for z in (np.arange(length) + 0.5) * len(files) / length - 0.5:
        origin, row, column = (patient_point(files, z, *at) for at in ((0, 0), (1, 0), (0, 1)))
        lateral = np.interp(z, np.arange(len(files)), positions)
        frame.append(
            [
                (lateral, 0, 0),
                *(
                    (origin[k] * s, (row - origin)[k] * s, (column - origin)[k] * s)
                    for k, s in ((1, -1), (2, 1))
                ),
            ]
        )
    return np.array(frame)


def read_positions(folders: list[Path], description: str) -> np.ndarray:
    """Return where each slice of ``read_volume`` lies in mm along the mean normal, from the middle, (S,) float32.

    To the left of sagittal volumes, to the head of axial ones; the place of a slice is its picture's centre.
    """
    files, axis = read_geometry(folders, description), 2 if description == AXIAL_T2 else 0
    normals = [np.cross(*np.array(file.ImageOrientationPatient, float).reshape(2, 3)) for file in files]
    normal = np.mean([normal * np.sign(normal[axis]) for normal in normals], axis=0)
    centres = [patient_point(files, z, 127.5, 127.5) for z in range(len(files))]
    along = np.array(centres) @ (normal / np.linalg.norm(normal))
    return (along - (along.min() + along.max()) / 2).astype(np.float32)


def squeeze_positions(positions: np.ndarray, length: int) -> torch.Tensor:
    """Return the positions of ``length`` slices: squeezed as the volume is, or padded with 0."""
    found = torch.from_numpy(positions)
    if len(found) > length:
        return F.interpolate(found[None, None], size=length, mode="linear", align_corners=False)[0, 0]
    return F.pad(found, (0, length - len(found)))


def squeeze(volume: np.ndarray, length: int) -> torch.Tensor:
    """Return uint8 (S, H, W) as float 0..1, squeezed to ``length`` slices if it has more."""
    grid = torch.from_numpy(volume).float() / 255
    if len(grid) <= length:
        return grid
    size = (length, *grid.shape[1:])
    return F.interpolate(grid[None, None], size=size, mode="trilinear", align_corners=False)[0, 0]


def network_input(grid: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a detector network sees of a volume (S, 256, 256), S <= length, padded with zero slices.

    (length, 3, 256, 256): every slice between its neighbours, zero beyond the ends; and (length,) bool:
    which slices are not all zero.
    """
    padded = torch.zeros(length, *grid.shape[1:], device=grid.device)
    padded[: len(grid)] = grid
    edge = torch.zeros_like(padded[:1])
    before, after = torch.cat([edge, padded[:-1]]), torch.cat([padded[1:], edge])
    return torch.stack([before, padded, after], dim=1), (padded != 0).any(dim=(1, 2))


def to_heatmap(segmenter: torch.Tensor, pointer: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Join segmenter logits (class, D, 256, 256), pointer logits (class, D) and present (D,)."""
    return segmenter.sigmoid() * pointer.sigmoid()[:, :, None, None] * present[:, None, None]


def detect(
    network: nn.Module, grid: torch.Tensor, length: int, positions: torch.Tensor | None
) -> torch.Tensor:
    """Return one network's heatmaps (class, length, 256, 256) of a volume (S, 256, 256).

    The positions (length,) of its slices are None for a network that reads none.
    """
    slices, present = network_input(grid, length)
    pointer = network.pointer(slices, present, positions).T
    # All slices of family A's volumes at once, as in the authors' notebook; longer ones in pieces, whose feature
    # maps fit into memory.
    segmenter = torch.cat([network.segmenter(some) for some in slices.split(64)]).transpose(0, 1)
    return to_heatmap(segmenter, pointer, present)


def find_points(heatmap: torch.Tensor, slices: int, xy: str) -> np.ndarray:
    """Return points (class, 5, 3), one for each of the slices z-2..z+2, from heatmaps (class, D, 256, 256).

    The first column is z + offset, real or not; row and column are the peak's (``fixed``) or those of the
    slice itself, of the end slice beyond the ``slices`` real ones (``dynamic``).
    """
    points = []
    for volume in heatmap.cpu().numpy():
        z, y, x = np.unravel_index(volume.argmax(), volume.shape)
        for offset in OFFSETS:
            if xy == "dynamic":
                own = volume[min(max(z + offset, 0), slices - 1)]
                y, x = np.unravel_index(own.argmax(), own.shape)
            points.append((z + offset, y, x))
    return np.array(points).reshape(-1, 5, 3)


def margins(heatmap: torch.Tensor, points: np.ndarray, slices: int, xy: str) -> np.ndarray:
    """Return by how much the voxel of each point beats its next best, (class, 5).

    For a dynamic detector a point is as sure as both the peak's slice and the place on its own slice are.
    """
    leads = []
    for volume, site in zip(heatmap, points, strict=True):
        own = (
            volume[site[:, 0].clip(0, slices - 1)] if xy == "dynamic" else volume[None].expand(5, -1, -1, -1)
        )
        leads.append(torch.minimum(lead(own), lead(volume[None])).cpu().numpy())
    return np.array(leads)


def lead(values: torch.Tensor) -> torch.Tensor:
    """Return the largest value less the second largest, for each row of (n, ...)."""
    best = values.flatten(1).topk(2).values
    return best[:, 0] - best[:, 1]


def crop(grid: torch.Tensor, points: np.ndarray, border: str) -> torch.Tensor:
    """Return the crop (n, 128, 128) of one site from (S, 512, 512); points (n, 3) on the 256 grid."""
    slices = []
    for z, y, x in points * (1, 2, 2):
        if border == "shift":
            z = min(max(z, 0), len(grid) - 1)
            top, left = (min(max(centre - 32, 0), 512 - 64) for centre in (y, x))
            slices.append(grid[z, top : top + 64, left : left + 64])
        elif 0 <= z < len(grid):
            window = grid[z, max(y - 32, 0) : y + 32, max(x - 32, 0) : x + 32]
            # Trilinear stretching is bilinear in the plane (here, per slice) and then linear across slices.
            slices.append(resize(window[None, None], (64, 64))[0, 0])
    window = torch.stack(slices)
    if len(window) < len(points):
        size = (len(points), 64, 64)
        window = F.interpolate(window[None, None], size, mode="trilinear", align_corners=False)[0, 0]
    return resize(window[None], (128, 128))[0]


def resize(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize (1, channel, H, W) bilinearly."""
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def study_folders(root: Path, study_id: str) -> dict[str, list[Path]]:
    """Return the series folders of each description of a study, in the order of the CSV's rows."""
    folders = {}
    (table,) = root.glob("*_series_descriptions.csv")
    images = root / table.name.replace("series_descriptions.csv", "images")
    with table.open() as lines:
        for row in csv.DictReader(lines):
            if row["study_id"] == study_id:
                folders.setdefault(row["series_description"], []).append(images / study_id / row["series_id"])
    return folders


def infer_study(
    folders: dict[str, list[Path]],
    detectors: list,
    classifiers: list,
    device: str = "cpu",
    zero_crops: bool = False,
) -> dict:
    """Run one study through every detector and, on each one's crops, through every classifier.

    Args:
        folders: Series folders by description.
        detectors: As ``reference_bundle.load_members`` gives them; so are the classifiers.
        zero_crops: See ``average_members``.

    Returns:
        ``points`` detector -> (25, 5, 3). ``values`` detector -> (25,), the heatmap at the peaks. ``margins``
        detector -> (25, 5), a point's lead over the next best (0 where nothing was searched). ``members``
        (detector, classifier) -> (25, 3). ``probabilities`` (25, 3), None without classifiers. ``seconds`` by stage.
    """
    result = {"points": {}, "values": {}, "margins": {}, "members": {}, "probabilities": None, "seconds": {}}
    for detector in detectors:
        detect_study(folders, detector, device, result)
        for classifier in classifiers:
            grade_study(folders, detector, classifier, device, result, zero_crops)
    if classifiers:
        result["probabilities"] = average_members(folders, detectors, classifiers, result, zero_crops)
    return result


def average_members(
    folders: dict[str, list[Path]],
    detectors: list[dict],
    classifiers: list[dict],
    result: dict,
    zero_crops: bool = False,
) -> np.ndarray:
    """Return the mean (25, 3) of ``result["members"]``, each with its classifier's weight, NaN without a member.

    At a site count the members with crops of it. Where none has, zero_crops says whether all count, as in the
    notebooks, or none. Members' rows that do not count become NaN.
    """
    mean = np.full((25, 3), np.nan)
    pairs = [(d, c) for d in detectors for c in classifiers]
    for site in range(25):
        readers = [(d["name"], c["name"]) for d, c in pairs if site in read_sites(folders, d, c)]
        if not readers and zero_crops:
            readers = [(d["name"], c["name"]) for d, c in pairs]
        total = 0.0
        for detector in detectors:
            for classifier in classifiers:
                member = result["members"][detector["name"], classifier["name"]]
                if (detector["name"], classifier["name"]) not in readers:
                    member[site] = np.nan
                    continue
                mean[site] = np.nan_to_num(mean[site]) + classifier["weight"] * member[site]
                total += classifier["weight"]
        if total:
            mean[site] /= total
    return mean


def read_sites(folders: dict[str, list[Path]], detector: dict, classifier: dict) -> set[int]:
    """Return the sites of which a classifier has crops: the detector has a network and the study a series for them."""
    read = [d for d in detector["networks"] if d in folders]
    sites = {site for description in read for site in range(25)[DESCRIPTION_SITES[description]]}
    if classifier["config"].get("canal_from") == AXIAL_T2:
        sites = {*sites} - {*range(5)} | ({*range(5)} if AXIAL_T2 in read else set())
    return sites


@torch.inference_mode()
def detect_study(folders: dict[str, list[Path]], detector: dict, device: str, result: dict) -> None:
    """Find the points of all 25 sites with one detector; of a missing volume they are 0."""
    points, values, leads = np.zeros((25, 5, 3), int), np.zeros(25), np.zeros((25, 5))
    lengths: dict[str, int] = {}
    for description in (SAGITTAL_T2, SAGITTAL_T1, AXIAL_T2):  # the axial points may need those of the canal
        network = detector["networks"].get(description)
        if description not in folders or network is None:
            continue
        sites, length = DESCRIPTION_SITES[description], network["config"]["max_length"]
        with stage(result, "read"):
            grid = squeeze(read_volume(folders[description], description, 256), length).to(device)
            positions = None
            if network["config"].get("slice_positions"):
                found = read_positions(folders[description], description)
                positions = squeeze_positions(found, length).to(device)
        with stage(result, "detect"):
            heatmap = detect(network["net"], grid, length, positions)
            lengths[description] = len(grid)
            if description == AXIAL_T2 and SAGITTAL_T2 in lengths and "sagittal_prior_mm" in detector:
                weights = sagittal_weights(folders, points[:5, 2], lengths, detector["sagittal_prior_mm"])
                heatmap[:, : len(grid)] *= torch.from_numpy(weights).float().to(device)[..., None, None]
            if detector.get("joint_levels") and description != AXIAL_T2:
                frame = level_frame(folders[description], description, len(grid))
                real = heatmap[:, : len(grid)].cpu().numpy()
                points[sites], found, leads[sites] = joint_points(real, frame, detector["xy"])
                values[sites] = found[:, 2]
                continue
            points[sites] = find_points(heatmap, len(grid), detector["xy"])
        # For the comparison with the kernel; no part of what the notebooks do, nor of its time.
        values[sites] = heatmap.flatten(1).amax(dim=1).cpu()
        leads[sites] = margins(heatmap, points[sites], len(grid), detector["xy"])
    name = detector["name"]
    result["points"][name], result["values"][name], result["margins"][name] = points, values, leads


@torch.inference_mode()
def grade_study(
    folders: dict[str, list[Path]],
    detector: dict,
    classifier: dict,
    device: str,
    result: dict,
    zero_crops: bool = False,
) -> None:
    """Grade the crops of one detector with one classifier.

    Sites without a volume are left out of the sequences, or with zero_crops, as in the notebooks, zero.
    """
    margin = classifier["config"].get("canal_margin", 0)
    crops = [torch.zeros(5 + 2 * margin * (site < 5), 128, 128, device=device) for site in range(25)]
    for description, network in detector["networks"].items():
        if description not in folders:
            continue
        with stage(result, "read"):
            volume = read_volume(folders[description], description, 512)
            grid = squeeze(volume, network["config"]["max_length"]).to(device)
        with stage(result, "crop"):
            found, values = result["points"][detector["name"]], result["values"][detector["name"]]
            sides = None
            if classifier["config"].keys() & {"window_mm", "window_levels"}:
                files, own = read_geometry(folders[description], description), DESCRIPTION_SITES[description]
                sides = window_sides(files, found[own, 2], len(grid), classifier["config"])
            wanted = {site: found[site] for site in range(25)[DESCRIPTION_SITES[description]]}
            if classifier["config"].get("canal_from") == AXIAL_T2:
                if description == SAGITTAL_T2:
                    wanted = {}
                for level in range(5) if description == AXIAL_T2 else ():
                    left, right = found[15 + level], found[20 + level]
                    surer = left if values[15 + level] >= values[20 + level] else right
                    wanted[level] = np.column_stack([surer[:, 0], (left[:, 1:] + right[:, 1:]) // 2])
            for site, points in wanted.items():
                if site < 5:  # of the canal, further slices at the places of the outermost
                    before = [points[0] - (step, 0, 0) for step in range(margin, 0, -1)]
                    after = [points[4] + (step, 0, 0) for step in range(1, margin + 1)]
                    points = np.array([*before, *points, *after])
                if sides is None:
                    crops[site] = crop(grid, points, classifier["config"]["border"])
                else:
                    window = sized_window(grid, points, classifier["config"]["border"], sides)
                    crops[site] = resize(window[None], (128, 128))[0]
    with stage(result, "classify"):
        read = read_sites(folders, detector, classifier)
        groups = [group for group in range(5) if zero_crops or 5 * group in read]
        probabilities = classifier["net"](crops, groups or range(5)).softmax(dim=1)
        result["members"][detector["name"], classifier["name"]] = probabilities.double().cpu().numpy()


@contextmanager
def stage(result: dict, name: str):
    """Add the seconds of a block to ``result["seconds"][name]``."""
    start = perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    result["seconds"][name] = result["seconds"].get(name, 0.0) + perf_counter() - start


def reference_inference(root: Path, study_id: str, bundle: Path) -> dict:
    """Return ``infer_study`` of one study of a competition folder with the members of a bundle."""
    return infer_study(study_folders(root, study_id), *load_members(bundle))
