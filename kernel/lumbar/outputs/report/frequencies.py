"""Probabilities made for the competition's metric -> frequencies.

The answer with the least weighted log loss is proportional to weight times frequency. So a calibrated answer, divided
by the metric's weights, gives the frequencies back. The any-severe factor, which moves one site per study, stays in.

Mean distance of frequencies from shares of labels, across folds (``tests/benchmarks/frequency_error.py``): 0.2% to
1.3%. The probabilities that they were computed from are 0.8% to 7.4% off.
"""

import numpy as np

from lumbar.sites import SEVERITY_WEIGHTS


def frequencies(probabilities: np.ndarray) -> np.ndarray:
    """Return calibrated probabilities (..., 3) without the lean of the metric's weights, rows sum to 1."""
    shares = probabilities / np.array(SEVERITY_WEIGHTS)
    return shares / shares.sum(axis=-1, keepdims=True)
