"""The package from Python: ``load`` a bundle, ``grade`` a study.

Neither call writes a file, sets up logging or changes a setting of torch for the rest of the process.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lumbar.bundle.members import Bundle
from lumbar.bundle.placement import ready_bundle
from lumbar.faults import DataNotFoundError, Fault
from lumbar.grading.ensemble import site_windows
from lumbar.grading.flag import Flag
from lumbar.grading.graded_study import GradedStudy
from lumbar.grading.patient_points import find_places
from lumbar.grading.plausibility import flags
from lumbar.grading.study_grading import StudyGrader
from lumbar.grading.time_limit import Plan
from lumbar.networks.architecture import shown_rule
from lumbar.networks.device import Device
from lumbar.networks.device_choice import choose_device
from lumbar.reading.listing import SPLITS, find_dataset, table_name
from lumbar.reading.references import StudyRef
from lumbar.reading.sources.locations import data_location
from lumbar.reading.study import Study, read_study
from lumbar.sites import DESCRIPTION_SITES, SEVERITIES, SITE_NAMES

PLACE = ("slice", "row", "column", "x", "y", "z")
SHOWN = 10  # studies in an error


@dataclass(frozen=True, eq=False)
class StudyResult:
    """One graded study. Detectors and classifiers are in the bundle's order, most valuable first.

    | column of ``table`` | content |
    |---|---|
    | site | in the order of ``lumbar.SITES`` |
    | normal_mild, moderate, severe | probabilities, as in submission.csv; NaN at sites that were not graded |
    | slice | of the description's volume, from 0 at the patient's right or feet, at the first detector's point |
    | row, column | of the slice's file, 0 at the centre of its first pixel |
    | x, y, z | the same point in mm, in DICOM's patient frame (LPS: +x is the patient's left) |

    Points are NaN where the study lacks the description, or its files lack the geometry.

    Attributes:
        study_id: The id in the competition's table, or the StudyInstanceUID.
        table: DataFrame with a row per site and the columns above.
        crops: By detector, the windows that the first classifier reads: (site, slice, row, column) float32,
            (25, 5, 64, 64), 0..1. Further slices of the canal are left out.
        members: By (detector, classifier), probabilities (25, 3); NaN at sites that the member did not grade.
        flags: Doubts about the points, each with its figure.
        faults: Files, series and members that were left out or are odd, each with its reason.
    """

    study_id: str
    table: pd.DataFrame
    crops: dict[str, np.ndarray]
    members: dict[tuple[str, str], np.ndarray]
    flags: list[Flag]
    faults: list[Fault]


class Grader:
    """A bundle on a device. Grades one study at a time: not for use by several threads at once."""

    def __init__(self, bundle: Bundle, device: Device):
        self.bundle = bundle
        self.study_grader = StudyGrader(bundle, device)

    def grade(self, path: str | Path) -> StudyResult:
        """Read and grade one study, in this process.

        Args:
            path: A folder or .zip with the DICOM files of one study, or a study's folder in a competition's folder
                of images (``train_images/<study>``), where the competition's table describes the series. Or a URL with
                one study: ``dicomweb+https://HOST/ROOT/studies/UID``, ``s3://BUCKET/STUDY.zip``.

        Raises:
            DataNotFoundError: There is no study, more than one, or no series of it could be read.
            DeviceMemoryError: The study fits into the memory of neither the device nor the CPU.
        """
        study = read_study(find_study(data_location(path)))
        if not study.volumes:
            reasons = "; ".join(fault.message for fault in study.faults[:SHOWN])
            raise DataNotFoundError(f"{path}: no series of the study could be read. {reasons}")
        everyone = Plan(len(self.bundle.detectors), len(self.bundle.classifiers))
        (graded,) = self.study_grader.grade([study], everyone)
        rule = shown_rule([member.network.config.crops for member in self.bundle.classifiers])
        return StudyResult(
            study_id=study.study_id,
            table=site_table(study, graded),
            crops={d: site_windows(found, study.volumes, rule) for d, found in graded.detections.items()},
            members=graded.members,
            flags=flags(study.volumes, graded.detections),
            faults=graded.faults,
        )


def load(folder: str | Path, device: str = "auto", precision: str = "auto") -> Grader:
    """Load a bundle.

    Args:
        folder: The bundle's folder, which holds ``weights_manifest.json``: this project's checkout is one.
        device: "auto" (a GPU if it works), "cuda" or "cpu".
        precision: "auto" (AMP where the hardware has it), "amp" or "fp32".

    Raises:
        BundleError: The bundle is incomplete, damaged or of another version; nothing in it is ever unpickled.
        DeviceError: The requested device does not work.
    """
    chosen = choose_device(device, precision)
    return Grader(ready_bundle(Path(folder), chosen), chosen)


def find_study(path: Path | str) -> StudyRef:
    """Return the one study at a path or URL, as ``Grader.grade`` takes it; DataNotFoundError for none or several."""
    if isinstance(path, str):
        return only_study(path)
    images = path.absolute().parent
    split = images.name.removesuffix("_images")
    if split in SPLITS and (images.parent / table_name(split)).is_file():
        table = images.parent / table_name(split)
        found = [one for one in find_dataset(images.parent, split).studies if one.study_id == path.name]
        if not found:
            raise DataNotFoundError(
                f"{path}: study {path.name} is not in {table}. Add its series to the table."
            )
        return found[0]
    return only_study(path)


def only_study(path: Path | str) -> StudyRef:
    """Return the study of a path or URL that has no other; DataNotFoundError for none or several."""
    studies = find_dataset(path).studies
    if len(studies) != 1:
        names = ", ".join(study.study_id for study in studies[:SHOWN])
        more = f" and {len(studies) - SHOWN} more" if len(studies) > SHOWN else ""
        remedy = "Pass the folder of one of them, or grade all with kernel/infer.py."
        raise DataNotFoundError(
            f"{path}: found {len(studies)} studies, expected one: {names}{more}. {remedy}"
        )
    return studies[0]


def site_table(study: Study, graded: GradedStudy) -> pd.DataFrame:
    """Return ``StudyResult.table``."""
    places = np.full((len(SITE_NAMES), len(PLACE)), np.nan)
    for description, found in (
        next(iter(graded.detections.values())).points.items() if graded.detections else ()
    ):
        volume = study.volumes[description]
        seen = find_places(volume, found)
        slices = seen.slices.clip(0, len(volume) - 1)
        native = [volume.grid_to_native(z, *place[1:]) for z, place in zip(slices, seen.grid256, strict=True)]
        places[DESCRIPTION_SITES[description]] = np.column_stack([slices, native, seen.patient])
    none = np.full((len(SITE_NAMES), len(SEVERITIES)), np.nan)
    grades = none if graded.probabilities is None else graded.probabilities
    table = pd.DataFrame(np.hstack([grades, places]), columns=[*SEVERITIES, *PLACE])
    table.insert(0, "site", SITE_NAMES)
    return table.astype({"slice": "Int64"})
