"""The ensemble's result on a study, and the mean of its members."""

from dataclasses import dataclass, field

import numpy as np

from lumbar.bundle.loading import Bundle
from lumbar.faults import Fault
from lumbar.grading.detection import Detection
from lumbar.grading.ensemble import searched_sites, weighted_mean
from lumbar.grading.fallbacks import PRIOR, ZERO_CROPS
from lumbar.grading.time_limit import NO_MEMBERS, Plan
from lumbar.reading.study import Study
from lumbar.sites import DESCRIPTION_SITES, DESCRIPTIONS, SITES


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

    A member counts at a site if its detector searched the site's description. At a site that no detector searched
    none counts, or with ``zero_crops`` every one.
    """
    searched = {name: searched_sites(detection) for name, detection in graded.detections.items()}
    lost = ~np.any([np.zeros(len(SITES), bool), *searched.values()], axis=0)
    for (detector, classifier), rows in graded.members.items():
        counts = searched[detector] | (lost & zero_crops)
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
    unread = [d for d in DESCRIPTIONS if d in study.volumes and lost[DESCRIPTION_SITES[d]].any()]
    if absent:
        message = f"got no usable series of {', '.join(absent)}, expected one of each description"
        graded.faults.append(Fault(f"study {study.study_id}", "no_description", message))
    if unread and graded.detections:  # a detector that failed is a fault already
        message = f"got no network for {', '.join(unread)}, expected one in a detector that ran"
        graded.faults.append(Fault("bundle", "no_detector", message))
    if not bundle.classifiers:
        graded.faults.append(Fault("bundle", "no_classifier", "got no classifier, expected at least one"))
