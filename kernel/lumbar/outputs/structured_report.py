"""Findings of a run -> a DICOM Structured Report a study, for a viewer or an archive to show.

A Comprehensive SR by the template TID 1500 "Measurement Report" (PS3.16) with one group per site: TID 1410, or 1501
where no point is known. A group has the severity, the three probabilities and the first detector's point on its slice.
Needs highdicom, which is no requirement of inference. Codes that the standard lacks are of a private scheme.
"""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from lumbar.atomic_files import atomic_path
from lumbar.outputs.pacs.derived import MAKER
from lumbar.outputs.pacs.source_images import image_headers
from lumbar.reading.library_warnings import gathered_warnings
from lumbar.reading.references import StudyRef
from lumbar.sites import GROUPS, LEVEL_WORDS, LEVELS, SEVERITIES

logger = logging.getLogger(__name__)

MISSING = (
    "structured reports need highdicom, which is not installed; pip install highdicom, or leave --sr out"
)
SCHEME = "99LUMBAR"  # private: PS3.16, 8.2
SERIES_NUMBER = 9001  # far from what scanners use
ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth")  # of the lumbar vertebra above a disc
PLACES = dict(
    zip(GROUPS, ("canal", "left_foramen", "right_foramen", "left_recess", "right_recess"), strict=True)
)


def is_installed() -> bool:
    """Return whether highdicom can be imported."""
    try:
        import highdicom  # noqa: F401
    except ImportError:
        return False
    return True


def write_structured_reports(studies: tuple[StudyRef, ...], folder: Path) -> list[str]:
    """Write ``<study>.dcm`` beside each graded ``<study>.json`` of a findings folder; return a line per failure.

    A study that was not graded, or has no image that the points name, has no report.
    """
    written, failures = 0, []
    for study in studies:
        file = folder / f"{study.study_id}.json"
        if not file.is_file():
            continue
        findings = json.loads(file.read_text("utf-8"))
        try:
            with gathered_warnings(f"study {study.study_id}"):
                images = referenced_images(study, findings)
            if findings["graded"] and images:
                with atomic_path(file.with_suffix(".dcm")) as beside, quiet_highdicom():
                    structured_report(findings, images).save_as(beside, enforce_file_format=True)
                written += 1
        except Exception as error:  # highdicom requires many attributes of an image
            logger.exception("study %s: no structured report", study.study_id)
            failures.append(f"{file.with_suffix('.dcm').name}: {type(error).__name__}: {error}")
    logger.info("structured reports: %d written to %s, %d failed", written, folder, len(failures))
    return failures


@contextlib.contextmanager
def quiet_highdicom() -> Iterator[None]:
    """Leave out highdicom's progress inside a ``with`` block: it logs seven lines of information per report."""
    library = logging.getLogger("highdicom")
    level = library.level
    library.setLevel(logging.WARNING)
    try:
        yield
    finally:
        library.setLevel(level)


def referenced_images(study: StudyRef, findings: dict) -> dict[str, Dataset]:
    """Return the headers, by SOP Instance UID, of the images that the points lie on and that are single slices."""
    wanted = {point["sop_instance_uid"] for site in findings["findings"] for point in site["points"][:1]}
    return image_headers(study, wanted)


def structured_report(findings: dict, images: dict[str, Dataset]) -> Dataset:
    """Return the report of one study.

    Args:
        findings: Content of the study's JSON file.
        images: Headers by SOP Instance UID, at least one.
    """
    from highdicom import sr
    from pydicom.sr.codedict import codes

    uid = report_uid(findings)
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[findings["bundle_sha256"]]),
        name=MAKER,
        model_name=findings["bundle"][:64],
    )
    observer = sr.ObserverContext(codes.DCM.Device, device)
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.SCT.ImagingProcedure,
        title=codes.DCM.ImagingMeasurementReport,
        imaging_measurements=[
            site_group(site, images, findings["study_id"])
            for site in findings["findings"]
            if site["probabilities"] is not None
        ],
    )
    report = sr.ComprehensiveSR(
        evidence=list(images.values()),
        content=content[0],
        series_instance_uid=generate_uid(entropy_srcs=[uid, "series"]),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=MAKER,
        is_complete=True,
        is_verified=False,
    )
    report.SeriesDescription = "Lumbar spine grades, research use only"
    return report


def report_uid(findings: dict) -> str:
    """Return the SOP Instance UID of a study's report: the same for the same findings, another for others."""
    content = json.dumps(findings["findings"], sort_keys=True)
    return generate_uid(entropy_srcs=[findings["bundle_sha256"], findings["study_id"], content])


def site_group(site: dict, images: dict[str, Dataset], study_id: str):
    """Return the group of one site: what and where, how severe, how probable, and the point."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    level = LEVELS.index(site["level"])
    disc = getattr(codes.SCT, f"IntervertebralDiscStructureOf{ORDINALS[level]}LumbarVertebra")
    place = PLACES[site["group"]].rpartition("_")[2]
    where = sr.FindingSite(
        # SNOMED's own words are longer than the 64 characters that a meaning may have.
        sr.CodedConcept(disc.value, "SCT", f"Intervertebral disc {LEVEL_WORDS[site['level']]}"),
        laterality={"left": codes.SCT.Left, "right": codes.SCT.Right, None: None}[site["side"]],
        topographical_modifier=sr.CodedConcept(place, SCHEME, place.capitalize()),
    )
    severities = (
        sr.CodedConcept("normal_mild", SCHEME, "Normal or mild"),
        codes.SCT.Moderate,
        codes.SCT.Severe,
    )
    values = [site["probabilities"][name] for name in SEVERITIES]
    told = {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=generate_uid(entropy_srcs=[study_id, site["site"]]), identifier=site["site"]
        ),
        "finding_type": codes.SCT.Stenosis,
        "finding_sites": [where],
        "qualitative_evaluations": [
            sr.QualitativeEvaluation(codes.SCT.Severity, severities[int(np.argmax(values))])
        ],
        "measurements": [
            sr.Measurement(
                sr.CodedConcept(f"p_{name}", SCHEME, f"Probability of {name.replace('_', ' or ')}"),
                round(value, 6),
                codes.UCUM.NoUnits,
            )
            for name, value in zip(SEVERITIES, values, strict=True)
        ],
    }
    point = next(iter(site["points"]), None)
    image = images.get(point["sop_instance_uid"]) if point else None
    if point is None or image is None:
        return sr.MeasurementsAndQualitativeEvaluations(**told)
    # SCOORD counts from the corner of the first pixel, findings from its centre (PS3.3 C.18.6.1.1).
    place_on_slice = np.array([[point["column"] + 0.5, point["row"] + 0.5]])
    source = sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID)
    region = sr.ImageRegion(sr.GraphicTypeValues.POINT, place_on_slice, source)
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **told)
