"""Stage 1 of several studies at once: volumes to the device, every detector's points back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from lumbar.bundle.members import Detector
from lumbar.grading.level_prior import place_frame
from lumbar.grading.patient_points import find_places
from lumbar.grading.point_search import Points, SearchRequest, search_points
from lumbar.grading.sagittal_prior import slice_weights
from lumbar.grids import squeeze, unit_range
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.device import NotFiniteError
from lumbar.networks.transfer import upload
from lumbar.reading.slice_positions import slice_positions
from lumbar.reading.volume import Volume
from lumbar.sites import AXIAL_T2, SAGITTAL_T2


@dataclass(frozen=True)
class Detection:
    """The points of one detector in a study, and the grids that they index.

    Attributes:
        points: By description.
        grids512: By description, (S, 512, 512) uint8, or float32 0..1 where the volume was squeezed.
    """

    points: dict[str, Points]
    grids512: dict[str, np.ndarray]


class Serving(NamedTuple):
    """A search in a study's volume, and the detectors that share it."""

    study: int
    description: str
    detectors: list[Detector]
    request: SearchRequest

    @property
    def prior_mm(self) -> float | None:
        """The width of the prior, which the detectors share; None for a search without one."""
        return self.detectors[0].sagittal_prior_mm if self.description == AXIAL_T2 else None


def detect(
    detectors: Sequence[Detector], studies: Sequence[dict[str, Volume]], runner: BatchRunner
) -> list[dict[str, Detection] | NotFiniteError]:
    """Run stage 1 on several studies side by side, one search per volume and distinct network.

    Axial searches with a prior come after all others.

    Args:
        detectors: Of one bundle.
        studies: Of each study, its volumes by description.
        runner: Of the device that the networks are on.

    Returns:
        Of each study, its detections by the detectors' names, or the error of a network that gave NaN or Inf. A
        description that the study or the detector lacks is absent.
    """
    searches = [
        search
        for number, volumes in enumerate(studies)
        for search in study_searches(number, volumes, detectors, runner)
    ]
    found: list[dict[str, Detection] | NotFiniteError] = [
        {detector.name: Detection({}, {}) for detector in detectors} for _ in studies
    ]
    rounds = [s for s in searches if s.prior_mm is None], [s for s in searches if s.prior_mm is not None]
    for some in filter(None, rounds):
        requests = [weighted(search, found[search.study], studies[search.study]) for search in some]
        for search, points in zip(some, search_points(requests, runner), strict=True):
            detections = found[search.study]
            if isinstance(points, NotFiniteError):
                found[search.study] = points
            elif isinstance(detections, dict):
                volume = studies[search.study][search.description]
                grid512 = squeeze(volume.grid512, search.request.network.config.max_length)
                for detector in search.detectors:
                    detections[detector.name].points[search.description] = points[detector.xy]
                    detections[detector.name].grids512[search.description] = grid512
    return found


def weighted(
    search: Serving, found: dict[str, Detection] | NotFiniteError, volumes: dict[str, Volume]
) -> SearchRequest:
    """Return a search's request, with the prior of the canal points that were found in the study, if there are any."""
    canal = found[search.detectors[0].name].points.get(SAGITTAL_T2) if isinstance(found, dict) else None
    if search.prior_mm is None or canal is None:
        return search.request
    places, slices = find_places(volumes[SAGITTAL_T2], canal), len(search.request.grid)
    weight = slice_weights(places, volumes[search.description], slices, search.prior_mm)
    return replace(search.request, weight=weight)


def detect_study(
    detectors: Sequence[Detector], volumes: dict[str, Volume], runner: BatchRunner
) -> dict[str, Detection]:
    """Run stage 1 on the volumes of one study; return its detections by the detectors' names.

    Raises:
        NotFiniteError: A network gave NaN or Inf.
    """
    (found,) = detect(detectors, [volumes], runner)
    if isinstance(found, NotFiniteError):
        raise found
    return found


def without_grids(detections: dict[str, Detection]) -> dict[str, Detection]:
    """Return detections without the grids, which are large and lie in the study as well."""
    return {name: Detection(found.points, {}) for name, found in detections.items()}


def with_grids(detections: dict[str, Detection], volumes: dict[str, Volume]) -> dict[str, Detection]:
    """Return detections with the grids again, from the study's volumes."""
    grids: dict[tuple[str, int], np.ndarray] = {}  # detectors that squeeze alike share one
    for found in detections.values():
        for description, points in found.points.items():
            if (description, points.slices) not in grids:
                grids[description, points.slices] = squeeze(volumes[description].grid512, points.slices)
    return {
        name: Detection(found.points, {d: grids[d, points.slices] for d, points in found.points.items()})
        for name, found in detections.items()
    }


def study_searches(
    study: int, volumes: dict[str, Volume], detectors: Sequence[Detector], runner: BatchRunner
) -> Iterator[Serving]:
    """Yield a study's searches; all its grids go to the device in one copy."""
    # By the network's identity and the options that change a search.
    sharing: dict[tuple, tuple[str, DetectorNetwork, list[Detector]]] = {}
    for description in volumes:
        for detector in detectors:
            if network := detector.networks.get(description):
                key = (id(network), *option_identity(detector, description))
                sharing.setdefault(key, (description, network, []))[2].append(detector)
    grids = [squeeze(volumes[d].grid256, network.config.max_length) for d, network, _ in sharing.values()]
    there = upload(grids, runner.device.torch)
    for (description, network, group), grid in zip(sharing.values(), there, strict=True):
        kinds = frozenset(detector.xy for detector in group)
        config, volume = network.config, volumes[description]
        joint = group[0].joint_levels and description != AXIAL_T2
        request = SearchRequest(
            network,
            grid,
            kinds,
            positions=stage1_positions(volume, config.max_length) if config.slice_positions else None,
            frame=place_frame(volume, config.max_length) if joint else None,
        )
        yield Serving(study, description, group, request)


def option_identity(detector: Detector, description: str) -> tuple:
    """Return the options that a detector's search depends on: detectors that share them and a network share it."""
    if description != AXIAL_T2:
        return (detector.joint_levels,)
    if detector.sagittal_prior_mm is None:
        return ()
    return detector.sagittal_prior_mm, detector.joint_levels, id(detector.networks.get(SAGITTAL_T2))


def stage1_grid(volume: Volume, max_length: int) -> np.ndarray:
    """Return what stage 1 reads of a volume, (S, 256, 256) float32 0..1, S <= max_length."""
    return unit_range(squeeze(volume.grid256, max_length))


def stage1_positions(volume: Volume, max_length: int) -> np.ndarray:
    """Return where the slices of ``stage1_grid`` lie, (S,) float32 mm of ``slice_positions``."""
    return squeeze(slice_positions(volume)[:, None, None], max_length)[:, 0, 0]
