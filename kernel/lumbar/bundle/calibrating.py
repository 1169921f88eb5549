"""A fit of ``evaluate.py`` -> the calibration and the classifiers' weights of a bundle's manifest."""

import hashlib
import json
import re
from pathlib import Path

from lumbar.atomic_files import write_atomically
from lumbar.bundle.calibration import read_calibration
from lumbar.bundle.manifest import MANIFEST, read_manifest
from lumbar.faults import BundleError

FOLD = re.compile(r"[-/]fold\d+$")  # as a run and its bundle name a classifier's folds
SCORES = ("equal", "fitted", "cross_fitted", "folds")


def calibrate(folder: Path, file: Path, fitted_on: str, partial: bool = False) -> str:
    """Write a fit into a bundle's manifest, in one step, and return what changed, in words.

    Args:
        folder: The bundle.
        file: What ``evaluate.py --fit-weights --fit-calibration --json`` wrote, of the bundle's classifiers out of
            fold.
        fitted_on: The studies of the fit, in words.
        partial: The calibration also holds for a mean of fewer members.

    Raises:
        BundleError: The bundle or the file can't be used. Or the fit does not pay, or is one of other classifiers.
        OSError: A file can't be read or written.
    """
    manifest = read_manifest(folder)
    raw = file.read_bytes()
    fit = read_fit(raw, file)
    names = {FOLD.sub("", name) for name in manifest.classifier_names}
    if names != set(fit["weights"]):
        raise BundleError(
            f"{file}: got a fit of the classifiers {sorted(fit['weights'])}, expected those of {folder}, "
            f"{sorted(names)}; fit it on their predictions"
        )
    if not fit["pays"]:
        raise BundleError(
            f"{file}: got a score of {fit['cross_fitted']:.4f} across folds and {fit['equal']:.4f} without the fit, "
            "expected a clear gain in most folds; leave the bundle as it is"
        )
    entry = json.loads((folder / MANIFEST).read_bytes())
    for classifier in entry["classifiers"]:
        classifier["weight"] = round(fit["weights"][FOLD.sub("", classifier["name"])] * len(names), 4)
    if fit["calibration"]:
        provenance = {"fitted_on": fitted_on, "file": file.name, "sha256": hashlib.sha256(raw).hexdigest()}
        provenance |= {key: fit[key] for key in SCORES}
        stored = fit["calibration"] | {"holds_for_partial": partial, "provenance": provenance}
        entry["calibration"] = read_calibration(stored, str(file)).to_json()
    write_atomically(folder / MANIFEST, json.dumps(entry, indent=1) + "\n")
    changed = "weights and calibration" if fit["calibration"] else "weights"
    return f"{folder / MANIFEST}: {changed} of {file} written; score {fit['equal']:.4f}, now {fit['cross_fitted']:.4f}"


def read_fit(raw: bytes, file: Path) -> dict:
    """Return the fit in a file of ``evaluate.py``; raises BundleError."""
    try:
        fit = json.loads(raw)["fit"]
        weights = fit["weights"]
        valid = all(isinstance(weight, float) and weight > 0 for weight in weights.values())
        valid = valid and isinstance(fit["pays"], bool) and {"calibration", *SCORES} <= fit.keys()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        valid = False
    if not valid:
        raise BundleError(
            f"{file}: got no fit, expected the file of evaluate.py --fit-calibration --json; fit it again"
        )
    return fit
