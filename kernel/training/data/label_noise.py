"""Labels that out-of-fold predictions contradict: to list them, and to leave them out of a second round.

Source: the 2nd place trains all its members again without labels that are off by more than .8 (score).
"""

from pathlib import Path

import numpy as np

from lumbar.atomic_files import write_atomically
from lumbar.sites import MISSING, SEVERITIES, SITE_NAMES

COLUMNS = ("study_id", "site", "label", "probability", *SEVERITIES)


def contradicted(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Return which labels the predictions contradict, (n, 25) bool.

    The label's own probability is then below 1 - threshold: no other class can differ from its 0 by more.

    Args:
        labels: (n, 25) severities, -1 where missing.
        probabilities: (n, 25, 3) of networks that have not learnt these studies; NaN where not graded.
        threshold: Difference between the label's 1 and its probability, 0..1.
    """
    own = np.take_along_axis(probabilities, np.maximum(labels, 0)[..., None].astype(np.int64), axis=2)[..., 0]
    return (labels != MISSING) & (1 - own > threshold)  # a comparison with NaN is false


def write_contradicted(
    file: Path, study_ids: tuple[str, ...], labels: np.ndarray, probabilities: np.ndarray, threshold: float
) -> int:
    """Write the contradicted labels as a table of ``COLUMNS``, the least probable first; return their number.

    Args:
        file: Where to write, .csv.
        study_ids: The n studies.
        labels: As in ``contradicted``, as are the others.
    """
    rows = []
    for study, site in np.argwhere(contradicted(labels, probabilities, threshold)):
        label, found = int(labels[study, site]), probabilities[study, site]
        rows.append((float(found[label]), study_ids[study], SITE_NAMES[site], SEVERITIES[label], found))
    lines = [",".join(COLUMNS)]
    for own, study, name, label, found in sorted(rows, key=lambda row: row[:3]):
        lines.append(",".join([study, name, label, f"{own:.4f}", *(f"{p:.4f}" for p in found)]))
    write_atomically(file, "\n".join(lines) + "\n")
    return len(rows)
