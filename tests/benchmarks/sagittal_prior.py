"""The sagittal prior of the axial search: points by its width, to fit it and to judge it.

    python kernel/train.py phantoms --out runs/fit --studies 33 --seed 31 --axial-series 2
    python -m tests.benchmarks.sagittal_prior --data runs/fit --bundle .
    python -m tests.benchmarks.sagittal_prior --data runs/judge --bundle . --widths 3

Any labelled folder in the competition's layout serves, with geometry. Stage 1 alone runs, once per width, with and
without the prior. Choose the width on other studies than those that it is judged on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lumbar.bundle.placement import ready_bundle
from lumbar.grading.detection import detect_study
from lumbar.grading.patient_points import find_places
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device_choice import choose_device
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2, DESCRIPTION_SITES, SAGITTAL_T2, SITE_NAMES
from training.data.labels import COORDINATES_FILE, GRADES_FILE, read_coordinates, read_grades
from training.data.study_headers import NO_PIXELS, StudyHeaders
from training.data.targets import place_targets
from training.evaluation.point_figures import OWN, mean_errors, point_table
from training.json_files import write_strict_json

WIDTHS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)  # mm
FIGURES = ("other_series", "mm", "mm_median", "place_slices", OWN, "level_right")


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.sagittal_prior",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, nargs="+", help="labelled folders, judged together")
    add("--bundle", type=Path, required=True, help="of the detectors")
    add("--widths", type=float, nargs="+", default=WIDTHS, help="mm (default: %(default)s)")
    add("--device", default="cpu", help="default: %(default)s")
    add("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    table = pd.concat([axial_points(data, options) for data in options.data])
    result = {}
    for (detector, width), rows in table.groupby(["detector", "width"], sort=False):
        several, single = rows[rows["series"] > 1], rows[rows["series"] == 1]
        result[f"{detector}, {width}"] = parts = {
            name: mean_errors(part)
            for name, part in (("several series", several), ("one series", single))
            if len(part)
        }
        for name, figures in parts.items():
            words = ", ".join(f"{figure} {figures[figure]:.3f}" for figure in FIGURES)
            print(f"{detector}, prior {width}, {name}, n {figures['n']}: {words}")
    if options.json:
        write_strict_json(options.json, result)
    return result


def axial_points(data: Path, options: argparse.Namespace) -> pd.DataFrame:
    """Return ``point_table`` of the axial points of a folder's studies, with the column width."""
    device = choose_device(options.device, "fp32")
    bundle, runner = ready_bundle(options.bundle, device), BatchRunner(device)
    found: dict[str, list[list]] = {}
    headers = {}
    for ref in tqdm(find_dataset(data, "train").studies, desc="search", unit="study", mininterval=1.0):
        volumes = read_study(ref).volumes
        volumes = {d: volumes[d] for d in (SAGITTAL_T2, AXIAL_T2) if d in volumes}
        headers[ref.study_id] = {
            d: replace(v, grid256=NO_PIXELS, grid512=NO_PIXELS) for d, v in volumes.items()
        }
        for width in (None, *options.widths):
            detectors = [replace(detector, sagittal_prior_mm=width) for detector in bundle.detectors]
            for name, detection in detect_study(detectors, volumes, runner).items():
                if AXIAL_T2 in detection.points:
                    places = find_places(volumes[AXIAL_T2], detection.points[AXIAL_T2]).grid256
                    sites = SITE_NAMES[DESCRIPTION_SITES[AXIAL_T2]]
                    rows = [
                        [ref.study_id, name, site, *place] for site, place in zip(sites, places, strict=True)
                    ]
                    found.setdefault("none" if width is None else f"{width:g} mm", []).extend(rows)
    studies, grades = StudyHeaders(headers, ()), read_grades(data / GRADES_FILE)
    targets, _ = place_targets(read_coordinates(data / COORDINATES_FILE)[0], studies)
    columns = ["study_id", "detector", "site", "slice", "row", "column"]
    tables = [
        point_table(pd.DataFrame(rows, columns=columns), targets, studies, grades).assign(width=width)
        for width, rows in found.items()
    ]
    return pd.concat(tables)


if __name__ == "__main__":
    main()
