"""Measure the grades of studies that lack a series, on phantoms of which a third lack one or two descriptions.

    python -m tests.benchmarks.missing_series [--bundle .] [--studies 100] [--seeds 11 12 13]

Each phantom is drawn, read and searched once. A description is removed by leaving its points out, which is all that
stage 2 reads of it. The shipped networks have learnt from phantoms of seeds 1 and 3: take others.

| way | sites of a missing description | the level's other sites |
|---|---|---|
| complete | graded, nothing is removed | graded |
| zero crops | graded from zero crops, as in the authors' notebooks | graded beside zero crops |
| prior, zero crops beside | the bundle's prior | graded beside zero crops |
| prior, left out of the sequence | the bundle's prior | graded as if the level had fewer sites |

Scores are those of ``evaluate.py`` on all studies. The studies that lack a series also get the mean weighted log loss
of the sites without a series, and of those with one.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from lumbar.bundle.members import Bundle, Classifier
from lumbar.bundle.placement import ready_bundle
from lumbar.grading.detection import Detection, detect_study
from lumbar.grading.ensemble import crop_features, site_windows, upload_crops, weighted_mean
from lumbar.grading.member_runs import sharing_networks
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.device_choice import choose_device
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import Study, read_study
from lumbar.sites import DESCRIPTION_SITES, DESCRIPTIONS, GROUP_DESCRIPTION, GROUPS, SITES
from tests.benchmarks.members import phantoms
from training.data.labels import read_grades
from training.evaluation.metric import MISSING, grade_log_loss, score

COMPLETE, ZERO, BESIDE, LEFT_OUT = (
    "complete",
    "zero crops",
    "prior, zero crops beside",
    "prior, left out of the sequence",
)
LACKING_SHARE = 1 / 3


def removed_descriptions(studies: int, seed: int) -> list[tuple[str, ...]]:
    """Return which descriptions each study lacks: none for two thirds, one or two, equally often, for the others."""
    random = np.random.default_rng(seed)
    lacking = random.permutation(studies) < round(LACKING_SHARE * studies)
    return [
        tuple(random.choice(DESCRIPTIONS, size=random.integers(1, 3), replace=False)) if lacks else ()
        for lacks in lacking
    ]


def without(detection: Detection, removed: tuple[str, ...]) -> Detection:
    """Return the detection as if the study lacked the descriptions."""
    kept = [description for description in detection.points if description not in removed]
    return Detection({d: detection.points[d] for d in kept}, {d: detection.grids512[d] for d in kept})


def slice_features(classifier: Classifier, windows: np.ndarray, runner: BatchRunner) -> torch.Tensor:
    """Return the backbone's features (detector, 25, 5, H) of windows (detector, 25, 5, 64, 64)."""
    crops = upload_crops(windows, runner)
    return runner.run(crop_features, classifier.network, crops.images, "classifier")[crops.index]


@torch.inference_mode()
def grade_present(classifier: Classifier, features: torch.Tensor, present: list[int]) -> np.ndarray:
    """Return probabilities (detector, 25, 3) of features (detector, 25, 5, H), some ``GROUPS`` in the sequences."""
    return classifier.network.grade(features, present).double().softmax(dim=-1).numpy()


def grade_every_way(
    study: Study, removed: tuple[str, ...], bundle: Bundle, runner: BatchRunner
) -> dict[str, np.ndarray]:
    """Return the study's probabilities (25, 3) by way."""
    found: dict[str, Detection] = {}
    for detectors in sharing_networks(bundle.detectors):
        found |= detect_study(detectors, study.volumes, runner)
    present = [g for g, description in enumerate(GROUP_DESCRIPTION) if description not in removed]
    members: dict[str, list[np.ndarray]] = {COMPLETE: [], ZERO: [], LEFT_OUT: []}
    for classifier in bundle.classifiers:
        rule = classifier.network.config.crops
        whole = [site_windows(detection, study.volumes, rule) for detection in found.values()]
        holed = [
            site_windows(without(detection, removed), study.volumes, rule) for detection in found.values()
        ]
        features = slice_features(classifier, np.stack([*whole, *holed]), runner).split(len(found))
        members[COMPLETE] += list(grade_present(classifier, features[0], list(range(len(GROUPS)))))
        members[ZERO] += list(grade_present(classifier, features[1], list(range(len(GROUPS)))))
        members[LEFT_OUT] += list(grade_present(classifier, features[1], present))
    weights = [classifier.weight for classifier in bundle.classifiers for _ in found]
    ways = {way: weighted_mean(said, weights) for way, said in members.items()}
    ways[BESIDE] = ways[ZERO].copy()
    for way in (BESIDE, LEFT_OUT):
        for description in removed:
            ways[way][DESCRIPTION_SITES[description]] = bundle.prior[DESCRIPTION_SITES[description]]
    return ways


def measure(data: Path, bundle: Bundle, seed: int) -> dict[str, tuple[float, float, float]]:
    """Return by way the score of all studies; of those that lack a series the losses at sites without, with one.

    Args:
        data: Phantoms in the competition's layout, "test" split.
        seed: Decides which descriptions are removed.
    """
    grades = read_grades(data / "test.csv")
    runner = BatchRunner(choose_device("cpu", "fp32"))
    refs = find_dataset(data).studies
    removed = removed_descriptions(len(refs), seed)
    ways: dict[str, list[np.ndarray]] = {}
    for ref, lost in zip(refs, removed, strict=True):
        for way, probabilities in grade_every_way(read_study(ref), lost, bundle, runner).items():
            ways.setdefault(way, []).append(probabilities)
    labels = grades.of([ref.study_id for ref in refs])
    without_series = np.array([[site.description in lost for site in SITES] for lost in removed])
    lacking = without_series.any(axis=1)
    result = {}
    for way, rows in ways.items():
        probabilities = np.stack(rows)
        losses = [
            grade_log_loss(np.where(chosen, labels, MISSING)[lacking], probabilities[lacking])
            for chosen in (without_series, ~without_series)
        ]
        result[way] = (score(labels, probabilities)["score"], *losses)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    options = parser.parse_args()
    bundle = ready_bundle(options.bundle, choose_device("cpu", "fp32"))
    figures = {seed: measure(phantoms(options.studies, seed, "test"), bundle, seed) for seed in options.seeds}
    seeds = "".join(f"{f'seed {seed}':>10s}" for seed in options.seeds)
    print(f"{'score':34s}{seeds}{'mean':>10s} | lacking studies' loss: sites without, with a series")
    for way in (COMPLETE, ZERO, BESIDE, LEFT_OUT):
        of_way = np.array([figures[seed][way] for seed in options.seeds])
        scores, mean = "".join(f"{one:10.4f}" for one in of_way[:, 0]), of_way.mean(axis=0)
        print(f"{way:34s}{scores}{mean[0]:10.4f} | {mean[1]:10.4f}{mean[2]:10.4f}")


if __name__ == "__main__":
    main()
