"""How far the flags of ``lumbar/grading/plausibility.py`` can be trusted: on sites that are known.

    python -m tests.benchmarks.plausibility --seed 2 --studies 100          true points: every flag is a false alarm
    python -m tests.benchmarks.plausibility --seed 2 --dump runs/seen       a run's flags beside its points' errors
    python -m tests.benchmarks.plausibility --labelled DIR --dump runs/seen        labelled studies, real ones too

The second reads ``run.json`` and ``findings/`` that ``infer.py --dump`` wrote of phantoms of this seed. A flag is
right where a site that it names was found more than 10 mm from its true place by the detector that it names.

The third reads ``points.csv`` and ``run.json`` of any labelled folder with geometry, real studies for example. It
counts the studies with a point more than 15 mm from its label, and of them and of the others those with a flag.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from lumbar.grading.flag import DETECTORS_APART
from lumbar.grading.plausibility import flags
from lumbar.reading.listing import find_dataset
from lumbar.sites import SITE_NAMES
from phantom import draw_study
from tests.making.spine import detection_of, phantom_spine
from training.data.labels import COORDINATES_FILE, GRADES_FILE, read_coordinates, read_grades
from training.data.study_headers import read_study_headers
from training.data.targets import place_targets
from training.evaluation.point_figures import point_table, read_found_points

FAR = DETECTORS_APART  # mm: an error that a flag should name
LOST = 15.0  # mm: an error for which a study should have a flag


def false_alarms(seed: int, studies: int) -> Counter[str]:
    """Return how often each flag is raised on true points."""
    raised: Counter[str] = Counter()
    for index in range(studies):
        study, sites = phantom_spine(index, seed)
        raised.update(flag.reason for flag in flags(study.volumes, {"truth": detection_of(study, sites)}))
    return raised


def errors_of(findings: dict, true_mm: np.ndarray) -> dict[str, np.ndarray]:
    """Return by detector how far each of the 25 sites was found from its place, mm; NaN where it was not.

    Args:
        findings: A study's ``findings/<study>.json``.
        true_mm: (25, 3).
    """
    errors: dict[str, np.ndarray] = {}
    for site, true in zip(findings["findings"], true_mm, strict=True):
        for point in site["points"]:
            row = errors.setdefault(point["detector"], np.full(len(SITE_NAMES), np.nan))
            if point["patient_mm"] is not None:
                row[SITE_NAMES.index(site["site"])] = np.linalg.norm(np.subtract(point["patient_mm"], true))
    return errors


def judge(dump: Path, seed: int, most: int) -> str:
    """Return, as text, how many flags were right and how many far points no flag named."""
    run = json.loads((dump / "run.json").read_text("utf-8"))
    errors = {}
    for index in range(most):
        phantom = draw_study(seed, index)
        file = dump / "findings" / f"{phantom.study_id}.json"
        if file.is_file():
            findings = json.loads(file.read_text("utf-8"))
            errors[str(phantom.study_id)] = errors_of(findings, phantom.points + phantom.shift)
    raised, right = Counter(), Counter()
    named: set[tuple[str, str, str]] = set()
    for flag in run["flags"]:
        seen = errors.get(flag["study_id"])
        if seen is None:
            continue
        worst = [
            seen[detector][SITE_NAMES.index(site)]
            for detector in flag["detector"].split(" and ")
            for site in flag["sites"]
            if detector in seen
        ]
        raised[flag["reason"]] += 1
        right[flag["reason"]] += bool(worst) and bool(np.nanmax(worst) > FAR)
        named |= {
            (flag["study_id"], d, site) for d in flag["detector"].split(" and ") for site in flag["sites"]
        }
    far = [
        (study, detector, SITE_NAMES[number])
        for study, seen in errors.items()
        for detector, row in seen.items()
        for number in np.flatnonzero(row > FAR)
    ]
    points = sum(np.isfinite(row).sum() for seen in errors.values() for row in seen.values())
    flagged = {flag["study_id"] for flag in run["flags"]} & errors.keys()
    lines = [
        f"{len(errors)} studies, {len(flagged)} with a flag; {points} points, {len(far)} beyond {FAR:g} mm"
    ]
    lines += [f"  {reason}: {number}, right {right[reason]}" for reason, number in raised.most_common()]
    lines.append(f"of the far points {sum(place in named for place in far)} are named by a flag")
    return "\n".join(lines)


def judge_labelled(dump: Path, data: Path) -> str:
    """Return, as text, how many studies with and without a point beyond ``LOST`` mm have a flag, and which."""
    studies = read_study_headers(find_dataset(data, "train"))
    targets, _ = place_targets(read_coordinates(data / COORDINATES_FILE)[0], studies)
    table = point_table(
        read_found_points(dump / "points.csv"), targets, studies, read_grades(data / GRADES_FILE)
    )
    worst = {study: float(rows["mm"].max()) for study, rows in table.groupby("study_id")}
    raised = json.loads((dump / "run.json").read_text("utf-8"))["flags"]
    lines = [f"{len(worst)} studies with geometry and labels"]
    lost = {study for study, mm in worst.items() if mm > LOST}
    for words, chosen in (("a point", lost), ("no point", worst.keys() - lost)):
        own = [flag for flag in raised if flag["study_id"] in chosen]
        reasons = Counter(reason for _, reason in {(flag["study_id"], flag["reason"]) for flag in own})
        flagged = len({flag["study_id"] for flag in own})
        lines.append(
            f"{words} beyond {LOST:g} mm: {len(chosen)} studies, {flagged} with a flag {dict(reasons)}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=100, help="of the seed, from its first one on")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--dump", type=Path, help="of infer.py; default: true points")
    parser.add_argument("--labelled", type=Path, help="with --dump: the labelled folder that was graded")
    options = parser.parse_args()
    if options.labelled and not options.dump:
        parser.error("--labelled: expected --dump as well")
    if options.labelled:
        print(judge_labelled(options.dump, options.labelled))
    elif options.dump:
        print(judge(options.dump, options.seed, options.studies))
    else:
        raised = false_alarms(options.seed, options.studies)
        print(f"{options.studies} studies with true points: {raised.total()} flags {dict(raised)}")


if __name__ == "__main__":
    main()
