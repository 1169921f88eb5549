"""``weights_manifest.json`` as far as it can be checked before any weights are read: in the first second."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lumbar.bundle.calibration import Calibration, read_calibration
from lumbar.faults import BundleError
from lumbar.sites import SEVERITIES, SITES

MANIFEST = "weights_manifest.json"
FORMAT = 1
MEMBER_NAME = re.compile(
    r"\w[\w .,()/+-]{0,127}"
)  # it gets into tables, where a formula would start with =+-@


@dataclass(frozen=True)
class Manifest:
    """A bundle's description, before any weights are read; the last four fields as in ``Bundle``."""

    name: str
    trained_on: str
    detectors: tuple[dict, ...]
    classifiers: tuple[dict, ...]
    prior: np.ndarray
    fingerprint: str
    calibration: Calibration | None = None
    attribution: tuple[str, ...] = ()

    @property
    def detector_names(self) -> list[str]:
        return [entry["name"] for entry in self.detectors]

    @property
    def classifier_names(self) -> list[str]:
        return [entry["name"] for entry in self.classifiers]

    @property
    def descriptions(self) -> set[str]:
        """The descriptions that a detector reads, of a bundle that loads."""
        return {description for detector in self.detectors for description in detector["networks"]}

    @property
    def files(self) -> set[str]:
        """The paths of all members' files, relative to the manifest, of a bundle that loads."""
        networks = [member for detector in self.detectors for member in detector["networks"].values()]
        return {member["file"] for member in [*networks, *self.classifiers]}


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest and check it as far as it can be without its networks; raises BundleError."""
    manifest_file = folder / MANIFEST
    if not manifest_file.is_file():
        raise BundleError(f"{manifest_file}: no such file, expected a bundle's manifest; check --bundle")
    raw = manifest_file.read_bytes()
    try:
        manifest = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{manifest_file}: not JSON ({error}); copy the bundle again") from error
    fields = ("format", "name", "trained_on", "intended_use", "detectors", "classifiers", "prior")
    check_fields(manifest, fields, str(manifest_file), optional=("provenance", "calibration", "attribution"))
    if manifest["format"] != FORMAT:
        raise BundleError(
            f"{manifest_file}: got format {manifest['format']!r}, expected {FORMAT}; update the kernel"
        )
    calibration = manifest.get("calibration")
    return Manifest(
        name=str(manifest["name"]),
        trained_on=str(manifest["trained_on"]),
        detectors=checked_entries(manifest["detectors"], "detector", manifest_file),
        classifiers=checked_entries(manifest["classifiers"], "classifier", manifest_file),
        prior=checked_prior(manifest["prior"], manifest_file),
        fingerprint=hashlib.sha256(raw).hexdigest(),
        calibration=read_calibration(calibration, f"{manifest_file}: calibration")
        if calibration is not None
        else None,
        attribution=checked_attribution(manifest.get("attribution", []), manifest_file),
    )


def checked_entries(entries: object, kind: str, where: Path) -> tuple[dict, ...]:
    """Return the members' entries if they are objects with names that are plain words, each once."""
    if not isinstance(entries, list):
        raise BundleError(f"{where}: {kind}s: got {type(entries).__name__}, expected a list; correct it")
    if kind == "detector" and not entries:
        raise BundleError(f"{where}: got no detector, expected at least one; add it")
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not MEMBER_NAME.fullmatch(name):
            raise BundleError(f"{where}: {kind}s: got name {name!r}, expected plain words; correct it")
    names = [entry["name"] for entry in entries]
    if len(set(names)) < len(names):
        raise BundleError(f"{where}: got members {names}, expected each name once; rename one")
    return tuple(entries)


def check_fields(
    entry: object, expected: list[str] | tuple[str, ...], where: str, optional: tuple = ()
) -> None:
    if not isinstance(entry, dict):
        raise BundleError(
            f"{where}: got {type(entry).__name__}, expected an object with the fields {list(expected)}"
        )
    missing, unknown = set(expected) - entry.keys(), entry.keys() - set(expected) - set(optional)
    if missing:
        raise BundleError(f"{where}: missing field {sorted(missing)}, expected {sorted(expected)}; add it")
    if unknown:
        raise BundleError(f"{where}: unknown field {sorted(unknown)}, expected {sorted(expected)}; remove it")


def checked_attribution(texts: object, where: Path) -> tuple[str, ...]:
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise BundleError(f"{where}: attribution: got {texts!r}, expected a list of texts; correct it")
    return tuple(texts)


def check_positive(value: object, got: str) -> None:
    """Raise BundleError unless a manifest's value is a finite number above 0; ``got`` begins the message."""
    if isinstance(value, bool) or not (isinstance(value, int | float) and 0 < value < float("inf")):
        raise BundleError(f"{got} {value!r}, expected a number above 0")


def checked_prior(rows: list, where: Path) -> np.ndarray:
    try:
        prior = np.array(rows, dtype=np.float64)
        valid = prior.shape == (len(SITES), len(SEVERITIES)) and (prior > 0).all()
        valid = valid and np.allclose(prior.sum(axis=1), 1, atol=1e-3)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise BundleError(
            f"{where}: prior: expected {len(SITES)} rows of 3 numbers above 0 that sum to 1; correct it"
        )
    return prior / prior.sum(axis=1, keepdims=True)
