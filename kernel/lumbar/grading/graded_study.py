"""The ensemble's result on a study, and the mean of its members."""

from dataclasses import dataclass, field

import numpy as np

from lumbar.bundle.members import Bundle
from lumbar.faults import Fault
from lumbar.grading.detection import Detection
from lumbar.grading.ensemble import searched_sites, weighted_mean
from lumbar.grading.fallbacks import PRIOR, ZERO_CROPS
from lumbar.grading.time_limit import NO_MEMBERS, Plan
from lumbar.reading.study import Study
from lumbar.sites import DESCRIPTION_SITES, DESCRIPTIONS, SAGITTAL_T2, SITES


@dataclass
class GradedStudy:
    """The ensemble's result on a study.

    Attributes:
        probabilities: (25, 3), NaN at sites that no member graded. None if no site was graded.
        detections: By detector.
        members: (25, 3) by (detector, classifier), NaN at sites that count for nothing in the mean.
        faults: Of the study's files, of members that failed, and the reasons of fallbacks.
        fallbacks: By description without grades of its own crops, ``PRIOR`` or ``ZERO_CROPS``.
        seconds: By stage.
        costs: Seconds by member, ``detector NAME`` or ``classifier NAME`` per detector, for the time limit.
        plan: The detectors and classifiers that were run.
    """

    study_id: str
    probabilities: np.ndarray | None = None
    detections: dict[str, Detection] = field(default_factory=dict)
    members: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    fallbacks: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    plan: Plan = NO_MEMBERS


def average_members(study: Study, bundle: Bundle, zero_crops: bool, graded: GradedStudy) -> None:
    """Average the members site by site; name the descriptions without grades, and why, in ``graded``.

    A member counts at a site if it had crops of it: its detector searched the description that they come from. At a
    site that no member had crops of none counts, or with ``zero_crops`` every one.
    """
    views = {member.name: member.network.config.canal_from for member in bundle.classifiers}
    used = {views[classifier] for _, classifier in graded.members} or {SAGITTAL_T2}
    searched = {
        (name, view): searched_sites(detection, view)
        for name, detection in graded.detections.items()
        for view in used
    }
    lost = ~np.any([np.zeros(len(SITES), bool), *searched.values()], axis=0)
    for (detector, classifier), rows in graded.members.items():
        counts = searched[detector, views[classifier]] | (lost & zero_crops)
        graded.members[detector, classifier] = np.where(counts[:, None], rows, np.nan)
    if graded.members:
        weights = {member.name: member.weight for member in bundle.classifiers}
        graded.probabilities = weighted_mean(
            list(graded.members.values()), [weights[classifier] for _, classifier in graded.members]
        )
        whole = len(graded.members) == len(bundle.detectors) * len(bundle.classifiers) and not bundle.left_out
        if bundle.calibration and (whole or bundle.calibration.holds_for_partial):
            graded.probabilities = bundle.calibration.apply(graded.probabilities)
    for description in DESCRIPTIONS:
        if graded.probabilities is None or lost[DESCRIPTION_SITES[description]].any():
            graded.fallbacks[description] = ZERO_CROPS if graded.members and zero_crops else PRIOR
    absent = [d for d in graded.fallbacks if d not in study.volumes]
    read = {description for detection in graded.detections.values() for description in detection.points}
    unread = [d for d in DESCRIPTIONS if d in study.volumes and d not in read]
    if absent:
        message = f"got no usable series of {', '.join(absent)}, expected one of each description"
        graded.faults.append(Fault(f"study {study.study_id}", "no_description", message))
    if unread and graded.detections:  # a detector that failed is a fault already
        message = f"got no network for {', '.join(unread)}, expected one in a detector that ran"
        graded.faults.append(Fault("bundle", "no_detector", message))
    if not bundle.classifiers:
        graded.faults.append(Fault("bundle", "no_classifier", "got no classifier, expected at least one"))
