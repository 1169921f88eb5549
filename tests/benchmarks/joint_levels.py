"""The joint choice of levels: points of sagittal series with each site chosen by itself, and all together.

    python -m tests.benchmarks.joint_levels --data ../shared/real/canal --bundle .
    python -m tests.benchmarks.joint_levels --data ../shared/real/nfn --bundle . --recipe nfn_small --studies 60

Any labelled folder in the competition's layout serves. Stage 1 alone runs, on the sagittal series, with the option
``joint_levels`` off and on. With --recipe the studies are those that a fold of the recipe leaves out.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pandas as pd
from tqdm import tqdm

from lumbar.bundle.placement import ready_bundle
from lumbar.grading.detection import detect_study
from lumbar.grading.patient_points import find_places
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device_choice import choose_device
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import DESCRIPTION_SITES, SAGITTAL_T1, SAGITTAL_T2, SITE_NAMES
from tests.benchmarks.unseen_studies import held_out_studies
from training.data.labels import COORDINATES_FILE, GRADES_FILE, read_coordinates, read_grades
from training.data.study_headers import NO_PIXELS, StudyHeaders
from training.data.targets import place_targets
from training.evaluation.point_figures import LEVEL_SHARES, mean_errors, point_table
from training.fitting.run_file import recipe_identity
from training.json_files import write_strict_json
from training.recipes.reading import read_recipe

FIGURES = ("mm", "slices", "y", "x", "level_right", "side_right", *LEVEL_SHARES, "shifted_studies")
COLUMNS = ["study_id", "detector", "site", "slice", "row", "column"]


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.joint_levels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a labelled folder")
    add("--bundle", type=Path, required=True, help="of the detectors, the first of which is measured")
    add("--recipe", help="the recipe with the fold of the studies (default: all studies)")
    add("--fold", type=int, default=0, help="of the recipe (default: %(default)s)")
    add("--studies", type=int, help="how many, in the order of train.csv (default: all)")
    add("--device", default="cpu", help="default: %(default)s")
    add("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    points, work, headers = search_studies(options)
    studies, grades = StudyHeaders(headers, ()), read_grades(options.data / GRADES_FILE)
    targets, _ = place_targets(read_coordinates(options.data / COORDINATES_FILE)[0], studies)
    result = {}
    for joint, rows in points.groupby("joint"):
        table = point_table(rows[COLUMNS], targets, studies, grades)
        for description, part in table.groupby("description"):
            own = work[(work["joint"] == joint) & (work["description"] == description)]
            figures = mean_errors(part) | {"segmented": float(own["segmented"].mean() / own["slices"].mean())}
            figures["seconds"] = float(work.loc[work["joint"] == joint, "seconds"].mean())
            name = f"{description}, {'together' if joint else 'each by itself'}"
            result[name] = figures
            words = ", ".join(f"{key} {figures[key]:.3f}" for key in (*FIGURES, "segmented", "seconds"))
            print(f"{name}, n {figures['n']}: {words}")
    if options.json:
        write_strict_json(options.json, result)
    return result


def search_studies(options: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """Search the studies with the option off and on.

    Returns:
        The points, ``COLUMNS`` and joint. The work, with columns joint, description, slices, segmented, and seconds of
        both descriptions. Volumes without pixels by study and description.
    """
    device = choose_device(options.device, "fp32")
    bundle, runner = ready_bundle(options.bundle, device), BatchRunner(device)
    points, work, headers = [], [], {}
    for ref in tqdm(chosen_studies(options), desc="search", unit="study", mininterval=1.0):
        volumes = read_study(ref).volumes
        volumes = {d: volumes[d] for d in (SAGITTAL_T2, SAGITTAL_T1) if d in volumes}
        headers[ref.study_id] = {
            d: replace(v, grid256=NO_PIXELS, grid512=NO_PIXELS) for d, v in volumes.items()
        }
        for joint in (False, True):
            detector = replace(bundle.detectors[0], joint_levels=joint)
            start = perf_counter()
            found = detect_study([detector], volumes, runner)[detector.name].points
            seconds = perf_counter() - start
            for description, own in found.items():
                work.append((joint, description, own.slices, own.segmented, seconds))
                places = find_places(volumes[description], own).grid256
                sites = SITE_NAMES[DESCRIPTION_SITES[description]]
                points += [
                    (ref.study_id, detector.name, site, *place, joint)
                    for site, place in zip(sites, places, strict=True)
                ]
    return (
        pd.DataFrame(points, columns=[*COLUMNS, "joint"]),
        pd.DataFrame(work, columns=["joint", "description", "slices", "segmented", "seconds"]),
        headers,
    )


def chosen_studies(options: argparse.Namespace) -> list:
    """Return the references of the studies to measure."""
    studies = find_dataset(options.data, "train").studies
    if options.recipe:
        recipe = recipe_identity(read_recipe(options.recipe))["recipe"] | {"folds": [options.fold]}
        held_out = set(held_out_studies(options.data, recipe)[: options.studies])
        return [ref for ref in studies if ref.study_id in held_out]
    return studies[: options.studies]


if __name__ == "__main__":
    main()
